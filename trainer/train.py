"""Trains classifiers into run folders."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from .assemble import TrainingData, assemble
from .config import TrainConfig
from .device import choose_device
from .errors import CheckpointError, ConfigError
from .event_log import open_event_log, require_tensorboard
from .fit import EpochResult, fit
from .history import HISTORY_NAME, EpochRecord, History, write_history
from .interrupt import Interrupted, deferred_interrupts
from .loader import MEAN, STD
from .near import NEAR_NAME, write_near_sheet
from .resume import Progress, load_progress, save_progress
from .run_folder import (
    CONFIG_NAME,
    CURVES_NAME,
    EXAMPLES_NAME,
    clear_parts,
    clear_run,
    describe_environment,
    finished_epochs,
    read_config,
    refuse_mixed_layout,
    refuse_other_machine,
    what_changed,
    write_facts,
)
from .run_names import BEST_NAME, LAST_NAME, RESUME_NAME
from .run_plots import draw_curves, draw_examples
from .session import refuse_unusable_weights
from .stopping import Watch
from .training_pictures import TrainingPictures, read_pictures
from .tuning import tune
from .weights import Checkpoint, find_checkpoint, save_checkpoint


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
    resumed_after: int = 0
    """Epochs that an interrupted training had done before this one went on."""
    stopped: str = ""
    """Why it ended before its last epoch, in words; "" when it did not."""
    diagnosis: str = ""
    """What its loss curves say, in one sentence."""


def train(
    data: Path,
    run: Path,
    config: TrainConfig,
    *,
    seeds: Sequence[int] | None = None,
    generated: Sequence[Path] = (),
    control_for: Sequence[Path] = (),
    uncurated: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    cache_gb: float | None = None,
    tensorboard: bool = False,
) -> list[TrainResult]:
    """Train on a DATA folder, once a seed.

    With one seed `run` is the run itself; with several each is `run/seed-<seed>`. A finished run of the same
    config and data is left as it is; one that was interrupted goes on after its last whole epoch, and ends with
    the bits that an unbroken one has on a CPU.

    Args:
        data: folder with `train/`, `val/` and perhaps `test/`.
        run: where to write.
        config: its `seed` is used when `seeds` is None.
        seeds: one or more, no two alike.
        generated: output folders whose images join training; the accepted ones, once they have been curated.
        control_for: output folders whose sources join training once more per generated image, likewise.
        uncurated: take every image of these folders, accepted or not.
        strict: refuse look-alikes and single-coloured pictures across train, val and test, which are otherwise said;
            `run/near_duplicates.html` then shows the look-alikes, unless the folder holds a run.
        overwrite: replace a run of another config or data, and start an interrupted one anew.
        progress: show bars on stderr, and a line of diagnosis when it changes.
        cache_gb: most memory in GB for decoded pictures, the rest goes into a file; None: half of what is free.
        tensorboard: write `run/tensorboard/` too.

    Raises:
        DataError: the data cannot be used (with its branches LeakageError and GeneratedSetError).
        ConfigError: the run folder holds another run, seeds repeat, or the loss is no longer a number.
        CheckpointError: the weights to start from, or the state to go on from, cannot be used.
        MissingExtra: `tensorboard` without the package.
        Interrupted: Ctrl-C; the epochs that were done are saved.
    """
    wanted = [config.seed] if seeds is None else list(seeds)
    if not wanted or len(set(wanted)) != len(wanted):
        raise ConfigError(f"seed: found {wanted}; expected one or more, each once")
    choose_device(config.device)
    if tensorboard:
        require_tensorboard()
    refuse_mixed_layout(run, several=len(wanted) > 1)
    config = _with_weights_hash(config)
    sources = assemble(
        data,
        generated=generated,
        control_for=control_for,
        uncurated=uncurated,
        strict=strict,
        near_sheet=run / NEAR_NAME if strict and not (run / CONFIG_NAME).exists() else None,
        progress=progress,
    )
    for words in sources.notes:
        _say(words, progress)
    for words in sources.warnings:
        _say(f"warning: {data}: {words}", progress)
    jobs = [
        _Job(run if len(wanted) == 1 else run / f"seed-{seed}", config.model_copy(update={"seed": seed}))
        for seed in wanted
    ]
    found = [_look_up(job, sources, overwrite=overwrite) for job in jobs]
    if not all(isinstance(there, TrainResult) for there in found):
        refuse_unusable_weights(sources.classes, config)
    pictures: TrainingPictures | None = None
    results = []
    for job, there in zip(jobs, found, strict=True):
        if isinstance(there, TrainResult):
            results.append(there)
            continue
        pictures = pictures or read_pictures(sources, config, cache_gb=cache_gb, progress=progress)
        results.append(_train_one(job, there, sources, pictures, progress=progress, tensorboard=tensorboard))
    return results


def read_result(run: Path, config: TrainConfig, *, n_classes: int) -> TrainResult:
    """What a finished run achieved, from its own record.

    Args:
        run: a finished run.
        config: what it was trained with.
        n_classes: that it tells apart.
    """
    epochs = finished_epochs(run)
    watch = Watch(config, epochs, n_classes=n_classes, announce=False)
    return _result(_Job(run, config), epochs, watch, was_there=True)


@dataclass(frozen=True)
class _Job:
    run: Path
    config: TrainConfig


def _look_up(job: _Job, sources: TrainingData, *, overwrite: bool) -> TrainResult | Progress | None:
    """What is there already of a run: all of it, some epochs, or (None) nothing that is wanted."""
    epochs = finished_epochs(job.run)
    broken_off = (job.run / RESUME_NAME).is_file()
    if not epochs and not broken_off:
        return None
    changed = what_changed(job.run, job.config, sources.summary["fingerprint"])
    if changed is None and epochs:
        return read_result(job.run, job.config, n_classes=len(sources.classes))
    if overwrite:
        return None
    if changed is None:
        return load_progress(job.run / RESUME_NAME)
    if epochs:
        raise ConfigError(
            f"{job.run}: holds a finished run with {changed}; choose another -o, or add --overwrite to replace it"
        )
    raise ConfigError(
        f"{job.run}: holds an interrupted run with {changed}, and going on would mix the two; give what it was "
        "started with, choose another -o, or add --overwrite to start anew"
    )


def _train_one(
    job: _Job,
    before: Progress | None,
    sources: TrainingData,
    pictures: TrainingPictures,
    *,
    progress: bool,
    tensorboard: bool,
) -> TrainResult:
    run, n_classes = job.run, len(sources.classes)
    if before is None:
        n_images = job.config.images_per_epoch or len(sources.train)
        config = tune(job.config, n_images=n_images, n_classes=n_classes, progress=progress)
        environment = describe_environment(config, pictures=pictures.where)
        clear_run(run)
        write_facts(run, config, sources.summary, environment)
        if sources.near:
            held_out = len(sources.dataset.val) + len(sources.dataset.test)
            write_near_sheet(run / NEAR_NAME, sources.dataset.root, sources.near, pictures=held_out)
        draw_examples(run / EXAMPLES_NAME, pictures.train, config)
    else:
        clear_parts(run)
        # The same weights may have moved.
        config = read_config(run).model_copy(update={"weights": job.config.weights})
        refuse_other_machine(run, describe_environment(config, pictures=pictures.where))
        _say(f"{run}: goes on after epoch {len(before.epochs)} of {config.epochs}", progress)
    records = list(before.epochs) if before else []
    watch = Watch(config, records, n_classes=n_classes, announce=progress)
    with ExitStack() as stack:
        asked_to_stop = stack.enter_context(deferred_interrupts())
        log = stack.enter_context(open_event_log(run, wanted=tensorboard, epochs_done=len(records)))
        results = fit(
            pictures.train,
            pictures.val,
            sources.classes,
            config,
            progress=progress,
            resume_from=before.session if before else None,
            epochs_done=len(records),
            asked_to_stop=asked_to_stop,
        )
        stack.enter_context(closing(results))
        while watch.reason is None and (result := next(results, None)) is not None:
            _save_epoch(run, result, records, config, sources.classes)
            log.add(result.record)
            watch.look(records)
        if watch.reason is None and len(records) < config.epochs:
            raise Interrupted(run, len(records))
    write_history(run / HISTORY_NAME, records)
    draw_curves(run / CURVES_NAME, records, monitor=config.monitor)
    # Last: while it is there, the run counts as interrupted.
    (run / RESUME_NAME).unlink()
    return _result(job, records, watch, resumed_after=len(before.epochs) if before else 0)


def _save_epoch(
    run: Path, result: EpochResult, records: list[EpochRecord], config: TrainConfig, classes: tuple[str, ...]
) -> None:
    """Put an epoch on disk and into `records`; broken off anywhere, the epoch is trained again and written over."""
    checkpoint = Checkpoint(
        model=config.model,
        classes=classes,
        imgsz=config.imgsz,
        mean=MEAN,
        std=STD,
        epoch=result.record.epoch,
        val_macro_f1=result.record.val_macro_f1,
        state=result.state,
    )
    records.append(result.record)
    if History(tuple(records)).best_by(config.monitor) is result.record:
        save_checkpoint(run / BEST_NAME, checkpoint)
    save_checkpoint(run / LAST_NAME, checkpoint)
    save_progress(run / RESUME_NAME, records, result.resume())
    # After the state to go on from: a history without one would pass for a finished run.
    write_history(run / HISTORY_NAME, records)


def _result(
    job: _Job, records: Sequence[EpochRecord], watch: Watch, *, was_there: bool = False, resumed_after: int = 0
) -> TrainResult:
    rates = sorted(record.images_per_s for record in records)
    return TrainResult(
        run=job.run,
        seed=job.config.seed,
        best=History(tuple(records)).best_by(job.config.monitor),
        epochs=len(records),
        images_per_s=rates[len(rates) // 2],
        was_there=was_there,
        resumed_after=resumed_after,
        stopped=watch.reason or "",
        diagnosis=watch.line,
    )


def _with_weights_hash(config: TrainConfig) -> TrainConfig:
    """The config with the hash of its starting weights, by which a run knows them again."""
    if config.weights is None:
        return config
    file = find_checkpoint(Path(config.weights))
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if config.weights_sha256 not in (None, found):
        raise CheckpointError(
            f"{file}: sha256 {found[:12]}..., expected {config.weights_sha256}; the file is another one than the "
            "settings were saved with"
        )
    return config.model_copy(update={"weights_sha256": found})


def _say(words: str, progress: bool) -> None:
    if progress:
        tqdm.write(words, file=sys.stderr)
