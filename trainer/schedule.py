"""The learning rate over a training; pure."""

from __future__ import annotations

import math

from .config import TrainConfig

LAST_LR_SHARE = 0.01
"""The rate ends at this share of its highest."""


def lr_share(step: int, steps_per_epoch: int, config: TrainConfig) -> float:
    """Share of the highest learning rate at a step, counted from 0: a line up, then the schedule down to 0.01.

    With x from 0 at the end of the warm-up to 1 at the last step, "cosine" is
    0.01 + 0.99 (1 + cos(pi x)) / 2 (Loshchilov and Hutter, SGDR, 2017) and "linear" is 1 - 0.99 x.
    """
    all_steps = config.epochs * steps_per_epoch
    # A short run warms up over a third of itself at most.
    warmup = min(round(config.warmup_epochs * steps_per_epoch), all_steps // 3)
    if step < warmup:
        return (step + 1) / warmup
    done = min((step - warmup) / max(1, all_steps - 1 - warmup), 1.0)
    left = (1 + math.cos(math.pi * done)) / 2 if config.schedule == "cosine" else 1 - done
    return LAST_LR_SHARE + (1 - LAST_LR_SHARE) * left
