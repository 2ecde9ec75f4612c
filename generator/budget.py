"""How much of a training is done, by steps or by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from .config import TrainConfig


class Budget:
    """Counts a training's time over all its starts, and says how much of the whole is done.

    Args:
        config: its `steps` and `minutes`; the first that is reached ends the training.
        spent_s: seconds of earlier starts.
        clock: gives seconds.
    """

    def __init__(
        self, config: TrainConfig, *, spent_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._steps, self._minutes = config.steps, config.minutes
        self._clock = clock
        self._begin_s = clock() - spent_s

    @property
    def spent_s(self) -> float:
        """Seconds of training so far."""
        return self._clock() - self._begin_s

    def share_done(self, steps_done: int) -> float:
        """Between 0 and 1."""
        shares = [0.0]
        if self._steps is not None:
            shares.append(steps_done / self._steps)
        if self._minutes is not None:
            shares.append(self.spent_s / (60 * self._minutes))
        return min(max(shares), 1.0)

    def seconds_left(self, steps_done: int) -> float | None:
        """Until the end at the pace so far; None before anything is done."""
        share = self.share_done(steps_done)
        return self.spent_s * (1 - share) / share if share > 0 else None
