"""Everything that is decided before the first cell starts, and the estimate of time and disk space."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
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
    """All that is decided before the first cell starts."""

    config: ExperimentConfig
    arms: tuple[PlannedArm, ...]
    cells: tuple[Cell, ...]
    folds: tuple[Fold, ...]
    sets: Mapping[SetKey, GeneratedSet]
    joining: Mapping[tuple[str, int | None], tuple[GeneratedImage, ...]]
    """(arm, fold) -> generated images that join; of a classical arm those that it has the count of."""
    augment: AugmentConfig
    """Of the classical control."""
    images_per_epoch: int
    """The same for every cell."""
    warnings: tuple[Message, ...]
    """What the guard against leakage let pass."""

    @property
    def output(self) -> Path:
        """Where everything goes."""
        return Path(self.config.output)

    @property
    def steps(self) -> int:
        """Steps of the optimizer in every cell."""
        return total_steps(self.settings(self.cells[0]))

    def fold(self, number: int | None) -> Fold:
        """The fold of that number."""
        return self.folds[number or 0]

    def settings(self, cell: Cell) -> TrainConfig:
        """What a cell is trained with."""
        return self.config.train.model_copy(
            update={
                "seed": cell.seed,
                "images_per_epoch": self.images_per_epoch,
                "balance": cell.arm.kind == "oversampling",
            }
        )

    def counts(self, arm: PlannedArm, fold: Fold) -> tuple[Counter[str], Counter[str]]:
        """Real images by class, and those that join."""
        real = Counter(image.label for image in fold.dataset.train)
        return real, Counter(image.label for image in self.joining.get((arm.name, fold.number), ()))


def prepare(config: ExperimentConfig, *, progress: bool = False) -> Prepared:
    """Read data and sets, check them for leakage, and decide what every cell trains on.

    Raises:
        DataError: the data cannot be used (with its branch LeakageError).
        GeneratedSetError: a set cannot be used, or has too few images for a share.
        SettingsError: a setting that cannot be used.
        EvaluationError: Normal class or primary metric do not fit the data.
    """
    _refuse_nesting(config)
    config = config.model_copy(update={"train": with_weights_hash(config.train)})
    arms = plan_arms(config)
    folds = read_folds(config, progress=progress)
    sets = read_sets(arms, progress=progress)
    joining: dict[tuple[str, int | None], tuple[GeneratedImage, ...]] = {}
    for arm in arms:
        if arm.kind == "generated":
            for fold in folds:
                joining[arm.name, fold.number] = images_of_arm(arm, fold, sets, config)
    for arm in arms:
        if arm.shares_control:
            _refuse_other_counts(arm, folds, joining)
        if arm.controls:
            joining.update({(arm.name, fold.number): joining[arm.controls, fold.number] for fold in folds})
    warnings = []
    for fold in folds:
        # With folds a set descends from test images of other folds; what joins here is guarded by the cells.
        whole = _widest(sets) if fold.number is None else []
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
    """A control says something only where it adds as many images of each class."""
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


def _widest(sets: Mapping[SetKey, GeneratedSet]) -> list[GeneratedSet]:
    """Each folder once: as a whole where an arm takes all of it, else by what is accepted."""
    return [one for (path, curated), one in sets.items() if not curated or (path, False) not in sets]


def total_steps(config: TrainConfig) -> int:
    """Steps of the optimizer in a whole training, as `trainer.training.sampling.EpochOrder` makes them.

    Raises:
        SettingsError: images per epoch, or the batch size, are not numbers.
    """
    count = config.images_per_epoch
    if count is None:
        raise SettingsError("images_per_epoch: not set; an experiment sets it for every arm")
    return config.epochs * steps_in_epoch(count, config.images_a_step, parts=config.accumulate)


def _refuse_nesting(config: ExperimentConfig) -> None:
    output = Path(config.output).resolve()
    for name, path in (("data", config.data), *(("sets", each) for arm in config.arm for each in arm.sets)):
        if output.is_relative_to(Path(path).resolve()):
            raise SettingsError(f"output: {config.output} lies in the {name} folder {path}; choose one beside it")


_WARM_UP_STEPS = 2
_TIMED_STEPS = 6
_PREDICTED = 64
_START_S = 10.0
"""Loading the libraries and checking the images, a cell; measured as 5 to 15 s."""
_PLOTS_BYTES = 500_000
"""Curves and examples of a run."""


@dataclass(frozen=True)
class Estimate:
    """What an experiment costs."""

    trained_per_s: float
    """Images a second in training, one process alone."""
    predicted_per_s: float
    """Images a second in validation and prediction."""
    seconds: float
    """For all cells asked about, with so many processes beside each other."""
    processes: int
    bytes: int
    """On disk, with the weights of every cell."""
    how: str
    """How it was found, in words."""


def estimate(prepared: Prepared, cells: Sequence[Cell], *, processes: int) -> Estimate:
    """Estimate time and disk space by timing the network of this experiment on blank images.

    Args:
        processes: that will work beside each other; taken not to slow each other down.
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
        trained = _steps(session, _WARM_UP_STEPS)
        began = time.perf_counter()
        trained = _steps(session, _TIMED_STEPS)
        _wait(device)
        per_trained = (time.perf_counter() - began) / trained
        network = session.average.network.eval()
        sample = torch.zeros((_PREDICTED, 3, config.imgsz, config.imgsz), device=device)
        with torch.inference_mode():
            network(sample)
            began = time.perf_counter()
            network(sample)
            _wait(device)
        per_predicted = (time.perf_counter() - began) / _PREDICTED
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
            f"a cell to start; {beside} at a time taken as not slowing each other"
        ),
    )


def _steps(session: TrainingSession, count: int) -> int:
    """Train `count` epochs of one batch each; returns how many images were seen."""
    seen = 0
    for _ in range(count):
        for batch in session.start_epoch():
            session.step(batch)
            seen += len(batch)
    return seen


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
