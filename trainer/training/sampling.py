"""Which training images each epoch shows."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..errors import SettingsError


class EpochOrder:
    """Which training images each epoch shows, as batches of indices of `labels`, (N,).

    Images come in shuffled rounds that continue over the epochs, so the numbers of times that any two images (of one
    class, when balanced; of one origin, when mixed) have been shown never differ by more than one.

    An epoch has `images_per_epoch` images, None for N, in steps of `batch_size` images or one less. Each draw
    takes, with probability `added_share`, an entry that `added`, (N,), marks as added to the real images; None draws
    from all entries alike. A step has `parts` parts over all processes.

    Raises:
        SettingsError: there are no images of a kind that `added_share` needs, or fewer than two images per part in an
            epoch.
    """

    def __init__(
        self,
        labels: Sequence[int],
        *,
        batch_size: int,
        images_per_epoch: int | None,
        balance: bool,
        rng: torch.Generator,
        added_share: float | None = None,
        added: Sequence[bool] = (),
        parts: int = 1,
    ) -> None:
        places = np.arange(len(labels))
        self._share = added_share
        self._rng = rng
        if added_share is not None:
            pools = _real_and_added(places, np.asarray(added, dtype=bool), added_share)
        elif balance:
            pools = [places[np.asarray(labels) == k] for k in sorted(set(labels))]
        else:
            pools = [places]
        self._rounds = [_ShuffledRounds(pool, rng) for pool in pools]
        self._pool_order = _ShuffledRounds(np.arange(len(pools)), rng)
        self._count = images_per_epoch or len(labels)
        self.steps = steps_in_epoch(self._count, batch_size, parts=parts)

    def next_epoch(self) -> list[torch.Tensor]:
        """The batches of the next epoch, each (B,) int64 indices."""
        drawn = np.array([self._rounds[pool].draw() for pool in self._pools_of_epoch()], dtype=np.int64)
        return [torch.from_numpy(part) for part in np.array_split(drawn, self.steps)]

    def _pools_of_epoch(self) -> list[int]:
        if self._share is None:
            return [self._pool_order.draw() for _ in range(self._count)]
        from_added = torch.rand(self._count, generator=self._rng, dtype=torch.float64) < self._share
        return [int(one) for one in from_added.tolist()]

    def state(self) -> dict[str, Any]:
        """The rounds in progress, for `restore`; without the state of the random generator."""
        return {"pool_order": self._pool_order.state(), "rounds": [one.state() for one in self._rounds]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state` of the same labels and settings."""
        self._pool_order.restore(state["pool_order"])
        for one, its_state in zip(self._rounds, state["rounds"], strict=True):
            one.restore(its_state)


def steps_in_epoch(count: int, batch_size: int, *, parts: int = 1) -> int:
    """Steps of the optimizer in an epoch of `count` images, at most `batch_size` in each.

    Batch normalisation needs two images in each of the `parts` of a step.

    Raises:
        SettingsError: there are several parts, and fewer than two images for each.
    """
    if parts > 1 and count < 2 * parts:
        raise SettingsError(
            f"accumulate: {parts} parts a step, over all processes, need {2 * parts} images an epoch, and there are "
            f"{count}; take fewer parts or processes, or raise --images-per-epoch"
        )
    return max(1, min(math.ceil(count / batch_size), count // (2 * parts)))


def parts_of(count: int, parts: int) -> list[slice]:
    """Split `count` entries into consecutive parts whose sizes differ by at most one; some may be empty."""
    ends = [count * k // parts for k in range(parts + 1)]
    return [slice(begin, end) for begin, end in pairwise(ends)]


class _ShuffledRounds:
    """Endless draws from a pool: all of it in a shuffled order, then all of it in another."""

    def __init__(self, pool: npt.NDArray[np.int64], rng: torch.Generator) -> None:
        self._pool, self._rng = pool, rng
        self._round: list[int] = []
        self._next = 0

    def draw(self) -> int:
        if self._next == len(self._round):
            self._round = self._pool[torch.randperm(len(self._pool), generator=self._rng).numpy()].tolist()
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
