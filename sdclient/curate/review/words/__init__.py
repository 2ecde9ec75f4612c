"""Every word of the review page and of the page for drawing: a catalogue a language."""

from __future__ import annotations

from typing import Literal

from .en import WORDS as ENGLISH
from .zh import WORDS as CHINESE

Language = Literal["en", "zh"]

WORDS: dict[Language, dict[str, str]] = {"en": ENGLISH, "zh": CHINESE}
