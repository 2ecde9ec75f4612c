"""A picture beside its heat map, with the box and a few lines of words. Drawing alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from sdcore.images.contact_sheet import SYSTEM_FONTS, Font, find_font

from ..heat_box import HeatBox, scale_box

LEAST_PX, MOST_PX = 256, 1024
"""A picture is enlarged by a whole factor until its longer side has the first, or shrunk to the second."""

_TEXT_PX, _LINE_PX, _GAP_PX = 15, 20, 8
_HEAT_COLOUR = np.array([255.0, 90.0, 0.0])
_MOST_HEAT = 0.75
"""How much of the picture the hottest place hides."""
_FRAME = ((0, 0, 0, 5), (0, 220, 255, 2))
"""Red, green, blue and width: dark below bright, to be seen on black, white and heat."""


@dataclass(frozen=True)
class Line:
    """A line of words under a picture."""

    text: str
    instead: str
    """What to write where no font on this computer has all characters of `text`; plain English."""


def blend_heat(picture: Image.Image, heat: npt.NDArray[np.float64], box: HeatBox | None) -> Image.Image:
    """The picture with its heat over it, the box framed and the peak crossed.

    Args:
        picture: upright.
        heat: (h, w) in [0, 1] over the whole picture, of any resolution.
        box: in pixels of the picture; None for no frame.
    """
    panel = _fit(picture)
    pixels = np.asarray(panel, dtype=np.float64)
    layer = Image.fromarray(heat.astype(np.float32)).resize(panel.size, Image.Resampling.BILINEAR)
    alpha = _MOST_HEAT * np.clip(np.asarray(layer, dtype=np.float64), 0, 1)[..., None]
    blended = Image.fromarray(np.rint((1 - alpha) * pixels + alpha * _HEAT_COLOUR).astype(np.uint8))
    if box is not None:
        _draw_box(blended, scale_box(box, size=picture.size, to=panel.size))
    return blended


def draw_overlay(
    picture: Image.Image,
    heat: npt.NDArray[np.float64] | None,
    box: HeatBox | None,
    lines: Sequence[Line],
    *,
    system_fonts: Sequence[str] = SYSTEM_FONTS,
) -> Image.Image:
    """The picture, beside it its heat map, below them words.

    Args:
        picture: upright, in colour or grey.
        heat: as `blend_heat`; None leaves the picture alone.
        box: in pixels of the picture.
        lines: what to write.
        system_fonts: file names of fonts to try for what Pillow's own font cannot write.
    """
    panels = [_fit(picture)]
    if heat is not None:
        panels.append(blend_heat(picture, heat, box))
    written = [_writable(line, system_fonts) for line in lines]
    width = sum(panel.width + _GAP_PX for panel in panels) + _GAP_PX
    width = max([width, *(round(font.getlength(text)) + 2 * _GAP_PX for font, text in written)])
    height = panels[0].height + 2 * _GAP_PX
    sheet = Image.new("RGB", (width, height + _LINE_PX * len(lines) + _GAP_PX * bool(lines)), "white")
    draw = ImageDraw.Draw(sheet)
    left = _GAP_PX
    for panel in panels:
        sheet.paste(panel, (left, _GAP_PX))
        # Without a line around it, a white picture has no edge on white paper.
        draw.rectangle((left - 1, _GAP_PX - 1, left + panel.width, _GAP_PX + panel.height), outline=(110, 110, 110))
        left += panel.width + _GAP_PX
    for number, (font, text) in enumerate(written):
        draw.text((_GAP_PX, height + number * _LINE_PX), text, font=font, fill="black")
    return sheet


def can_write(text: str, *, system_fonts: Sequence[str] = SYSTEM_FONTS) -> bool:
    """Whether some font at hand has every character of the text."""
    return find_font(text, _TEXT_PX, system_fonts=system_fonts) is not None


def _fit(picture: Image.Image) -> Image.Image:
    rgb = picture.convert("RGB")
    longest = max(rgb.size)
    if longest > MOST_PX:
        size = (max(1, rgb.width * MOST_PX // longest), max(1, rgb.height * MOST_PX // longest))
        return rgb.resize(size, Image.Resampling.LANCZOS)
    factor = -(-LEAST_PX // longest)
    return rgb.resize((rgb.width * factor, rgb.height * factor), Image.Resampling.NEAREST)


def _draw_box(panel: Image.Image, box: HeatBox) -> None:
    draw = ImageDraw.Draw(panel)
    for red, green, blue, width in _FRAME:
        grow = width // 2
        corners = (box.x0 - grow, box.y0 - grow, box.x1 - 1 + grow, box.y1 - 1 + grow)
        inside = (
            max(0, corners[0]), max(0, corners[1]), min(panel.width - 1, corners[2]), min(panel.height - 1, corners[3])
        )  # fmt: skip
        draw.rectangle(inside, outline=(red, green, blue), width=width)
    for red, green, blue, width in _FRAME:
        draw.line((box.peak_x - 6, box.peak_y, box.peak_x + 6, box.peak_y), fill=(red, green, blue), width=width)
        draw.line((box.peak_x, box.peak_y - 6, box.peak_x, box.peak_y + 6), fill=(red, green, blue), width=width)


def _writable(line: Line, system_fonts: Sequence[str]) -> tuple[Font, str]:
    font = find_font(line.text, _TEXT_PX, system_fonts=system_fonts)
    return (ImageFont.load_default(_TEXT_PX), line.instead) if font is None else (font, line.text)
