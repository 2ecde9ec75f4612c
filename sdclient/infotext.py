r"""The text a WebUI writes into its images ("infotext"), parsed and formatted.

Three parts, the first two possibly absent or of several lines::

    scratched metal surface
    Negative prompt: blurry
    Steps: 20, Sampler: DPM++ SDE, Schedule type: Karras, CFG scale: 7.0, Seed: 42, Size: 64x64, ...

A value that holds a comma, a colon or a line break stands in JSON quotes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

PNG_KEYWORD = "parameters"
"""Keyword of the PNG text chunk that holds the infotext."""
ENGINE_KEY = "Engine"
"""Setting by which a stand-in says, in infotexts and in a reply's `extra_generation_params`, what made the pixels."""
EXIF_IFD = 0x8769
"""EXIF tag of the block that holds the user comment."""
USER_COMMENT = 0x9286
"""EXIF tag of the infotext in JPEG and WebP."""

_SETTING = re.compile(r'\s*(\w[\w \-/+]*?):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
_NEGATIVE = "Negative prompt: "
_FEWEST_SETTINGS = 3


@dataclass(frozen=True)
class Infotext:
    """Parsed infotext; `str()` gives the text back."""

    prompt: str = ""
    negative_prompt: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The last line's values by their names there ("Steps", "Sampler", "Schedule type", ...), in order."""

    def __str__(self) -> str:
        """The text as a WebUI writes it."""
        lines = []
        if self.prompt:
            lines.append(self.prompt)
        if self.negative_prompt:
            lines.append(_NEGATIVE + self.negative_prompt)
        if self.settings:
            lines.append(", ".join(f"{name}: {_quote(value)}" for name, value in self.settings.items()))
        return "\n".join(lines)


def parse_infotext(text: str) -> Infotext:
    """Parse infotext; a last line with fewer than three settings counts as part of the prompt."""
    lines = text.strip().split("\n")
    settings = {name: _unquote(value) for name, value in _SETTING.findall(lines[-1])}
    if len(settings) < _FEWEST_SETTINGS:
        settings = {}
    else:
        lines.pop()
    prompt: list[str] = []
    negative: list[str] | None = None
    for line in lines:
        if negative is None and line.startswith(_NEGATIVE.rstrip()):
            negative = [line[len(_NEGATIVE) :]]
        elif negative is None:
            prompt.append(line)
        else:
            negative.append(line)
    return Infotext("\n".join(prompt), "\n".join(negative or []), settings)


def read_infotext(image: Image.Image) -> str:
    """The infotext an image carries (PNG text chunk, or EXIF user comment of JPEG and WebP); "" when none."""
    text = image.info.get(PNG_KEYWORD)
    if isinstance(text, str):
        return text
    exif = image.getexif()
    comment = exif.get_ifd(EXIF_IFD).get(USER_COMMENT)
    return _decode_user_comment(comment, is_big_endian=exif.endian == ">") if isinstance(comment, bytes) else ""


def _decode_user_comment(comment: bytes, *, is_big_endian: bool) -> str:
    """Text of an EXIF UserComment; its first eight bytes name the character set (Exif 2.32, table 9)."""
    charset, body = comment[:8], comment[8:]
    if charset == b"UNICODE\0":
        # WebUIs write big-endian text, others the order of the block. In a little-endian block it may be either:
        # most of an infotext is ASCII, whose high byte is 0, so where are more zeros?
        is_little = not is_big_endian and body[1::2].count(0) > body[::2].count(0)
        return body.decode("utf-16-le" if is_little else "utf-16-be", errors="replace").rstrip("\0")
    return body.decode("utf-8", errors="replace").rstrip("\0")


def _quote(value: str) -> str:
    if any(mark in value for mark in ",:\n") or value.startswith('"'):
        return json.dumps(value, ensure_ascii=False)
    return value


def _unquote(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        try:
            return str(json.loads(value))
        except json.JSONDecodeError:
            return value
    return value
