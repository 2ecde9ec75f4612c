"""The contact sheets of masks, transplants, curation and probes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from sdcore.files import printable, write_bytes_atomically
from sdcore.images.contact_sheet import CELL_PX, Cell, Row, draw_sheet
from sdcore.images.decode import to_png, to_rgb
from sdcore.images.folders import natural_key

from .compose.cutout import form_of, to_form
from .curate.reasons import (
    BLURRED,
    COLOUR,
    COLOUR_GARBAGE,
    FACE,
    FAR_FROM_CLASS,
    LOOKS_NORMAL,
    NEAR_DUPLICATE,
    NOISE,
    OIL_PAINT,
    REASONS,
    TONE,
    TOO_ALIKE,
    WRONG_CLASS,
    JudgedImage,
)
from .errors import OutputError, SDClientError, SourceError
from .manifest.database import ImageRecord, Manifest
from .masks.mask import box_of, mask_path, read_mask
from .probe import GridSetting, Sample
from .sources.source import Source, read_photo

MOST_PER_CLASS = 24
_MASK_COLUMNS = 6
_HARD, _FEATHER = (255, 40, 40), (255, 210, 0)


def write_mask_sheet(path: Path, sources: Sequence[Source], masks: Path) -> Mapping[str, str]:
    """Draw sources with their masks, of each class `MOST_PER_CLASS` at most, evenly picked.

    The hard area's outline is red, the end of the feather yellow.

    Args:
        sources: those that may be shown; the ones without a mask are not.

    Returns:
        What stands on the sheet in place of a name that no font at hand can write -> that name.

    Raises:
        MaskError: a mask cannot be used.
        OSError: the sheet cannot be written.
    """
    by_class: dict[str, list[Source]] = {}
    for source in sources:
        if mask_path(masks, source).is_file():
            by_class.setdefault(source.class_name, []).append(source)
    rows = []
    for class_name, members in by_class.items():
        picked = _evenly(members, MOST_PER_CLASS)
        for start in range(0, len(picked), _MASK_COLUMNS):
            cells = tuple(_cell(source, masks) for source in picked[start : start + _MASK_COLUMNS])
            rows.append(Row(class_name if start == 0 else "", cells))
    sheet = draw_sheet([""] * _MASK_COLUMNS, rows)
    write_bytes_atomically(path, to_png(sheet.image))
    return sheet.legend


def outlined(picture: Image.Image, mask: Image.Image, *, side_px: int = CELL_PX) -> Image.Image:
    """A picture of about `side_px` with the outline of its mask.

    Args:
        picture: any mode.
        mask: mode "L", of the same size.
        side_px: the longer side of the result.
    """
    factor = side_px / max(picture.size)
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    shown = to_rgb(picture).resize(size, Image.Resampling.LANCZOS)
    for least, colour in ((1, _FEATHER), (255, _HARD)):
        area = mask.point([0] * least + [255] * (256 - least)).resize(size, Image.Resampling.NEAREST)
        edge = ImageChops.subtract(area.filter(ImageFilter.MaxFilter(3)), area)
        shown.paste(colour, mask=edge)
    return shown


def _cell(source: Source, masks: Path) -> Cell:
    picture = read_photo(source.path)
    mask = read_mask(mask_path(masks, source), picture.size)
    white = sum(mask.histogram()[1:]) / (mask.width * mask.height)
    return Cell(outlined(picture, mask), f"{source.path.stem}: {white:.1%}")


def _evenly(members: Sequence[Source], most: int) -> list[Source]:
    if len(members) <= most:
        return list(members)
    return [members[place * len(members) // most] for place in range(most)]


_COLUMNS = ("defect", "put on", "result", "changed")
_OUTLINE = (255, 0, 0)


def write_transplant_sheet(path: Path, output: Path, *, per_class: int = 4) -> dict[str, str]:
    """Draw some transplants of each class of an output, evenly picked over all that are done.

    Args:
        per_class: rows a class.

    Returns:
        What stands on the sheet -> the label that no font at hand can write.

    Raises:
        ManifestError: no manifest, or a damaged one.
        OSError: the sheet cannot be written.
    """
    with Manifest(output) as manifest:
        run, records = manifest.run(), list(manifest.images())
    rows = [_row(record, output, run) for record in _picked(records, per_class)]
    sheet = draw_sheet(_COLUMNS, rows)
    buffer = io.BytesIO()
    sheet.image.save(buffer, "PNG")
    write_bytes_atomically(path, buffer.getvalue())
    return dict(sheet.legend)


def _picked(records: Iterable[ImageRecord], per_class: int) -> list[ImageRecord]:
    by_class: dict[str, list[ImageRecord]] = {}
    for record in records:
        by_class.setdefault(record.class_name, []).append(record)
    return [
        own[number * len(own) // count]
        for own in by_class.values()
        for count in (min(per_class, len(own)),)
        for number in range(count)
    ]


def _row(record: ImageRecord, output: Path, run: dict[str, object]) -> Row:
    source = Path(str(run.get("sources", ""))) / record.source
    base = source
    if record.other_parents:
        base = Path(str(run.get("other_sources", ""))) / record.other_parents[0].source
    result = _read(output / record.file)
    mask = read_mask(output / record.mask, (record.width, record.height)) if record.mask else None
    outlined = None
    if result is not None and mask is not None:
        outlined = result.convert("RGB")
        left, top, right, bottom = box_of(mask)
        ImageDraw.Draw(outlined).rectangle((left - 1, top - 1, right, bottom), outline=_OUTLINE)
    place = record.used["places"][0]
    caption = f"{place['blend']}, seam {place['seam_score']:.2f}, mismatch {place['mismatch']:.2f}"
    cells = (
        Cell(_read(source), record.source),
        Cell(_read(base), "its own picture" if base == source else record.other_parents[0].source),
        Cell(result, caption),
        Cell(outlined, ""),
    )
    return Row(f"{record.class_name}\n{record.file.partition('/')[2]}", cells)


def _read(path: Path) -> Image.Image | None:
    """A picture in 8 bits; None where it is gone."""
    try:
        picture = read_photo(path)
    except (SDClientError, OSError):
        return None
    return to_form(picture, form_of(picture))


PAIRS_PER_ROW = 3
ROWS_PER_GROUP = 2
_SCORE_OF = {
    TOO_ALIKE: "ssim_inside",
    NEAR_DUPLICATE: "ssim_inside",
    NOISE: "grain",
    COLOUR_GARBAGE: "colour_garbage",
    BLURRED: "sharpness",
    OIL_PAINT: "texture",
    TONE: "tone_distance",
    COLOUR: "colour_distance",
    FACE: "face",
    WRONG_CLASS: "p_class",
    LOOKS_NORMAL: "p_normal",
    FAR_FROM_CLASS: "feature_distance",
}
# Windows refuses these in a file's name; a class is a folder's name already, but may come from another system.
_ILLEGAL = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def write_curation_sheets(
    folder: Path, output: Path, judged: Sequence[JudgedImage], sources: Path
) -> Mapping[Path, Mapping[str, str]]:
    """Draw a sheet for each class, `<class>.png`; a former one is replaced.

    Args:
        folder: where to.
        judged: every image.
        sources: the folder of numbered sources; a source that is not there leaves its frame empty.

    Returns:
        Per sheet what its numbers stand for, where no font at hand has the characters.

    Raises:
        SourceError: an image cannot be read.
        OSError: a sheet cannot be written.
    """
    written = {}
    for name in sorted({one.class_name for one in judged}, key=natural_key):
        rows = list(_rows([one for one in judged if one.class_name == name], output, sources))
        headings = [word for _ in range(PAIRS_PER_ROW) for word in ("source", "image")]
        sheet = draw_sheet(headings, rows)
        path = folder / f"{_ILLEGAL.sub('_', name)}.png"
        write_bytes_atomically(path, to_png(sheet.image))
        written[path] = sheet.legend
    return written


def _rows(judged: Sequence[JudgedImage], output: Path, sources: Path) -> Iterator[Row]:
    accepted = [one for one in judged if one.is_accepted]
    yield from _group("accepted\n接受", accepted, output, sources, None)
    by_person = [one for one in judged if not one.is_accepted and not one.reasons]
    if by_person:
        yield from _group("by a person\n人工拒绝", by_person, output, sources, None)
    for word, reason in REASONS.items():
        found = [one for one in judged if not one.is_accepted and word in one.reasons]
        if found:
            yield from _group(f"{reason.english}\n{reason.chinese}", found, output, sources, word)


def _group(title: str, images: Sequence[JudgedImage], output: Path, sources: Path, word: str | None) -> Iterator[Row]:
    shown = _spread(images, PAIRS_PER_ROW * ROWS_PER_GROUP)
    label = f"{title}\n{len(images)}" + (f", {len(shown)} shown" if len(shown) < len(images) else "")
    for start in range(0, max(1, len(shown)), PAIRS_PER_ROW):
        pairs = [_pair(one, output, sources, word) for one in shown[start : start + PAIRS_PER_ROW]]
        yield Row(label if start == 0 else "", tuple(cell for pair in pairs for cell in pair))


def _pair(one: JudgedImage, output: Path, sources: Path, word: str | None) -> Iterable[Cell]:
    return (
        Cell(_picture(sources / one.source), Path(one.source).name),
        Cell(read_photo(output / one.file), f"{Path(one.file).name}{_why(one, word)}", word is not None),
    )


def _why(one: JudgedImage, word: str | None) -> str:
    if word is None:
        return ""
    value = one.scores.get(_SCORE_OF[word])
    others = [REASONS[other].english for other in one.reasons if other != word and other in REASONS]
    told = f", {_SCORE_OF[word].replace('_', ' ')} {value:.3g}" if value is not None else ""
    return f"{told}; also {', '.join(others)}" if others else told


def _picture(path: Path) -> Image.Image | None:
    try:
        return read_photo(path)
    except SourceError:
        return None


def _spread(images: Sequence[JudgedImage], most: int) -> list[JudgedImage]:
    if len(images) <= most:
        return list(images)
    return [images[place * len(images) // most] for place in range(most)]


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

    def write(self, samples: Sequence[Sample], columns: Sequence[GridSetting]) -> Mapping[str, str]:
        """Draw and write everything; gives what the numbers on the sheet stand for, where no font has the characters.

        Images go to `<class>/<source number>_<column number>.png`, columns from 1 as on the sheet.

        Raises:
            OSError: the files cannot be written.
        """
        if self.images is not None:
            for sample in samples:
                if sample.image is not None:
                    name = f"{sample.source.number}_{columns.index(sample.setting) + 1}.png"
                    write_bytes_atomically(self.images / sample.source.class_name / name, to_png(sample.image))
        sheet = draw_sheet(["source", *_headings(columns)], _probe_rows(samples, columns))
        write_bytes_atomically(self.sheet, to_png(sheet.image))
        return sheet.legend


def _headings(columns: Sequence[GridSetting]) -> list[str]:
    return [
        f"{number}: {column.native_px} px\nstrength {column.denoising_strength:g}\n{column.sampler}"
        for number, column in enumerate(columns, 1)
    ]


def _probe_rows(samples: Sequence[Sample], columns: Sequence[GridSetting]) -> list[Row]:
    rows = []
    for source in dict.fromkeys(sample.source for sample in samples):
        by_setting = {sample.setting: sample for sample in samples if sample.source == source}
        cells = (_probe_cell(by_setting.get(column)) for column in columns)
        original = Cell(read_photo(source.path), "")
        rows.append(Row(f"{source.class_name}\n{source.name}", (original, *cells)))
    return rows


def _probe_cell(sample: Sample | None) -> Cell:
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
