"""The images of a plan that are still to be made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic

from .jobs import Planned, SourcePlan


class MissingImages(Generic[Planned]):
    """Images to make, in the order of the plan; each is made up when it is its turn.

    Args:
        parts: sources with the numbers of their missing images.
    """

    def __init__(self, parts: Sequence[tuple[SourcePlan[Planned], Sequence[int]]]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        """How many there are."""
        return sum(len(ks) for _, ks in self._parts)

    def __iter__(self) -> Iterator[Planned]:
        """They one by one; may be asked for again, and gives equal ones then."""
        for plan, ks in self._parts:
            yield from plan.images(ks)
