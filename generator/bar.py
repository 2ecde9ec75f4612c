"""The bar of a training: how much of it is done, how fast, how well, and how long it still takes."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from tqdm import tqdm

_FORMAT = "{percentage:3.0f}%|{bar}| {postfix}"


class TrainingBar:
    """Drawn on stderr, by share of the whole, for a training may end by the clock.

    Args:
        shown: False draws nothing.
    """

    def __init__(self, *, shown: bool) -> None:
        self._bar: tqdm[Any] = tqdm(total=1.0, bar_format=_FORMAT, disable=not shown, file=sys.stderr)

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def show(
        self,
        *,
        share: float,
        step: int,
        images_per_s: float,
        train_loss: float,
        val_loss: float | None,
        left_s: float | None,
    ) -> None:
        """Draw it anew.

        Args:
            share: 0 to 1.
            step: steps done.
            images_per_s: the pace.
            train_loss: mean of late.
            val_loss: the last one, None before the first.
            left_s: seconds until the end.
        """
        validated = "" if val_loss is None else f", val {val_loss:.3f}"
        left = "" if left_s is None else f", {describe_duration(left_s)} left"
        self._bar.set_postfix_str(
            f"step {step}, {images_per_s:.0f} images/s, loss {train_loss:.3f}{validated}{left}", refresh=False
        )
        self._bar.update(max(share - self._bar.n, 0.0))


def describe_duration(duration_s: float) -> str:
    """Like "1:02:03" or "4:05"."""
    hours, rest = divmod(round(duration_s), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
