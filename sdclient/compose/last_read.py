"""The last pictures read, as many as memory is meant for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_PIXELS_KEPT = 24_000_000

T = TypeVar("T")


class ImageLru(Generic[T]):
    """The last things read, up to so many pixels.

    Args:
        pixels_of: how many one has.
    """

    def __init__(self, pixels_of: Callable[[T], int]) -> None:
        self._pixels_of = pixels_of
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._pixels = 0

    def get(self, key: Hashable, read: Callable[[], T]) -> T:
        """What is kept under the key, or what `read` gives."""
        if key not in self._kept:
            self._kept[key] = found = read()
            self._pixels += self._pixels_of(found)
            while self._pixels > _PIXELS_KEPT and len(self._kept) > 1:
                self._pixels -= self._pixels_of(self._kept.popitem(last=False)[1])
        self._kept.move_to_end(key)
        return self._kept[key]
