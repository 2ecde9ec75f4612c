"""The contact sheets of masks, transplants, curation and probes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from sdcore.files import printable, write_bytes_atomically
from sdcore.images.contact_sheet import CELL_PX, Cell, Row, draw_sheet
from sdcore.images.decode import to_png, to_rgb
from sdcore.images.folders import natural_key

from .compose.cutout import form_of, to_form
from .curate import reasons
from .curate.reasons import REASONS, JudgedImage
from .errors import OutputError, SDClientError, SourceError
from .manifest.database import ImageRecord, Manifest
from .masks.mask import box_of, mask_path, read_mask
from .plan import pick_evenly
from .probe import GridSetting, Sample
from .sources.source import Source, read_photo

MOST_PER_CLASS = 24
_MASK_COLUMNS = 6
_HARD, _FEATHER = (255, 40, 40), (255, 210, 0)


def write_mask_sheet(path: Path, sources: Sequence[Source], masks: Path) -> Mapping[str, str]:
    """Draw the sources that have masks, at most `MOST_PER_CLASS` of each class, evenly picked.

    The hard area's outline is red, the end of the feather yellow.

    Returns:
        Number on the sheet -> the name it stands for, if no font here can write that name.

    Raises:
        MaskError: a mask cannot be used.
        OSError: the sheet cannot be written.
    """
    masked = [source for source in sources if mask_path(masks, source).is_file()]
    rows = []
    for class_name in dict.fromkeys(source.class_name for source in masked):
        picked = pick_evenly([source for source in masked if source.class_name == class_name], MOST_PER_CLASS)
        for start in range(0, len(picked), _MASK_COLUMNS):
            cells = tuple(_cell(source, masks) for source in picked[start : start + _MASK_COLUMNS])
            rows.append(Row(class_name if start == 0 else "", cells))
    sheet = draw_sheet([""] * _MASK_COLUMNS, rows)
    write_bytes_atomically(path, to_png(sheet.image))
    return sheet.legend


def outlined(image: Image.Image, mask: Image.Image, *, side_px: int = CELL_PX) -> Image.Image:
    """An image with the outline of its mask, its longer side resized to `side_px`.

    Args:
        image: any mode.
        mask: mode "L", of the same size.
    """
    factor = side_px / max(image.size)
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    shown = to_rgb(image).resize(size, Image.Resampling.LANCZOS)
    for least, colour in ((1, _FEATHER), (255, _HARD)):
        area = mask.point([0] * least + [255] * (256 - least)).resize(size, Image.Resampling.NEAREST)
        edge = ImageChops.subtract(area.filter(ImageFilter.MaxFilter(3)), area)
        shown.paste(colour, mask=edge)
    return shown


def _cell(source: Source, masks: Path) -> Cell:
    image = read_photo(source.path)
    mask = read_mask(mask_path(masks, source), image.size)
    white = sum(mask.histogram()[1:]) / (mask.width * mask.height)
    return Cell(outlined(image, mask), f"{source.path.stem}: {white:.1%}")


_TRANSPLANT_COLUMNS = ("defect", "put on", "result", "changed")
_OUTLINE = (255, 0, 0)


def write_transplant_sheet(path: Path, output: Path, *, per_class: int = 4) -> dict[str, str]:
    """Draw at most `per_class` finished transplants of each class of an output, evenly picked.

    Returns:
        As `write_mask_sheet`.

    Raises:
        ManifestError: no manifest, or a damaged one.
        OSError: the sheet cannot be written.
    """
    with Manifest(output) as manifest:
        run, records = manifest.run(), list(manifest.images())
    rows = []
    for class_name in dict.fromkeys(record.class_name for record in records):
        picked = pick_evenly([record for record in records if record.class_name == class_name], per_class)
        rows += [_transplant_row(record, output, run) for record in picked]
    sheet = draw_sheet(_TRANSPLANT_COLUMNS, rows)
    buffer = io.BytesIO()
    sheet.image.save(buffer, "PNG")
    write_bytes_atomically(path, buffer.getvalue())
    return dict(sheet.legend)


def _transplant_row(record: ImageRecord, output: Path, run: dict[str, object]) -> Row:
    source = Path(str(run.get("sources", ""))) / record.source
    base = source
    if record.other_parents:
        base = Path(str(run.get("other_sources", ""))) / record.other_parents[0].source
    result = _read(output / record.file)
    mask = read_mask(output / record.mask, (record.width, record.height)) if record.mask else None
    changed = None
    if result is not None and mask is not None:
        changed = result.convert("RGB")
        left, top, right, bottom = box_of(mask)
        ImageDraw.Draw(changed).rectangle((left - 1, top - 1, right, bottom), outline=_OUTLINE)
    place = record.used["places"][0]
    caption = f"{place['blend']}, seam {place['seam_score']:.2f}, mismatch {place['mismatch']:.2f}"
    cells = (
        Cell(_read(source), record.source),
        Cell(_read(base), "its own image" if base == source else record.other_parents[0].source),
        Cell(result, caption),
        Cell(changed, ""),
    )
    return Row(f"{record.class_name}\n{record.file.partition('/')[2]}", cells)


def _read(path: Path) -> Image.Image | None:
    """An image in 8 bits; None if it is gone."""
    try:
        image = read_photo(path)
    except (SDClientError, OSError):
        return None
    return to_form(image, form_of(image))


PAIRS_PER_ROW = 3
ROWS_PER_GROUP = 2
_SCORE_OF = {
    reasons.TOO_ALIKE: "ssim_inside",
    reasons.NEAR_DUPLICATE: "ssim_inside",
    reasons.NOISE: "grain",
    reasons.COLOUR_GARBAGE: "colour_garbage",
    reasons.BLURRED: "sharpness",
    reasons.OIL_PAINT: "texture",
    reasons.TONE: "tone_distance",
    reasons.COLOUR: "colour_distance",
    reasons.FACE: "face",
    reasons.WRONG_CLASS: "p_class",
    reasons.LOOKS_NORMAL: "p_normal",
    reasons.FAR_FROM_CLASS: "feature_distance",
}
# Windows refuses these in a file's name; a class is a folder's name, but the folder may come from another system.
_ILLEGAL = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def write_curation_sheets(
    folder: Path, output: Path, judged: Sequence[JudgedImage], sources: Path
) -> Mapping[Path, Mapping[str, str]]:
    """Draw a sheet for each class, `<class>.png`; an old one is replaced.

    A source that is missing in the folder of numbered `sources` leaves its frame empty.

    Returns:
        For each sheet, number -> the name it stands for, as `write_mask_sheet`.

    Raises:
        SourceError: an image cannot be read.
        OSError: a sheet cannot be written.
    """
    written = {}
    for name in sorted({one.class_name for one in judged}, key=natural_key):
        rows = list(_rows([one for one in judged if one.class_name == name], output, sources))
        sheet = draw_sheet(["source", "image"] * PAIRS_PER_ROW, rows)
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
    shown = pick_evenly(images, PAIRS_PER_ROW * ROWS_PER_GROUP)
    label = f"{title}\n{len(images)}" + (f", {len(shown)} shown" if len(shown) < len(images) else "")
    for start in range(0, max(1, len(shown)), PAIRS_PER_ROW):
        cells: list[Cell] = []
        for one in shown[start : start + PAIRS_PER_ROW]:
            cells.append(Cell(_photo(sources / one.source), Path(one.source).name))
            caption = Path(one.file).name + ("" if word is None else _why(one, word))
            cells.append(Cell(read_photo(output / one.file), caption, word is not None))
        yield Row(label if start == 0 else "", tuple(cells))


def _why(one: JudgedImage, word: str) -> str:
    """The score behind a reason, and the image's other reasons."""
    value = one.scores.get(_SCORE_OF[word])
    others = [REASONS[other].english for other in one.reasons if other != word and other in REASONS]
    score = f", {_SCORE_OF[word].replace('_', ' ')} {value:.3g}" if value is not None else ""
    return f"{score}; also {', '.join(others)}" if others else score


def _photo(path: Path) -> Image.Image | None:
    try:
        return read_photo(path)
    except SourceError:
        return None


SHEET_NAME = "contact_sheet.png"


@dataclass(frozen=True)
class ProbeReport:
    """The files of a probe."""

    sheet: Path
    images: Path | None
    """Folder for the single images, or None."""

    @classmethod
    def at(cls, out: Path) -> ProbeReport:
        """The files for `out`: the sheet's name (ending in .png), or a new or empty folder.

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
        """Draw and write everything; gives number -> the name it stands for, as `write_mask_sheet`.

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
    if sample.reason is not None and not sample.reason.startswith("rainbow noise"):  # whose score is there already
        words += f", {sample.reason}"
    return Cell(sample.image, words, sample.reason is not None)
