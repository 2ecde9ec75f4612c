"""Perceptual hashes that lie close together, found exactly and without comparing all pairs.

A package of its own, because both `sdclient` and `trainer` look for near duplicates and do not import each other.
"""

from __future__ import annotations

from .bits import Words
from .index import HashIndex

__all__ = ["HashIndex", "Words"]
