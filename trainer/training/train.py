"""`train`: checks the data, runs the epochs of each seed, and writes the run folder through `RunWriter`."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sdcore.progress import Interrupted, deferred_interrupts, print_note
from sdcore.torch_runtime import choose_device

from ..config import TrainConfig, TrainingJob, require_whole_parts
from ..data.check import write_look_alike_page
from ..data.training_set import TrainingData, build_training_set
from ..data.transforms import MEAN, STD
from ..errors import SettingsError
from ..evaluation.diagnosis import EarlyStopping
from ..evaluation.history import HISTORY_NAME, EpochRecord, History, write_history
from ..messages import text
from ..models.checkpoints import Checkpoint, save_checkpoint
from ..models.initial_weights import with_weights_hash
from ..run_files import BEST_NAME, CONFIG_NAME, LAST_NAME, NEAR_NAME, RESUME_NAME, read_config
from ..tasks.classification import Classification
from . import run_folder
from .distributed import ProcessGroup, join_process_group, refuse_other_command
from .image_cache import TrainingImageSets, load_images
from .loop import EpochResult, run_epochs
from .run_plots import EventLog, draw_curves, draw_examples, open_event_log, require_tensorboard
from .sampling import steps_in_epoch
from .tuning import tune_to_machine


def train(job: TrainingJob, *, progress: bool = True) -> list[run_folder.TrainResult]:
    """Train on a DATA folder, once per seed.

    With one seed `job.run` is the run itself; with several each is `job.run/seed-<seed>`. A finished run of the same
    config and data is kept. An interrupted run resumes after its last complete epoch; on a CPU it ends with the same
    bits as an uninterrupted one. With `progress`, bars and changes of the diagnosis are shown on stderr.

    All processes that torchrun starts train each run together: every process makes this call, the first one writes,
    and all return the same.

    Raises:
        DataError: the data cannot be used (with its branches LeakageError and GeneratedSetError).
        SettingsError: the run folder holds another run, seeds repeat, or the loss is no longer finite.
        CheckpointError: the weights to start from, or the state to resume from, cannot be used.
        MissingExtra: `job.tensorboard` without the package.
        Interrupted: Ctrl-C; finished epochs are saved.
        RankFailed: one of several processes failed; ReportedElsewhere in the others.
    """
    seeds = list(job.all_seeds)
    if not seeds or len(set(seeds)) != len(seeds):
        raise SettingsError(f"seed: found {seeds}; expected one or more, each once")
    if job.tensorboard:
        require_tensorboard()
    with join_process_group(job.config.device) as group:
        choose_device(job.config.device)
        refuse_other_command(
            group, {"DATA": str(job.data), "RUN": str(job.run), "seeds": seeds, **job.config.model_dump(mode="json")}
        )
        progress = progress and group.first
        prepared = prepare_runs(job, group, progress=progress)
        # Each process hashes its own file: on another machine the path may lead to other weights.
        job = replace(job, config=with_weights_hash(job.config))
        data, images = prepared.data, None
        results = []
        for one, existing in zip(job.by_seed(), prepared.existing, strict=True):
            if isinstance(existing, run_folder.TrainResult):
                results.append(existing)
                continue
            images = images or load_images(data, job.config, cache_gb=job.cache_gb, progress=progress, group=group)
            results.append(_train_one(RunWriter(one, data, images, group), existing, progress=progress))
        return results


def interrupted(run: Path, epochs_done: int) -> Interrupted:
    """The error of a training stopped by Ctrl-C: says what is saved and how to continue."""
    if not epochs_done:
        return Interrupted(f"stopped before the first epoch of {run} was finished; the same command starts it again")
    kept = f"epoch 1 is saved in {run}" if epochs_done == 1 else f"epochs 1 to {epochs_done} are saved in {run}"
    return Interrupted(f"stopped; {kept}, and the same command goes on after that")


class RunWriter:
    """Writes the folder of one run, from its first file to its result.

    Every process calls each method at the same point of the training. Only the first process reads and writes the
    folder; the others wait, and all get its result.
    """

    def __init__(self, job: TrainingJob, data: TrainingData, images: TrainingImageSets, group: ProcessGroup) -> None:
        self.job, self.data, self.images, self.group = job, data, images, group
        self.config = job.config
        """Settings of the run; after `begin` or `resume` without "auto"."""

    def begin(self, config: TrainConfig) -> None:
        """Clear the run folder and write the files of the start; `config` is tuned for this machine."""
        self.config = config
        self.group.on_first(self._begin)

    def resume(self) -> None:
        """Take the settings of an interrupted run.

        Raises:
            SettingsError: it was interrupted on a machine that gives other bits.
        """
        self.config = self.group.on_first(self._resume)

    def save_epoch(
        self, result: EpochResult, records: Sequence[EpochRecord], log: EventLog, early_stopping: EarlyStopping
    ) -> str | None:
        """Save an epoch, the last of `records`, and diagnose it, once for all processes.

        Returns:
            Why the training stops early after it, or None.
        """
        return self.group.on_first(partial(self._save_epoch, result, records, log, early_stopping))

    def finish(
        self, records: Sequence[EpochRecord], early_stopping: EarlyStopping, *, resumed_after: int
    ) -> run_folder.TrainResult:
        """Write the files of the end, after which the run counts as finished; `records` are all epochs."""
        return self.group.on_first(partial(self._finish, records, early_stopping, resumed_after))

    def _begin(self) -> None:
        run, config, data = self.job.run, self.config, self.data
        environment = self._environment(config)
        run_folder.clear_run(run)
        run_folder.write_facts(
            run, config, data.summary | {"warnings": [text(one) for one in data.warnings]}, environment
        )
        if data.near:
            held_out = len(data.dataset.val) + len(data.dataset.test)
            write_look_alike_page(run / NEAR_NAME, data.dataset.root, data.near, images=held_out)
        draw_examples(
            run / run_folder.EXAMPLES_NAME, self.images.train, config, parts=config.accumulate * self.group.count
        )

    def _resume(self) -> TrainConfig:
        run = self.job.run
        run_folder.clear_parts(run)
        # The same weights may have moved.
        config = read_config(run).model_copy(update={"weights": self.job.config.weights})
        run_folder.refuse_other_machine(run, self._environment(config))
        return config

    def _environment(self, config: TrainConfig) -> dict[str, object]:
        return run_folder.describe_environment(config, image_storage=self.images.storage, processes=self.group.count)

    def _save_epoch(
        self, result: EpochResult, records: Sequence[EpochRecord], log: EventLog, early_stopping: EarlyStopping
    ) -> str | None:
        """After a crash anywhere in here, the epoch is trained again and its files are overwritten."""
        run, config = self.job.run, self.config
        checkpoint = Checkpoint(
            model=config.model,
            classes=self.data.classes,
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
        run_folder.save_resume_state(run / RESUME_NAME, records, result.resume())
        # After the resume state: a history without one would count as a finished run.
        write_history(run / HISTORY_NAME, records)
        log.add(result.record)
        early_stopping.update(records)
        return early_stopping.reason

    def _finish(
        self, records: Sequence[EpochRecord], early_stopping: EarlyStopping, resumed_after: int
    ) -> run_folder.TrainResult:
        run = self.job.run
        write_history(run / HISTORY_NAME, records)
        draw_curves(run / run_folder.CURVES_NAME, records, monitor=self.config.monitor)
        # Last: while this file exists, the run counts as interrupted.
        (run / RESUME_NAME).unlink()
        return run_folder.make_result(run, self.job.config, records, early_stopping, resumed_after=resumed_after)


def _train_one(writer: RunWriter, before: run_folder.ResumeState | None, *, progress: bool) -> run_folder.TrainResult:
    job, data, images, group = writer.job, writer.data, writer.images, writer.group
    run = job.run
    records = list(before.epochs) if before else []
    resumed_after = len(records)
    if before is None:
        n_images = job.config.images_per_epoch or len(data.train)
        task = Classification(data.classes, job.config)
        writer.begin(tune_to_machine(job.config, task, n_images=n_images, progress=progress, group=group))
    else:
        writer.resume()
        print_note(f"{run}: goes on after epoch {resumed_after} of {writer.config.epochs}", progress)
    config = writer.config
    early_stopping = EarlyStopping(config, records, n_classes=len(data.classes), announce=progress)
    reason = early_stopping.reason
    with ExitStack() as stack:
        asked_to_stop = stack.enter_context(deferred_interrupts(several=group.count > 1, announces=group.first))
        log = stack.enter_context(
            open_event_log(run, wanted=job.tensorboard and group.first, epochs_done=resumed_after)
        )
        results = run_epochs(
            images.train,
            images.val,
            Classification(data.classes, config),
            config,
            progress=progress,
            resume_from=before,
            asked_to_stop=asked_to_stop,
            group=group,
        )
        stack.enter_context(closing(results))
        while reason is None and (result := next(results, None)) is not None:
            records.append(result.record)
            reason = writer.save_epoch(result, records, log, early_stopping)
        if reason is None and len(records) < config.epochs:
            raise interrupted(run, len(records))
    return writer.finish(records, early_stopping, resumed_after=resumed_after)


@dataclass(frozen=True)
class PreparedRuns:
    """The data to train on, and what exists of the runs."""

    data: TrainingData
    existing: tuple[run_folder.TrainResult | run_folder.ResumeState | None, ...]
    """Of each seed in order: a finished run, the state of an interrupted one, or None to start from the first epoch."""


def prepare_runs(job: TrainingJob, group: ProcessGroup, *, progress: bool) -> PreparedRuns:
    """Read and check everything before the first epoch; writes nothing but the page of look-alikes.

    Only the first process does it; the others wait for its result.

    Raises:
        DataError: the data cannot be used (with its branches LeakageError and GeneratedSetError).
        SettingsError: a run folder holds another run, or the settings do not fit the processes or the images.
        CheckpointError: the weights to start from, or the state to resume from, cannot be used.
        ReportedElsewhere: the first process raised an error; raised in all others.
    """
    return group.on_first(partial(_prepare, job, group, progress=progress))


def _prepare(job: TrainingJob, group: ProcessGroup, *, progress: bool) -> PreparedRuns:
    _refuse_for_processes(job, group)
    job = replace(job, config=with_weights_hash(job.config))
    run, runs = job.run, job.by_seed()
    run_folder.refuse_mixed_layout(run, several=len(runs) > 1)
    data = build_training_set(
        job, near_sheet=run / NEAR_NAME if job.strict and not (run / CONFIG_NAME).exists() else None, progress=progress
    )
    for words in data.notes:
        print_note(words, progress)
    for warning in data.warnings:
        print_note(f"warning: {job.data}: {text(warning)}", progress)
    existing = tuple(_look_up(one, data) for one in runs)
    if not all(isinstance(one, run_folder.TrainResult) for one in existing):
        Classification(data.classes, job.config).refuse_unusable_weights()
    if None in existing:
        parts = job.config.accumulate * group.count
        # Raises where there are too few images.
        steps_in_epoch(job.config.images_per_epoch or len(data.train), parts, parts=parts)
    return PreparedRuns(data, existing)


def _refuse_for_processes(job: TrainingJob, group: ProcessGroup) -> None:
    """Refuse settings that do not fit the number of processes."""
    config = job.config
    if config.sync_bn and (group.count == 1 or choose_device(config.device).type != "cuda"):
        found = "one process" if group.count == 1 else "the CPU"
        raise SettingsError(f"sync_bn: found {found}; it is for several processes on CUDA, leave it out")
    if config.batch_size != "auto":
        try:
            require_whole_parts(config.batch_size, config.accumulate, group.count)
        except ValueError as error:
            raise SettingsError(str(error)) from error


def _look_up(job: TrainingJob, data: TrainingData) -> run_folder.TrainResult | run_folder.ResumeState | None:
    """What exists of the run of one seed: its result, the state to resume from, or None to start anew."""
    epochs = run_folder.finished_epochs(job.run)
    is_interrupted = (job.run / RESUME_NAME).is_file()
    if not epochs and not is_interrupted:
        return None
    changed = run_folder.describe_change(job.run, job.config, data.summary["fingerprint"])
    if changed is None and epochs:
        return run_folder.read_result(job.run, job.config, n_classes=len(data.classes))
    if job.overwrite:
        return None
    if changed is None:
        return run_folder.load_resume_state(job.run / RESUME_NAME)
    if epochs:
        raise SettingsError(
            f"{job.run}: holds a finished run with {changed}; choose another -o, or add --overwrite to replace it"
        )
    raise SettingsError(
        f"{job.run}: holds an interrupted run with {changed}, and going on would mix the two; give what it was "
        "started with, choose another -o, or add --overwrite to start anew"
    )
