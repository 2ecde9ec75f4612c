"""Trains classifiers into run folders."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from sdcore.progress import Interrupted, deferred_interrupts, print_note
from sdcore.torch_runtime import choose_device

from .assemble import TrainingData
from .config import TrainConfig, require_whole_parts
from .errors import SettingsError
from .event_log import EventLog, open_event_log, require_tensorboard
from .fit import EpochResult, fit
from .group import Group, refuse_other_command
from .history import HISTORY_NAME, EpochRecord, History, write_history
from .loader import MEAN, STD
from .near import NEAR_NAME, write_near_sheet
from .resume import Progress, save_progress
from .run_folder import (
    CURVES_NAME,
    EXAMPLES_NAME,
    clear_parts,
    clear_run,
    describe_environment,
    read_config,
    refuse_other_machine,
    write_facts,
)
from .run_names import BEST_NAME, LAST_NAME, RESUME_NAME
from .run_plots import draw_curves, draw_examples
from .sampling import steps_in_epoch
from .start import with_weights_hash
from .stopping import Watch
from .torchrun import joined
from .train_jobs import Job, jobs_of, prepare
from .train_result import TrainResult, make_result
from .training_pictures import TrainingPictures, read_pictures
from .tuning import tune
from .weights import Checkpoint, save_checkpoint


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

    Started by torchrun, all its processes train each run together: every one of them has to make this call, the
    first one writes, and all return the same.

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
        SettingsError: the run folder holds another run, seeds repeat, or the loss is no longer a number.
        CheckpointError: the weights to start from, or the state to go on from, cannot be used.
        MissingExtra: `tensorboard` without the package.
        Interrupted: Ctrl-C; the epochs that were done are saved.
        RankFailed: one of several processes could not go on; SaidElsewhere in the others.
    """
    wanted = [config.seed] if seeds is None else list(seeds)
    if not wanted or len(set(wanted)) != len(wanted):
        raise SettingsError(f"seed: found {wanted}; expected one or more, each once")
    if tensorboard:
        require_tensorboard()
    with joined(config.device) as group:
        choose_device(config.device)
        refuse_other_command(
            group, {"DATA": str(data), "RUN": str(run), "seeds": wanted, **config.model_dump(mode="json")}
        )
        group.first_does(lambda: _refuse_for_processes(config, group))
        progress = progress and group.first
        sources, config, found = group.first_does(
            lambda: prepare(
                data,
                run,
                with_weights_hash(config),
                wanted,
                overwrite=overwrite,
                generated=generated,
                control_for=control_for,
                uncurated=uncurated,
                strict=strict,
                progress=progress,
            )
        )
        config = with_weights_hash(config)  # on another machine it may be another file
        pictures: TrainingPictures | None = None
        results = []
        for job, there in zip(jobs_of(run, config, wanted), found, strict=True):
            if isinstance(there, TrainResult):
                results.append(there)
                continue
            pictures = pictures or read_pictures(sources, config, cache_gb=cache_gb, progress=progress, group=group)
            results.append(_train_one(job, there, sources, pictures, group, progress=progress, tensorboard=tensorboard))
        return results


def _refuse_for_processes(config: TrainConfig, group: Group) -> None:
    """Refuse what several processes cannot do together, or one cannot do alone.

    Raises:
        SettingsError: a step's images do not divide, or batch statistics cannot be had over the processes.
    """
    if config.sync_bn and (group.count == 1 or choose_device(config.device).type != "cuda"):
        found = "one process" if group.count == 1 else "the CPU"
        raise SettingsError(f"sync_bn: found {found}; it is for several processes on CUDA, leave it out")
    if config.batch_size != "auto":
        try:
            require_whole_parts(config.batch_size, config.accumulate, group.count)
        except ValueError as error:
            raise SettingsError(str(error)) from error


