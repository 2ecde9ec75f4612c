"""What a probe leaves behind: the contact sheet, and in a folder every image beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdcore.files import printable, write_bytes_atomically
from sdcore.images.contact_sheet import Cell, Row, draw_sheet

from ._images import encode_png
from .errors import OutputError
from .photos import read_photo
from .probe import Sample, Setting

SHEET_NAME = "contact_sheet.png"


@dataclass(frozen=True)
class ProbeReport:
    """Where the files of a probe go."""

    sheet: Path
    images: Path | None
    """Folder for every image by itself, or None."""

    @classmethod
    def at(cls, out: Path) -> ProbeReport:
        """The files for a sheet's name (ending in .png), or for a folder, new or empty.

        Raises:
            OutputError: something is there already.
        """
        name = printable(out)
        if out.suffix.lower() == ".png":
            if out.exists():
                raise OutputError(f"{name}: is there already and is not overwritten; choose another name or remove it")
            return cls(out, None)
        if out.exists() and not out.is_dir():
            raise OutputError(f"{name}: is a file; expected a name ending in .png, or a folder")
        if out.is_dir() and any(out.iterdir()):
            raise OutputError(f"{name}: holds files, which are not overwritten; choose a new or empty folder")
        return cls(out / SHEET_NAME, out)

    def write(self, samples: Sequence[Sample], columns: Sequence[Setting]) -> Mapping[str, str]:
        """Draw and write everything; gives what the numbers on the sheet stand for, where no font has the characters.

        Images go to `<class>/<source number>_<column number>.png`, columns from 1 as on the sheet.

        Raises:
            OSError: the files cannot be written.
        """
        if self.images is not None:
            for sample in samples:
                if sample.image is not None:
                    name = f"{sample.source.number}_{columns.index(sample.setting) + 1}.png"
                    write_bytes_atomically(self.images / sample.source.class_name / name, encode_png(sample.image))
        sheet = draw_sheet(["source", *_headings(columns)], _rows(samples, columns))
        write_bytes_atomically(self.sheet, encode_png(sheet.image))
        return sheet.legend


def _headings(columns: Sequence[Setting]) -> list[str]:
    return [
        f"{number}: {column.native_px} px\nstrength {column.denoising_strength:g}\n{column.sampler}"
        for number, column in enumerate(columns, 1)
    ]


def _rows(samples: Sequence[Sample], columns: Sequence[Setting]) -> list[Row]:
    rows = []
    for source in dict.fromkeys(sample.source for sample in samples):
        by_setting = {sample.setting: sample for sample in samples if sample.source == source}
        cells = (_cell(by_setting.get(column)) for column in columns)
        original = Cell(read_photo(source.path), "")
        rows.append(Row(f"{source.class_name}\n{source.name}", (original, *cells)))
    return rows


def _cell(sample: Sample | None) -> Cell:
    if sample is None:
        return Cell(None, "not made")
    if sample.noise_score is None:
        return Cell(None, "server failed", is_marked=True)
    words = f"noise {sample.noise_score:.2f}, {sample.seconds:.1f} s"
    # The score stands there already.
    is_noise = sample.reason is not None and sample.reason.startswith("rainbow noise")
    return Cell(
        sample.image,
        words if sample.reason is None or is_noise else f"{words}, {sample.reason}",
        sample.reason is not None,
    )
