"""Trains classifiers into run folders."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from . import __version__
from ._atomic import write_bytes_atomically
from .assemble import TrainingData, assemble
from .config import TrainConfig
from .device import choose_device
from .errors import ConfigError
from .fit import Pictures, fit
from .history import HISTORY_NAME, EpochRecord, rank_of, read_history, write_history
from .loader import MEAN, STD, decode_all
from .weights import BEST_NAME, LAST_NAME, Checkpoint, save_checkpoint

CONFIG_NAME = "config.json"
DATA_NAME = "data.json"
ENVIRONMENT_NAME = "environment.json"

_RUN_FILES = (CONFIG_NAME, DATA_NAME, ENVIRONMENT_NAME, HISTORY_NAME, BEST_NAME, LAST_NAME)
_PACKAGES = ("torch", "torchvision", "yolov5", "numpy", "pillow")


@dataclass(frozen=True)
class TrainResult:
    """A finished run."""

    run: Path
    seed: int
    best: EpochRecord
    """The epoch whose weights are `best.pt`."""
    epochs: int
    images_per_s: float
    """Median over the epochs, training alone."""
    was_there: bool
    """The run had been trained before, of the same config and data, and was left as it is."""


def train(
    data: Path,
    run: Path,
    config: TrainConfig,
    *,
    seeds: Sequence[int] | None = None,
    generated: Sequence[Path] = (),
    control_for: Sequence[Path] = (),
    overwrite: bool = False,
    progress: bool = True,
) -> list[TrainResult]:
    """Train on a DATA folder, once a seed.

    With one seed `run` is the run itself; with several each is `run/seed-<seed>`. A finished run of the same
    config and data is left as it is; one that was interrupted is trained anew.

    Args:
        data: folder with `train/`, `val/` and perhaps `test/`.
        run: where to write.
        config: its `seed` is used when `seeds` is None.
        seeds: one or more, no two alike.
        generated: output folders whose images join training.
        control_for: output folders whose sources join training once more per generated image.
        overwrite: replace a finished run of another config or data.
        progress: show bars on stderr.

    Raises:
        DataError: the data cannot be used (with its branches LeakageError and GeneratedSetError).
        ConfigError: the run folder holds another run, seeds repeat, or the loss is no longer a number.
        CheckpointError: the weights to start from cannot be used.
    """
    wanted = [config.seed] if seeds is None else list(seeds)
    if not wanted or len(set(wanted)) != len(wanted):
        raise ConfigError(f"seed: found {wanted}; expected one or more, each once")
    choose_device(config.device)
    _refuse_mixed_layout(run, several=len(wanted) > 1)
    sources = assemble(data, generated=generated, control_for=control_for, progress=progress)
    jobs = [
        _Job(run if len(wanted) == 1 else run / f"seed-{seed}", config.model_copy(update={"seed": seed}))
        for seed in wanted
    ]
    done = {job.run: _finished(job, sources.summary, overwrite=overwrite) for job in jobs}
    if all(done.values()):
        return [result for result in done.values() if result is not None]
    pictures = _decode(sources, config.imgsz, progress)
    return [done[job.run] or _train_one(job, sources, *pictures, progress=progress) for job in jobs]


@dataclass(frozen=True)
class _Job:
    run: Path
    config: TrainConfig


def _train_one(
    job: _Job, sources: TrainingData, train_pictures: Pictures, val_pictures: Pictures, *, progress: bool
) -> TrainResult:
    # Whatever an interrupted or replaced training left, a half-written file included.
    for path in [*(job.run / name for name in _RUN_FILES), *job.run.glob(".*.part")]:
        path.unlink(missing_ok=True)
    _write_json(job.run / CONFIG_NAME, job.config.model_dump(mode="json"))
    _write_json(job.run / DATA_NAME, sources.summary)
    _write_json(job.run / ENVIRONMENT_NAME, describe_environment(job.config))
    records: list[EpochRecord] = []
    best: EpochRecord | None = None
    for result in fit(train_pictures, val_pictures, sources.classes, job.config, progress=progress):
        checkpoint = Checkpoint(
            model=job.config.model,
            classes=sources.classes,
            imgsz=job.config.imgsz,
            mean=MEAN,
            std=STD,
            epoch=result.record.epoch,
            val_macro_f1=result.record.val_macro_f1,
            state=result.state,
        )
        if best is None or rank_of(result.record) > rank_of(best):
            best = result.record
            save_checkpoint(job.run / BEST_NAME, checkpoint)
        save_checkpoint(job.run / LAST_NAME, checkpoint)
        records.append(result.record)
        # Last, so that a history of all epochs says that the weights are in place.
        write_history(job.run / HISTORY_NAME, records)
    return _result(job, records, was_there=False)


def _result(job: _Job, records: Sequence[EpochRecord], *, was_there: bool) -> TrainResult:
    rates = sorted(record.images_per_s for record in records)
    return TrainResult(
        run=job.run,
        seed=job.config.seed,
        best=max(records, key=rank_of),
        epochs=len(records),
        images_per_s=rates[len(rates) // 2],
        was_there=was_there,
    )


def _finished(job: _Job, summary: dict[str, Any], *, overwrite: bool) -> TrainResult | None:
    """The run that is there already, when it is whole and the same; None when there is (or may be) work to do."""
    if not (job.run / HISTORY_NAME).is_file() or not (job.run / BEST_NAME).is_file():
        return None
    records = read_history(job.run).epochs
    config, data = _read_json(job.run / CONFIG_NAME), _read_json(job.run / DATA_NAME)
    if len(records) < int(config.get("epochs", 0)) or not records:
        return None
    wanted = job.config.model_dump(mode="json")
    changed = sorted(name for name in wanted if config.get(name) != wanted[name])
    if not changed and data.get("fingerprint") == summary["fingerprint"]:
        return _result(job, records, was_there=True)
    if overwrite:
        return None
    what = f"{changed[0]} {config.get(changed[0])!r}, asked for {wanted[changed[0]]!r}" if changed else "other images"
    raise ConfigError(
        f"{job.run}: holds a finished run with {what}; choose another -o, or add --overwrite to replace it"
    )


def _refuse_mixed_layout(run: Path, *, several: bool) -> None:
    if run.exists() and not run.is_dir():
        raise ConfigError(f"{run}: a file; expected a folder to write the run into, choose another -o")
    if several and (run / CONFIG_NAME).is_file():
        raise ConfigError(f"{run}: is a run itself, so runs of several seeds cannot go into it; choose another -o")
    if not several and any(run.glob(f"seed-*/{CONFIG_NAME}")):
        raise ConfigError(f"{run}: holds runs of several seeds, so it cannot become one itself; choose another -o")


def _decode(sources: TrainingData, imgsz: int, progress: bool) -> tuple[Pictures, Pictures]:
    index = {name: k for k, name in enumerate(sources.classes)}

    def read(entries: Sequence[tuple[Path, str]], words: str) -> Pictures:
        place = {path: k for k, path in enumerate(dict.fromkeys(path for path, _ in entries))}
        return Pictures(
            images=decode_all(list(place), imgsz, progress=progress, words=words),
            places=torch.tensor([place[path] for path, _ in entries]),
            labels=torch.tensor([index[label] for _, label in entries]),
        )

    return (
        read([(image.path, image.label) for image in sources.train], "read training"),
        read([(image.path, image.label) for image in sources.val], "read validation"),
    )


def describe_environment(config: TrainConfig) -> dict[str, Any]:
    """Versions and processor that a run was made with; goes into `environment.json`."""
    device = choose_device(config.device)
    return {
        "sd-defects": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        **{name: _version_or_none(name) for name in _PACKAGES},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": config.threads,
    }


def _version_or_none(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_bytes_atomically(path, (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
