"""How many images of a size a server's memory takes at once; learnt from its failures."""

from __future__ import annotations

from collections.abc import Mapping

Size = tuple[int, int]


class BatchSizeLimits:
    """The largest batch for each generation size.

    Args:
        batch_size: the limit where nothing is known.
        known: from an earlier run, by "<width>x<height>".
    """

    def __init__(self, batch_size: int, known: Mapping[str, int] | None = None) -> None:
        self._batch_size = batch_size
        self._known = dict(known or {})

    def most(self, size: Size) -> int:
        """How many images of this size to ask for at once."""
        return min(self._batch_size, self._known.get(_name(size), self._batch_size))

    def exceeded(self, size: Size, images: int) -> None:
        """So many were too many: half of them from now on."""
        self._known[_name(size)] = max(1, min(images // 2, self.most(size)))

    def as_dict(self) -> dict[str, int]:
        """What was learnt, to be kept with the output."""
        return dict(self._known)


def _name(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
