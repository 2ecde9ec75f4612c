"""The experiment file -> its arms and its cells, each cell one training; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import SettingsError
from .config import ArmConfig, ExperimentConfig, is_folder_name
from .judge import Kind

CELLS_FOLDER = "cells"

SetKey = tuple[str, bool]
"""A folder of generated images, and whether only its accepted images are meant."""


@dataclass(frozen=True)
class PlannedArm:
    """One way of training; a table with several shares makes several."""

    name: str
    """Unique, and fit for a folder."""
    kind: Kind
    sets: tuple[str, ...] = ()
    """Folders of generated images; of a classical arm those of the arm it controls."""
    share: float | None = None
    """Of the training list that is to be generated; None: all images there are."""
    normal: bool | None = None
    """Whether generated Normal images are used; None: where there are any."""
    controls: str = ""
    """For a classical arm: the generated arm whose count it has."""
    curated: bool = True
    """Whether only the accepted images of its sets are taken, once they have been curated."""
    shares_control: str = ""
    """For a generated arm: the one whose classical control it shares; "" where it has its own."""

    @property
    def set_keys(self) -> tuple[SetKey, ...]:
        """What the arm draws from."""
        return tuple((path, self.curated) for path in self.sets)


@dataclass(frozen=True)
class Cell:
    """One training: an arm, a seed, and with folds one of them."""

    arm: PlannedArm
    seed: int
    fold: int | None

    @property
    def folder(self) -> str:
        """Relative to the output folder, forward slashes."""
        return "/".join((CELLS_FOLDER, self.arm.name, f"seed-{self.seed}", *_fold_name(self.fold)))

    @property
    def name(self) -> str:
        """What the cell is called in messages."""
        return " ".join((self.arm.name, f"seed-{self.seed}", *_fold_name(self.fold)))


def _fold_name(fold: int | None) -> tuple[str, ...]:
    return () if fold is None else (f"fold-{fold}",)


def plan_arms(config: ExperimentConfig) -> tuple[PlannedArm, ...]:
    """Every arm, in the order of the file; the classical table gives a control to each generated arm that shares none.

    Raises:
        SettingsError: two arms would have one name, or an arm shares the control of one that is not there.
    """
    generated = [one for arm in config.arm if arm.kind == "generated" for one in _shares_of(arm)]
    controlled_by_own = [one for one in generated if not one.shares_control]
    _check_controls(generated, controlled_by_own)
    arms: list[PlannedArm] = []
    for table in config.arm:
        if table.kind == "generated":
            arms += _shares_of(table)
        elif table.kind == "classical":
            several = len(controlled_by_own) > 1
            for controlled in controlled_by_own:
                name = f"{table.title} {controlled.name}" if several else table.title
                arms.append(
                    PlannedArm(name, "classical", controlled.sets, controls=controlled.name, curated=controlled.curated)
                )
        else:
            arms.append(PlannedArm(table.title, table.kind))
    names = [arm.name.casefold() for arm in arms]
    for arm in arms:
        if names.count(arm.name.casefold()) > 1 or not is_folder_name(arm.name):
            raise SettingsError(
                f"[[arm]] name: {arm.name!r} would be the name of two arms, or is too long; give them other names"
            )
    return tuple(arms)


def _check_controls(generated: Sequence[PlannedArm], controlled: Sequence[PlannedArm]) -> None:
    names = [one.name for one in controlled]
    for one in generated:
        if one.shares_control and one.shares_control not in names:
            raise SettingsError(
                f"[[arm]] {one.name!r}: control = {one.shares_control!r} is no generated arm with a control of its "
                f"own; expected one of {', '.join(names) or 'none, for no arm has one'}"
            )


def _shares_of(arm: ArmConfig) -> list[PlannedArm]:
    shares: tuple[float | None, ...] = arm.share or (None,)
    several = len(shares) > 1
    return [
        PlannedArm(
            f"{arm.title} {share:g}" if several else arm.title,
            "generated",
            arm.sets,
            share,
            arm.normal,
            curated=arm.curated,
            shares_control=arm.control,
        )
        for share in shares
    ]


def plan_cells(config: ExperimentConfig, arms: tuple[PlannedArm, ...]) -> tuple[Cell, ...]:
    """Every cell, seed by seed, so that a broken-off experiment has whole seeds; pure."""
    folds: tuple[int | None, ...] = tuple(range(config.folds)) if config.folds else (None,)
    return tuple(Cell(arm, seed, fold) for seed in config.seeds for fold in folds for arm in arms)
