"""Images in labelled rows and columns on one sheet, and fonts that can write any label. Drawing alone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

_Colour: TypeAlias = str | tuple[int, int, int]
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

CELL_PX = 192
_GAP_PX = 10
_LABEL_PX = 130
_TEXT_PX = 14
_LINE_PX = 18
_PAPER, _INK, _FAINT, _ALARM = "white", "black", (110, 110, 110), (200, 0, 0)
SYSTEM_FONTS = (
    "msyh.ttc",
    "simhei.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "NotoSerifCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
)
"""Pillow finds these by file name in the system's font folders; its own font has no Chinese."""
_NO_CHARACTER = "\U0010ffff"


@dataclass(frozen=True)
class Cell:
    """One image and its caption."""

    image: Image.Image | None
    """None leaves an empty frame."""
    caption: str
    is_marked: bool = False
    """Framed and written in red."""


@dataclass(frozen=True)
class Row:
    """A label and its images, as many as there are columns."""

    label: str
    """Each line has its own font, so that a number replaces only the lines that no font can write."""
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Sheet:
    """The drawn sheet."""

    image: Image.Image
    legend: Mapping[str, str]
    """Text on the sheet ("no. 1") -> the line of a label that no available font can write."""


def draw_sheet(columns: Sequence[str], rows: Sequence[Row], *, system_fonts: Sequence[str] = SYSTEM_FONTS) -> Sheet:
    """Draw the sheet: headings above the columns, labels at the left, captions under the images.

    Images of any size and mode are fitted into cells of `CELL_PX`; long lines are wrapped. `system_fonts` are file
    names of fonts to try for what Pillow's own font cannot write.
    """
    label_lines = [line for row in rows for line in row.label.splitlines()]
    fonts = (ImageFont.load_default(_TEXT_PX), *_system_fonts(system_fonts, label_lines))
    legend: dict[str, str] = {}
    headings = [_wrapped(column, fonts[0], CELL_PX) for column in columns]
    head_px = _LINE_PX * max(map(len, headings), default=0) + _GAP_PX
    captions = [_wrapped(cell.caption, fonts[0], CELL_PX) for row in rows for cell in row.cells]
    row_px = CELL_PX + _LINE_PX * max(map(len, captions), default=0) + _GAP_PX
    width = _LABEL_PX + len(columns) * (CELL_PX + _GAP_PX) + _GAP_PX
    sheet = Image.new("RGB", (width, head_px + len(rows) * row_px + _GAP_PX), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, lines in enumerate(headings):
        _write(draw, (_left(column), _GAP_PX), lines, fonts[0], _INK)
    for number, row in enumerate(rows):
        top = head_px + number * row_px + _GAP_PX
        label_top = top
        for line in row.label.splitlines():
            font, writable = _writable(line, fonts, legend)
            lines = _wrapped(writable, font, _LABEL_PX - 2 * _GAP_PX)
            _write(draw, (_GAP_PX, label_top), lines, font, _INK)
            label_top += _LINE_PX * len(lines)
        for column, cell in enumerate(row.cells):
            _draw_cell(sheet, draw, (_left(column), top), cell, fonts[0])
    return Sheet(sheet, legend)


def can_write(text: str, font: Font) -> bool:
    """Whether the font has every character, none shown as the box that stands for a missing one."""
    missing = _shape(_NO_CHARACTER, font)
    return all(character.isspace() or _shape(character, font) != missing for character in text)


def find_font(text: str, size_px: int, *, system_fonts: Sequence[str] = SYSTEM_FONTS) -> Font | None:
    """A font that has every character of the text: Pillow's own, else the first of the system's; None without one.

    Pillow looks for the file names `system_fonts` in the system's font folders.
    """
    own = ImageFont.load_default(size_px)
    if can_write(text, own):
        return own
    for name in system_fonts:
        try:
            font = ImageFont.truetype(name, size_px)
        except OSError:
            continue
        if can_write(text, font):
            return font
    return None


def _left(column: int) -> int:
    return _LABEL_PX + column * (CELL_PX + _GAP_PX)


def _draw_cell(sheet: Image.Image, draw: ImageDraw.ImageDraw, place: tuple[int, int], cell: Cell, font: Font) -> None:
    (left, top), size = place, (CELL_PX, CELL_PX)
    if cell.image is not None:
        fitted = _fitted(cell.image)
        sheet.paste(fitted, place)
        size = fitted.size
    # Without a line around it, a white image has no edge on white paper.
    draw.rectangle((left - 1, top - 1, left + size[0], top + size[1]), outline=_FAINT)
    if cell.is_marked:
        draw.rectangle((left - 3, top - 3, left + CELL_PX + 2, top + CELL_PX + 2), outline=_ALARM, width=3)
    lines = _wrapped(cell.caption, font, CELL_PX)
    _write(draw, (left, top + CELL_PX + 3), lines, font, _ALARM if cell.is_marked else _INK)


def _fitted(image: Image.Image) -> Image.Image:
    """The image as large as fits into a cell."""
    rgb = image.convert("RGB")
    factor = CELL_PX / max(rgb.size)
    size = (max(1, round(rgb.width * factor)), max(1, round(rgb.height * factor)))
    return rgb.resize(size, Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BICUBIC)


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], lines: Iterable[str], font: Font, fill: _Colour) -> None:
    for number, line in enumerate(lines):
        draw.text((place[0], place[1] + number * _LINE_PX), line, font=font, fill=fill)


def _writable(text: str, fonts: Sequence[Font], legend: dict[str, str]) -> tuple[Font, str]:
    """A font that can write the text, and the text; without such a font a number, entered in the legend."""
    for font in fonts:
        if can_write(text, font):
            return font, text
    key = next((key for key, label in legend.items() if label == text), f"no. {len(legend) + 1}")
    legend[key] = text
    return fonts[0], key


def _wrapped(text: str, font: Font, width_px: int) -> list[str]:
    return [line for paragraph in text.splitlines() for line in _lines(paragraph, font, width_px)]


def _lines(text: str, font: Font, width_px: int) -> Iterator[str]:
    """Break at spaces where possible, else within the word."""
    rest = text.strip()
    while rest:
        end = len(rest)
        while end > 1 and font.getlength(rest[:end]) > width_px:
            end -= 1
        if end < len(rest) and (space := rest.rfind(" ", 1, end + 1)) > 0:
            end = space
        yield rest[:end].rstrip()
        rest = rest[end:].lstrip()


def _shape(character: str, font: Font) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)


def _system_fonts(names: Sequence[str], labels: Iterable[str]) -> list[Font]:
    """For every label that Pillow's own font cannot write, the first of the system's fonts that can."""
    found: list[Font] = [ImageFont.load_default(_TEXT_PX)]
    for label in labels:
        if any(can_write(label, font) for font in found):
            continue
        if (font := find_font(label, _TEXT_PX, system_fonts=names)) is not None:
            found.append(font)
    return found[1:]
