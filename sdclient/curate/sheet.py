"""One sheet a class: what was accepted and what was rejected for which reason, each image beside its source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image

from sdcore.files import write_bytes_atomically
from sdcore.images.contact_sheet import Cell, Row, draw_sheet
from sdcore.images.folders import natural_key

from .._images import encode_png
from ..errors import SourceError
from ..photos import read_photo
from .judged import JudgedImage
from .reasons import (
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
)

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
        output: the output folder.
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
        write_bytes_atomically(path, encode_png(sheet.image))
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
