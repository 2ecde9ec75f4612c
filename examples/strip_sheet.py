"""Rows of pictures under headings, as a film strip; drawing alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

_SCALE = 2
"""Drawn at twice the size of a screen's pixels, so that letters stay sharp on fine screens."""
_CELL = 132 * _SCALE
_GAP, _EDGE, _LABEL = 12 * _SCALE, 20 * _SCALE, 104 * _SCALE
_HEAD, _CAPTION, _FOOT = 52 * _SCALE, 24 * _SCALE, 44 * _SCALE
_PAPER, _INK, _QUIET, _EMPTY = "#ffffff", "#1c2126", "#66707a", "#eef1f4"
_FRAMES = {"": "#c9d0d6", "kept": "#1f8f4e", "rejected": "#c4342b"}


@dataclass(frozen=True)
class Frame:
    """One picture."""

    picture: Image.Image | None
    """None leaves an empty frame."""
    words: str
    """Written below it."""
    kind: Literal["", "kept", "rejected"] = ""


@dataclass(frozen=True)
class Row:
    """A source and what became of it."""

    title: str
    """The first line is written larger than the others."""
    frames: tuple[Frame, ...]


def draw_strip(headings: Sequence[tuple[str, str]], rows: Sequence[Row], footer: str) -> Image.Image:
    """Draw the sheet.

    Args:
        headings: a title and quieter words for each column.
        rows: each with as many frames as there are headings.
        footer: what a reader must know, below everything.
    """
    width = 2 * _EDGE + _LABEL + len(headings) * (_CELL + _GAP) - _GAP
    foot_lines = _wrapped(footer, _font(11), width - 2 * _EDGE)
    height = _EDGE + _HEAD + len(rows) * (_CELL + _CAPTION + _GAP) + _FOOT + (len(foot_lines) - 1) * 16 * _SCALE
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, (title, words) in enumerate(headings):
        left = _EDGE + _LABEL + place * (_CELL + _GAP)
        draw.text((left, _EDGE), title, font=_font(15), fill=_INK)
        draw.text((left, _EDGE + 21 * _SCALE), words, font=_font(10.5), fill=_QUIET)
    for number, row in enumerate(rows):
        top = _EDGE + _HEAD + number * (_CELL + _CAPTION + _GAP)
        first, *others = row.title.splitlines()
        draw.text((_EDGE, top + 2 * _SCALE), first, font=_font(13), fill=_INK)
        for line, words in enumerate(others, start=1):
            draw.text((_EDGE, top + (4 + 18 * line) * _SCALE), words, font=_font(10.5), fill=_QUIET)
        for place, frame in enumerate(row.frames):
            _draw_frame(sheet, draw, (_EDGE + _LABEL + place * (_CELL + _GAP), top), frame)
    for line, words in enumerate(foot_lines):
        top = height - _FOOT - (len(foot_lines) - 1 - line) * 16 * _SCALE + 8 * _SCALE
        draw.text((_EDGE, top), words, font=_font(11), fill=_QUIET)
    return sheet


def _draw_frame(sheet: Image.Image, draw: ImageDraw.ImageDraw, place: tuple[int, int], frame: Frame) -> None:
    left, top = place
    box = (left, top, left + _CELL - 1, top + _CELL - 1)
    if frame.picture is None:
        draw.rectangle(box, fill=_EMPTY)
    else:
        sheet.paste(frame.picture.convert("RGB").resize((_CELL, _CELL), Image.Resampling.BICUBIC), place)
    thick = 1 if frame.kind == "" else 3
    grown = (box[0] - thick, box[1] - thick, box[2] + thick, box[3] + thick)
    draw.rectangle(grown, outline=_FRAMES[frame.kind], width=thick + 1)
    colour = _QUIET if frame.kind == "" else _FRAMES[frame.kind]
    draw.text((left, top + _CELL + 6 * _SCALE), frame.words, font=_font(10.5), fill=colour)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _font(points: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(points * _SCALE)
