"""Which training images each epoch shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..errors import SettingsError


class EpochOrder:
    """Which training images each epoch shows, as batches of indices.

    Images come in shuffled rounds that run on over the epochs, so that after any number of epochs no two
    images (of one class, when balanced; of one origin, when mixed) have been shown more than one time apart.

    Args:
        labels: (N,) class indices.
        batch_size: images a step; the steps of an epoch differ by one image at most.
        images_per_epoch: None shows N.
        balance: draw every class equally often.
        generator: where chance comes from.
        added_share: probability that an entry drawn is one of the added images; None draws from all alike.
        added: (N,) whether an entry was added to the real images; only read with `added_share`.
        parts: that each step is worked through in, over all processes.

    Raises:
        SettingsError: `added_share` asks for images of a kind that is not there, or an epoch has fewer than two images
            a part.
    """

    def __init__(
        self,
        labels: Sequence[int],
        *,
        batch_size: int,
        images_per_epoch: int | None,
        balance: bool,
        generator: torch.Generator,
        added_share: float | None = None,
        added: Sequence[bool] = (),
        parts: int = 1,
    ) -> None:
        places = np.arange(len(labels))
        self._share = added_share
        self._generator = generator
        if added_share is not None:
            pools = _real_and_added(places, np.asarray(added, dtype=bool), added_share)
        elif balance:
            pools = [places[np.asarray(labels) == k] for k in sorted(set(labels))]
        else:
            pools = [places]
        self._rounds = [_ShuffledRounds(pool, generator) for pool in pools]
        self._pool_order = _ShuffledRounds(np.arange(len(pools)), generator)
        self._count = images_per_epoch or len(labels)
        self.steps = steps_in_epoch(self._count, batch_size, parts=parts)

    def next_epoch(self) -> list[torch.Tensor]:
        """The batches of the next epoch, each (B,) int64 indices."""
        drawn = np.array([self._rounds[pool].draw() for pool in self._pools_of_epoch()], dtype=np.int64)
        return [torch.from_numpy(part) for part in np.array_split(drawn, self.steps)]

    def _pools_of_epoch(self) -> list[int]:
        if self._share is None:
            return [self._pool_order.draw() for _ in range(self._count)]
        from_added = torch.rand(self._count, generator=self._generator, dtype=torch.float64) < self._share
        return [int(one) for one in from_added.tolist()]

    def state(self) -> dict[str, Any]:
        """The rounds in progress, from which `restore` goes on; the generator's own state is not in it."""
        return {"pool_order": self._pool_order.state(), "rounds": [one.state() for one in self._rounds]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave; the same labels and settings are needed."""
        self._pool_order.restore(state["pool_order"])
        for one, its_state in zip(self._rounds, state["rounds"], strict=True):
            one.restore(its_state)


def steps_in_epoch(count: int, batch_size: int, *, parts: int = 1) -> int:
    """Steps of the optimizer in an epoch; their images differ by one at most.

    Args:
        count: images in the epoch.
        batch_size: images a step, at most.
        parts: that each step is worked through in; batch normalisation needs two images in each.

    Raises:
        SettingsError: there are not two images for each of several parts.
    """
    if parts > 1 and count < 2 * parts:
        raise SettingsError(
            f"accumulate: {parts} parts a step, over all processes, need {2 * parts} images an epoch, and there are "
            f"{count}; take fewer parts or processes, or raise --images-per-epoch"
        )
    return max(1, min(math.ceil(count / batch_size), count // (2 * parts)))


def parts_of(count: int, parts: int) -> list[slice]:
    """So many entries in consecutive parts, whose sizes differ by one at most.

    Args:
        count: entries, 0 or more.
        parts: 1 or more; where there are fewer entries, some are empty.
    """
    ends = [count * k // parts for k in range(parts + 1)]
    return [slice(begin, end) for begin, end in pairwise(ends)]


class _ShuffledRounds:
    """Endless draws from a pool: all of it in a shuffled order, then all of it in another."""

    def __init__(self, pool: npt.NDArray[np.int64], generator: torch.Generator) -> None:
        self._pool, self._generator = pool, generator
        self._round: list[int] = []
        self._next = 0

    def draw(self) -> int:
        if self._next == len(self._round):
            self._round = self._pool[torch.randperm(len(self._pool), generator=self._generator).numpy()].tolist()
            self._next = 0
        self._next += 1
        return self._round[self._next - 1]

    def state(self) -> dict[str, Any]:
        return {"round": torch.tensor(self._round, dtype=torch.int64), "next": self._next}

    def restore(self, state: dict[str, Any]) -> None:
        self._round, self._next = state["round"].tolist(), int(state["next"])


def _real_and_added(
    places: npt.NDArray[np.int64], added: npt.NDArray[np.bool_], share: float
) -> list[npt.NDArray[np.int64]]:
    pools = [places[~added], places[added]]
    if share > 0 and not len(pools[1]):
        raise SettingsError(
            f"generated_share: {share:g} asked for, but no generated images join the training; add --generated OUTPUT"
        )
    if share < 1 and not len(pools[0]):
        raise SettingsError(f"generated_share: {share:g} asked for, but there are no real images to take the rest from")
    return pools
