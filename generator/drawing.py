"""Which pictures a step shows, and how they are turned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class Order:
    """Endless batches of pictures, each pool in shuffled rounds, so that none is shown twice before all were once.

    Args:
        labels: class of each picture.
        batch_size: pictures a batch.
        balance: draw every class equally often.
        generator: where chance comes from.
    """

    def __init__(self, labels: Sequence[int], *, batch_size: int, balance: bool, generator: torch.Generator) -> None:
        everything = range(len(labels))
        pools = [[i for i in everything if labels[i] == label] for label in sorted(set(labels))]
        self._rounds = [_Round(pool, generator) for pool in (pools if balance else [list(everything)])]
        self._pool_order = _Round(list(range(len(self._rounds))), generator)
        self._batch_size = batch_size

    def next_batch(self) -> list[int]:
        """Indices of the next pictures."""
        return [self._rounds[self._pool_order.draw()].draw() for _ in range(self._batch_size)]

    def state(self) -> dict[str, Any]:
        """The rounds in progress, from which `restore` goes on; the generator's own state is not in it."""
        return {"pool_order": self._pool_order.state(), "rounds": [one.state() for one in self._rounds]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave; the same labels and settings are needed."""
        self._pool_order.restore(state["pool_order"])
        for one, its_state in zip(self._rounds, state["rounds"], strict=True):
            one.restore(its_state)


class _Round:
    """All of a pool in a shuffled order, then all of it in another."""

    def __init__(self, pool: list[int], generator: torch.Generator) -> None:
        self._pool, self._generator = pool, generator
        self._left: list[int] = []

    def draw(self) -> int:
        if not self._left:
            places = torch.randperm(len(self._pool), generator=self._generator).tolist()
            self._left = [self._pool[place] for place in places]
        return self._left.pop()

    def state(self) -> list[int]:
        return list(self._left)

    def restore(self, state: list[int]) -> None:
        self._left = list(state)


def draw_square(
    picture: torch.Tensor, size_px: int, *, flips: bool, quarter_turns: bool, generator: torch.Generator
) -> torch.Tensor:
    """A square out of a picture, anywhere along its longer side, mirrored and turned by chance where allowed.

    Args:
        picture: (C, H, W), its shorter side `size_px`.
        size_px: side of the square.
        flips: mirror left-right and up-down, each for half of the pictures.
        quarter_turns: turn by 0, 90, 180 or 270 degrees.
        generator: where chance comes from.
    """
    top = _draw_below(picture.shape[1] - size_px + 1, generator)
    left = _draw_below(picture.shape[2] - size_px + 1, generator)
    square = picture[:, top : top + size_px, left : left + size_px]
    if flips:
        sides = [side for side in (1, 2) if _draw_below(2, generator)]
        square = torch.flip(square, sides)
    if quarter_turns:
        square = torch.rot90(square, _draw_below(4, generator), (1, 2))
    return square


def middle_square(picture: torch.Tensor, size_px: int) -> torch.Tensor:
    """The square about the middle of a picture whose shorter side is `size_px`."""
    top, left = (picture.shape[1] - size_px) // 2, (picture.shape[2] - size_px) // 2
    return picture[:, top : top + size_px, left : left + size_px]


def _draw_below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (1,), generator=generator)) if count > 1 else 0
