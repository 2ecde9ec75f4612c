"""Settings that may vary from image to image: a list or a range, drawn by the image's seed.

A draw depends on the image's seed and the name of what is drawn, and on nothing else: not on order, subset, restart
or server. It is a hash, so neighbouring seeds, which consecutive images have, give unrelated draws.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache

DRAWN_DIGITS = 3
"""Digits after the point of a number drawn from a range, so that the number in an image's text is the one used."""
_STEPS_PER_UNIT: int = 10**DRAWN_DIGITS
_NAMES_KEPT = 256


@dataclass(frozen=True)
class Choice:
    """One of several numbers, each place of the list as likely as any other."""

    values: tuple[float, ...]
    """At least one; a number that stands here twice is drawn twice as often."""


@dataclass(frozen=True)
class Range:
    """A number from low to high, both among them, in steps of 0.001, each as likely as any other."""

    low: float
    """At most `high`; both with no more than `DRAWN_DIGITS` digits after the point."""
    high: float


def draw_index(seed: int, name: str, count: int) -> int:
    """A number from 0 to `count` - 1: the first 64 bits of sha256 over seed and name, modulo `count`.

    Args:
        seed: of the image.
        name: of what is drawn; other names give independent draws.
        count: how many there are to draw from, at least 1.
    """
    text = f"[{seed}, {_quoted(name)}]"  # as JSON has a list of both
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") % count


@lru_cache(_NAMES_KEPT)
def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def draw_number(spec: Choice | Range, seed: int, name: str) -> float:
    """The number of the image with this seed, for the setting of this name."""
    if isinstance(spec, Choice):
        return spec.values[draw_index(seed, name, len(spec.values))]
    lowest, highest = (round(end * _STEPS_PER_UNIT) for end in (spec.low, spec.high))
    # Whole steps divided once: the float nearest to the decimal, whose text is the decimal.
    return (lowest + draw_index(seed, name, highest - lowest + 1)) / _STEPS_PER_UNIT
