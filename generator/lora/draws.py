"""Which pictures a step learns from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch


class Draw:
    """Draws pictures with replacement, all from one generator, so that a training goes on where it was.

    Args:
        classes: the class of each picture.
        balance: draw a class first, all alike, then one of its pictures; otherwise any picture.
    """

    def __init__(self, classes: Sequence[str], *, balance: bool) -> None:
        self._count = len(classes)
        by_class: dict[str, list[int]] = {}
        for index, name in enumerate(classes):
            by_class.setdefault(name, []).append(index)
        self._members = list(by_class.values()) if balance else [list(range(self._count))]

    def take(self, count: int, generator: torch.Generator) -> list[int]:
        """Indices of `count` pictures."""
        taken = []
        for _ in range(count):
            members = self._members[int(torch.randint(len(self._members), (), generator=generator))]
            taken.append(members[int(torch.randint(len(members), (), generator=generator))])
        return taken


def micro_batches(indices: Sequence[int], sizes: Sequence[tuple[int, int]], most: int) -> Iterator[list[int]]:
    """Positions within `indices` that can go through the network together: of one size, at most `most`."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for position, index in enumerate(indices):
        by_size.setdefault(sizes[index], []).append(position)
    for positions in by_size.values():
        for start in range(0, len(positions), most):
            yield positions[start : start + most]