def _train_one(
    job: Job,
    before: Progress | None,
    sources: TrainingData,
    pictures: TrainingPictures,
    group: Group,
    *,
    progress: bool,
    tensorboard: bool,
) -> TrainResult:
    run, n_classes = job.run, len(sources.classes)
    if before is None:
        n_images, parts = job.config.images_per_epoch or len(sources.train), job.config.accumulate * group.count
        group.first_does(lambda: steps_in_epoch(n_images, parts, parts=parts))  # refuses too few
        config = tune(job.config, n_images=n_images, n_classes=n_classes, progress=progress, group=group)
        group.first_does(lambda: _begin(run, config, sources, pictures, processes=group.count))
    else:
        config = group.first_does(lambda: _go_on(job, pictures, processes=group.count))
        print_note(f"{run}: goes on after epoch {len(before.epochs)} of {config.epochs}", progress)
    records = list(before.epochs) if before else []
    watch = Watch(config, records, n_classes=n_classes, announce=progress)
    reason = watch.reason
    with ExitStack() as stack:
        asked_to_stop = stack.enter_context(deferred_interrupts(several=group.count > 1, announces=group.first))
        log = stack.enter_context(open_event_log(run, wanted=tensorboard and group.first, epochs_done=len(records)))
        results = fit(
            pictures.train,
            pictures.val,
            sources.classes,
            config,
            progress=progress,
            resume_from=before.session if before else None,
            epochs_done=len(records),
            asked_to_stop=asked_to_stop,
            group=group,
        )
        stack.enter_context(closing(results))
        while reason is None and (result := next(results, None)) is not None:
            records.append(result.record)
            # Written, judged and, where it ends early, decided once.
            reason = group.first_does(partial(_take, run, result, records, config, sources.classes, log, watch))
        if reason is None and len(records) < config.epochs:
            raise interrupted(run, len(records))
    return group.first_does(lambda: _finish(job, config, records, watch, before))


def interrupted(run: Path, epochs_done: int) -> Interrupted:
    """What a training raises where Ctrl-C stopped it: says what is saved and how to go on."""
    if not epochs_done:
        return Interrupted(f"stopped before the first epoch of {run} was finished; the same command starts it again")
    kept = f"epoch 1 is saved in {run}" if epochs_done == 1 else f"epochs 1 to {epochs_done} are saved in {run}"
    return Interrupted(f"stopped; {kept}, and the same command goes on after that")


def _begin(
    run: Path, config: TrainConfig, sources: TrainingData, pictures: TrainingPictures, *, processes: int
) -> None:
    """Replace what lies in the run folder by what is known before the first epoch."""
    environment = describe_environment(config, pictures=pictures.where, processes=processes)
    clear_run(run)
    write_facts(run, config, sources.summary, environment)
    if sources.near:
        held_out = len(sources.dataset.val) + len(sources.dataset.test)
        write_near_sheet(run / NEAR_NAME, sources.dataset.root, sources.near, pictures=held_out)
    draw_examples(run / EXAMPLES_NAME, pictures.train, config, parts=config.accumulate * processes)


def _go_on(job: Job, pictures: TrainingPictures, *, processes: int) -> TrainConfig:
    """The settings of an interrupted run."""
    clear_parts(job.run)
    # The same weights may have moved.
    config = read_config(job.run).model_copy(update={"weights": job.config.weights})
    refuse_other_machine(job.run, describe_environment(config, pictures=pictures.where, processes=processes))
    return config


def _take(
    run: Path,
    result: EpochResult,
    records: Sequence[EpochRecord],
    config: TrainConfig,
    classes: tuple[str, ...],
    log: EventLog,
    watch: Watch,
) -> str | None:
    """Put an epoch on disk; why the training ends with it, if it does so early."""
    _save_epoch(run, result, records, config, classes)
    log.add(result.record)
    watch.look(records)
    return watch.reason


def _finish(
    job: Job, config: TrainConfig, records: Sequence[EpochRecord], watch: Watch, before: Progress | None
) -> TrainResult:
    write_history(job.run / HISTORY_NAME, records)
    draw_curves(job.run / CURVES_NAME, records, monitor=config.monitor)
    # Last: while it is there, the run counts as interrupted.
    (job.run / RESUME_NAME).unlink()
    return make_result(job.run, job.config, records, watch, resumed_after=len(before.epochs) if before else 0)


def _save_epoch(
    run: Path, result: EpochResult, records: Sequence[EpochRecord], config: TrainConfig, classes: tuple[str, ...]
) -> None:
    """Put an epoch, the last of `records`, on disk; broken off anywhere, it is trained again and written over."""
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
    if History(tuple(records)).best_by(config.monitor) is result.record:
        save_checkpoint(run / BEST_NAME, checkpoint)
    save_checkpoint(run / LAST_NAME, checkpoint)
    save_progress(run / RESUME_NAME, records, result.resume())
    # After the state to go on from: a history without one would pass for a finished run.
    write_history(run / HISTORY_NAME, records)
