"""The training loop: images in memory -> one record and one set of weights per epoch. It writes no files."""

import math
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from tqdm import tqdm

from sdcore.torch_runtime import choose_device, isolated_rng, torch_threads

from ..config import TrainConfig
from ..errors import SettingsError
from ..evaluation.history import EpochRecord
from ..tasks import Task, TrainingImages, ValidationScore
from .distributed import ALONE, ProcessGroup
from .run_folder import ResumeState
from .session import TrainingSession

_READ_LOSS_EVERY = 8
"""Steps between two readings of the loss: each makes the CPU wait for the GPU, and the processes for each other."""


@dataclass(frozen=True, eq=False)
class EpochResult:
    """The measurements and weights of an epoch."""

    record: EpochRecord
    state: dict[str, torch.Tensor]
    """State dict of the averaged weights, on the CPU."""
    resume: Callable[[], dict[str, Any]]
    """Gives the session state to resume from; call it before the next epoch starts."""


def run_epochs(
    train: TrainingImages,
    val: TrainingImages,
    task: Task,
    config: TrainConfig,
    *,
    progress: bool,
    resume_from: ResumeState | None = None,
    asked_to_stop: Callable[[], bool] = lambda: False,
    group: ProcessGroup = ALONE,
) -> Generator[EpochResult, None, None]:
    """Train a network, yielding after each epoch.

    AdamW with a linear warm-up and a decay per step; the validated and yielded weights are an exponential moving
    average. On a CPU the same config, images and versions give the same bits.

    `asked_to_stop` is called after each step; when true the loop ends in the middle of the epoch. Several processes
    share the images of each step and of the validation, and yield the same results except times; it is enough that one
    of them is asked to stop. `config` has a batch size that is a number; `resume_from` None starts a new training.

    Raises:
        SettingsError: the loss is no longer finite, or the device is not available.
        CheckpointError: `config.weights` cannot be used.
    """
    device = choose_device(config.device)
    with torch_threads(config.threads), isolated_rng(device), _kernels(device, deterministic=config.deterministic):
        torch.manual_seed(config.seed)
        session = TrainingSession(train, task, config, device, group)
        if resume_from is not None:
            session.restore(resume_from.session)
        elif session.started_from and progress:
            tqdm.write(session.started_from, file=sys.stderr)
        epochs_done = len(resume_from.epochs) if resume_from is not None else 0
        for epoch in range(epochs_done + 1, config.epochs + 1):
            begin = time.perf_counter()
            train_loss, seen, stopped = _train_epoch(session, epoch, config, progress, asked_to_stop, group)
            if stopped:
                return
            trained = time.perf_counter()
            measured = _validate(session, val, task, config, device, group)
            yield EpochResult(
                EpochRecord(
                    epoch=epoch,
                    train_loss=train_loss,
                    val_loss=measured.loss,
                    val_accuracy=measured.accuracy,
                    val_macro_f1=measured.macro_f1,
                    lr=session.lr,
                    images_per_s=seen / (trained - begin),
                    seconds=time.perf_counter() - begin,
                    val_miss_rate=measured.miss_rate,
                    val_overkill_rate=measured.overkill_rate,
                ),
                {name: tensor.detach().cpu().clone() for name, tensor in session.average.network.state_dict().items()},
                session.state,
            )


def _validate(
    session: TrainingSession,
    val: TrainingImages,
    task: Task,
    config: TrainConfig,
    device: torch.device,
    group: ProcessGroup,
) -> ValidationScore:
    """The score over all validation images; the processes share the work."""
    own = group.share_of(len(val.image_index))
    at_once = max(2, 2 * config.images_a_step // (config.accumulate * group.count))
    rows = task.prediction_rows(session.average.network, val.part(own), device, at_once)
    return task.validation_score(group.gather(rows, len(val.image_index)), val)


def _train_epoch(
    session: TrainingSession,
    epoch: int,
    config: TrainConfig,
    progress: bool,
    asked_to_stop: Callable[[], bool],
    group: ProcessGroup,
) -> tuple[float, int, bool]:
    """Mean loss of the epoch's images, their number, and whether the epoch was interrupted."""
    batches = session.start_epoch()
    # On a CPU a step takes much longer than an exchange between processes, so they may exchange after each step and
    # stop at once.
    every = 1 if group.count > 1 and choose_device(config.device).type == "cpu" else _READ_LOSS_EVERY
    total, seen = 0.0, 0
    waiting: list[tuple[torch.Tensor, int]] = []
    title = f"epoch {epoch}/{config.epochs}"
    bar: tqdm[NoReturn] = tqdm(total=sum(map(len, batches)), desc=title, unit="image", disable=not progress)
    with bar:
        for number, batch in enumerate(batches, start=1):
            waiting.append((session.step(batch), len(batch)))
            if group.count == 1 and asked_to_stop():
                return total / max(1, seen), seen, True
            if number % every and number != len(batches):
                continue
            values, stopped = _agree(torch.stack([loss for loss, _ in waiting]), asked_to_stop, group)
            for value, (_, count) in zip(values, waiting, strict=True):
                if not math.isfinite(value):
                    raise SettingsError(
                        f"lr: the loss became {value} in epoch {epoch} with lr {config.lr}; try --lr {config.lr / 10:g}"
                    )
                total, seen = total + value * count, seen + count
            if stopped:
                return total / seen, seen, True
            bar.update(sum(count for _, count in waiting))
            bar.set_postfix(loss=f"{total / seen:.3f}", refresh=False)
            waiting.clear()
    return total / seen, seen, False


def _agree(losses: torch.Tensor, asked_to_stop: Callable[[], bool], group: ProcessGroup) -> tuple[list[float], bool]:
    """The losses over all processes, and whether any process was asked to stop; all then end after the same step."""
    if group.count == 1:
        return losses.tolist(), False
    own = torch.cat([losses.detach().cpu().double(), torch.tensor([float(asked_to_stop())])])
    *values, stops = group.sum(own).tolist()
    return values, stops > 0


@contextmanager
def _kernels(device: torch.device, *, deterministic: bool) -> Iterator[None]:
    """Choose deterministic or the fastest kernels, and restore torch's settings at the end.

    A CPU with a fixed number of threads gives the same bits anyway. On CUDA, torch warns about an operation that has
    no deterministic kernel.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS sums in one order only with this
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=not deterministic, deterministic=deterministic):
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        if workspace is None:
            del os.environ["CUBLAS_WORKSPACE_CONFIG"]
