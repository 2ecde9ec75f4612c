"""The decisions before the first cell starts, and the estimate of time and disk space."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sdcore.messages import Message, message
from sdcore.torch_runtime import choose_device, isolated_rng, torch_threads

from ..config import AugmentConfig, TrainConfig, TrainingJob
from ..data.provenance import GeneratedImage, GeneratedSet
from ..data.training_set import build_training_set
from ..errors import SettingsError
from ..models.initial_weights import with_weights_hash
from ..tasks import TrainingImages
from ..tasks.classification import Classification
from ..training.sampling import steps_in_epoch
from ..training.session import TrainingSession
from .config import ExperimentConfig
from .plan import Cell, Fold, PlannedArm, SetKey, images_of_arm, plan_arms, plan_cells, read_folds, read_sets
from .sets import stronger


@dataclass(frozen=True, eq=False)
class Prepared:
    """All decisions before the first cell starts."""

    config: ExperimentConfig
    arms: tuple[PlannedArm, ...]
    cells: tuple[Cell, ...]
    folds: tuple[Fold, ...]
    sets: Mapping[SetKey, GeneratedSet]
    joining: Mapping[tuple[str, int | None], tuple[GeneratedImage, ...]]
    """(arm, fold) -> generated images to add; for a classical arm those of the arm it controls."""
    augment: AugmentConfig
    """Of the classical control."""
    images_per_epoch: int
    """Equal for every cell."""
    warnings: tuple[Message, ...]
    """Warnings of the leakage check."""

    @property
    def output(self) -> Path:
        """The output folder."""
        return Path(self.config.output)

    @property
    def steps(self) -> int:
        """Optimizer steps in every cell."""
        return total_steps(self.settings(self.cells[0]))

    def fold(self, number: int | None) -> Fold:
        """Find a fold by its number."""
        return self.folds[number or 0]

    def settings(self, cell: Cell) -> TrainConfig:
        """The training settings of a cell."""
        balance = cell.arm.kind == "oversampling"
        update = {"seed": cell.seed, "images_per_epoch": self.images_per_epoch, "balance": balance}
        return self.config.train.model_copy(update=update)

    def counts(self, arm: PlannedArm, fold: Fold) -> tuple[Counter[str], Counter[str]]:
        """Numbers of real and of added images of every class."""
        real = Counter(image.label for image in fold.dataset.train)
        return real, Counter(image.label for image in self.joining.get((arm.name, fold.number), ()))


def prepare(config: ExperimentConfig, *, progress: bool = False) -> Prepared:
    """Read data and sets, check them for leakage, and decide what every cell trains on.

    Raises:
        DataError: the data cannot be used; LeakageError, a subclass, if it leaks.
        GeneratedSetError: a set cannot be used, or has too few images for a share.
        SettingsError: a setting cannot be used.
        EvaluationError: Normal class or primary metric do not fit the data.
    """
    output = Path(config.output).resolve()
    for name, path in (("data", config.data), *(("sets", each) for arm in config.arm for each in arm.sets)):
        if output.is_relative_to(Path(path).resolve()):
            raise SettingsError(f"output: {config.output} lies in the {name} folder {path}; choose one beside it")
    config = config.model_copy(update={"train": with_weights_hash(config.train)})
    arms = plan_arms(config)
    folds = read_folds(config, progress=progress)
    sets = read_sets(arms, progress=progress)
    joining: dict[tuple[str, int | None], tuple[GeneratedImage, ...]] = {
        (arm.name, fold.number): images_of_arm(arm, fold, sets, config)
        for arm in arms
        if arm.kind == "generated"
        for fold in folds
    }
    for arm in arms:
        if arm.shares_control:
            _refuse_other_counts(arm, folds, joining)
        if arm.controls:
            joining.update({(arm.name, fold.number): joining[arm.controls, fold.number] for fold in folds})
    # Each folder once: all of it if any arm takes all of it, otherwise its accepted images.
    widest = [one for (path, curated), one in sets.items() if not curated or (path, False) not in sets]
    warnings = []
    for fold in folds:
        # With folds a set also has parents among the test images of a fold; each cell checks the images it adds.
        whole = widest if fold.number is None else []
        job = TrainingJob(fold.dataset.root, Path(config.output), config.train)
        checked = build_training_set(job, sets=whole, progress=progress)
        data = str(fold.dataset.root)
        warnings += [message("in_data", data=data, warning=warning) for warning in checked.warnings]
    largest = max(fold.real + len(joining.get((arm.name, fold.number), ())) for arm in arms for fold in folds)
    return Prepared(
        config=config,
        arms=arms,
        cells=plan_cells(config, arms),
        folds=folds,
        sets=sets,
        joining=joining,
        augment=config.classical or stronger(config.train.augment),
        images_per_epoch=config.train.images_per_epoch or largest,
        warnings=tuple(warnings),
    )


def _refuse_other_counts(
    arm: PlannedArm, folds: Sequence[Fold], joining: Mapping[tuple[str, int | None], tuple[GeneratedImage, ...]]
) -> None:
    """A shared control is valid only if both arms add equally many images of each class."""
    for fold in folds:
        own, other = (
            Counter(image.label for image in joining[name, fold.number]) for name in (arm.name, arm.shares_control)
        )
        for label in sorted({*own, *other}):
            if own[label] != other[label]:
                raise SettingsError(
                    f"[[arm]] {arm.name!r}: has {own[label]} generated images of {label!r}, but "
                    f"{arm.shares_control!r}, whose control it shares, has {other[label]}; generate by one plan, or "
                    "leave 'control' out"
                )


def total_steps(config: TrainConfig) -> int:
    """Optimizer steps in a whole training, as `trainer.training.sampling.EpochOrder` makes them.

    Raises:
        SettingsError: images per epoch, or the batch size, are not numbers.
    """
    if config.images_per_epoch is None:
        raise SettingsError("images_per_epoch: not set; an experiment sets it for every arm")
    return config.epochs * steps_in_epoch(config.images_per_epoch, config.images_a_step, parts=config.accumulate)


_WARM_UP_STEPS = 2
_TIMED_STEPS = 6
_PREDICTED = 64
_START_S = 10.0
"""Time of a cell to load the libraries and check the images; measured as 5 to 15 s."""
_PLOTS_BYTES = 500_000
"""Curves and examples of a run."""


@dataclass(frozen=True)
class Estimate:
    """The cost of an experiment."""

    trained_per_s: float
    """Images per second in training, by one process."""
    predicted_per_s: float
    """Images per second in validation and prediction, by one process."""
    seconds: float
    """For the given cells, with this number of parallel processes."""
    processes: int
    bytes: int
    """On disk, with the weights of every cell."""
    how: str
    """How it was estimated, in words."""


def estimate(prepared: Prepared, cells: Sequence[Cell], *, processes: int) -> Estimate:
    """Estimate time and disk space by timing the network of this experiment on blank images.

    Parallel processes are assumed not to slow each other down.
    """
    config = prepared.settings(prepared.cells[0])
    batch, device = config.images_a_step, choose_device(config.device)
    classes = prepared.folds[0].dataset.classes
    images = TrainingImages(
        torch.zeros((batch, 3, config.imgsz, config.imgsz), dtype=torch.uint8),
        torch.arange(batch),
        torch.arange(batch) % len(classes),
    )
    config = config.model_copy(update={"images_per_epoch": batch, "balance": False, "layout": "channels_last"})
    with torch_threads(config.threads), isolated_rng(device):
        session = TrainingSession(images, Classification(classes, config), config, device)

        def train(epochs: int) -> None:
            for _ in range(epochs):  # of one batch each
                for batch_indices in session.start_epoch():
                    session.step(batch_indices)

        train(_WARM_UP_STEPS)
        per_trained = _seconds_of(lambda: train(_TIMED_STEPS), device) / (_TIMED_STEPS * batch)
        network = session.average.network.eval()
        sample = torch.zeros((_PREDICTED, 3, config.imgsz, config.imgsz), device=device)
        with torch.inference_mode():
            network(sample)
            per_predicted = _seconds_of(lambda: network(sample), device) / _PREDICTED
    weights = sum(one.numel() * one.element_size() for one in network.state_dict().values())
    seconds = 0.0
    for cell in cells:
        data = prepared.fold(cell.fold).dataset
        looked_at = config.epochs * len(data.val) + len(data.test)
        seconds += _START_S + config.epochs * prepared.images_per_epoch * per_trained + looked_at * per_predicted
    beside = max(1, min(processes, len(cells)))
    return Estimate(
        trained_per_s=1.0 / per_trained,
        predicted_per_s=1.0 / per_predicted,
        seconds=seconds / beside,
        processes=beside,
        bytes=len(prepared.cells) * (2 * weights + _PLOTS_BYTES),
        how=(
            f"{_TIMED_STEPS} steps of {batch} images timed now on this machine by one process, and {_START_S:.0f} s "
            f"per cell to start; {beside} at a time, assumed not to slow each other down"
        ),
    )


def _seconds_of(work: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    work()
    if device.type == "cuda":  # CUDA works asynchronously
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
