"""The experiment file and what lies on disk -> every cell with its settings and images; nothing is written yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdcore.messages import Message, message

from ..assemble import build_training_set
from ..config import AugmentConfig, TrainConfig, TrainingJob
from ..errors import SettingsError
from ..generated import GeneratedImage, GeneratedSet
from ..sampling import steps_in_epoch
from ..start import with_weights_hash
from .classical import stronger
from .config import ExperimentConfig
from .material import Fold, images_of_arm, read_folds, read_sets
from .plan import Cell, PlannedArm, SetKey, plan_arms, plan_cells


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
        return steps_of(self.settings(self.cells[0]))

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
    """Read data and sets, check them for leakage, and settle what every cell trains on.

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
    arm: PlannedArm,
    folds: Sequence[Fold],
    joining: Mapping[tuple[str, int | None], tuple[GeneratedImage, ...]],
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


def steps_of(config: TrainConfig) -> int:
    """Steps of the optimizer in a whole training, as `trainer.sampling.EpochOrder` makes them.

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
