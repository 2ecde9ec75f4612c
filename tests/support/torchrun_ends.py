"""`trainer train` in two processes of which something happens to one; test_together_ends.py says what is to come of it.

python -m torch.distributed.run --nproc-per-node 2 tests/support/torchrun_ends.py WHAT FOLDER [OPTIONS]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from sdcore.errors import DataError
from trainer.cli import cli
from trainer.models import yolov5
from trainer.training.session import TrainingSession

RANK = int(os.environ["RANK"])
STEPS_BEFORE = 8
"""Of three an epoch."""


class Small(nn.Module):
    """Stands for a classifier, so that yolov5 need not be loaded."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.model = nn.Sequential(*layers, nn.Linear(8, n_classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(images)
        return logits


def happen(what: str) -> None:
    """What befalls a process in the third epoch."""
    if what == "stop" and RANK == 0:
        os.kill(os.getppid(), signal.SIGTERM)  # torchrun, which passes it on to all
    elif what == "die" and RANK == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "fail" and RANK == 1:
        raise DataError("this picture cannot be had here")


def main(what: str, folder: Path) -> None:
    """Train; the exit code goes into a file, since torchrun tells of one process alone."""
    real, steps = TrainingSession.step, []

    def step(self: TrainingSession, batch: torch.Tensor) -> torch.Tensor:
        steps.append(batch)
        if len(steps) == STEPS_BEFORE:
            happen(what)
        return real(self, batch)

    TrainingSession.step = step  # type: ignore[method-assign]
    yolov5.build_classifier = lambda model, n_classes: Small(n_classes)  # type: ignore[assignment]
    options = (
        f"--imgsz 32 --batch-size 8 --images-per-epoch 18 --device cpu --epochs {100_000 if what == 'stop' else 4}"
    )
    code: object = None
    try:
        cli(["train", str(folder / "data"), "-o", str(folder / "run"), *options.split()], prog_name="trainer")
    except SystemExit as end:
        code = end.code
        raise
    finally:
        (folder / f"exit-{RANK}").write_text(str(code), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
