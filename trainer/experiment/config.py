"""`experiment.toml`: arms, seeds, folds and the one metric that decides, all declared before any run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..config import AugmentConfig, TrainConfig, make_config
from ..errors import SettingsError
from .judge import Kind

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Primary = Literal["macro_f1", "accuracy", "miss_rate", "overkill_rate"]

MOST_SHARE = 0.9
"""Largest share of generated images in the training list; training on generated images alone fails."""

_DECIDED_ELSEWHERE = {
    "seed": "the experiment's 'seeds' set it",
    "balance": 'it is what [[arm]] kind = "oversampling" does',
    "generated_share": "an arm's 'share' sets the number of generated images",
    "sync_bn": "it is for several processes of one training, and each cell has one",
    "patience": "it would end arms after unequal numbers of steps",
    "stop_on": "it would end arms after unequal numbers of steps",
    "weights_sha256": "it is computed",
}
"""Settings of a training that must not be in [train], and why."""

_ILLEGAL_IN_NAMES = frozenset('<>:"/\\|?*')
_RESERVED_NAMES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})


class ArmConfig(BaseModel):
    """One `[[arm]]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    """ "baseline": the real images. "oversampling": the real images, every class drawn equally often. "classical":
    real images and, for each image of a generated arm, one classically augmented image of the same source; every
    generated arm gets such an arm. "generated": real images and generated ones. The fields after `name`
    are for generated arms only."""
    name: str = ""
    """Name of the arm and of its folder; without it, the kind."""
    sets: tuple[str, ...] = ()
    """Output folders of 'sdclient generate'."""
    share: tuple[float, ...] = ()
    """Shares of generated images in the training list, one arm for each; without any, one arm with all images."""
    normal: bool | None = None
    """Whether generated Normal images are used; None: if there are any."""
    curated: bool = True
    """Whether only the accepted images are used of a set that filters or a person have judged."""
    control: str = ""
    """Another generated arm, with as many images of each class, whose classical control this arm shares; "": none."""

    @field_validator("share", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, (int, float)) and not isinstance(value, bool) else value

    @field_validator("share")
    @classmethod
    def _check_shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        for one in value:
            if not 0 < one <= MOST_SHARE:
                raise ValueError(f"{one:g} is not a share; expected more than 0 and at most {MOST_SHARE:g}, as 0.3")
        if len(set(value)) < len(value):
            raise ValueError("a share is given twice; expected each once")
        return value

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if value and not is_folder_name(value):
            raise ValueError('expected a name that a folder can have: none of < > : " / \\ | ? *, no dot at the end')
        return value

    @model_validator(mode="after")
    def _check_kind(self) -> ArmConfig:
        if self.kind == "generated":
            if not self.sets:
                raise ValueError("sets: missing; expected output folders of 'sdclient generate', as [\"output\"]")
            if len(set(self.sets)) < len(self.sets):
                raise ValueError("sets: a folder is given twice; expected each once")
            return self
        for key in ("sets", "share", "normal", "curated", "control"):
            if key in self.model_fields_set:
                raise ValueError(f'{key}: only an arm of kind = "generated" has it, this one is {self.kind!r}')
        return self

    @property
    def title(self) -> str:
        """The name, or the kind where none was given."""
        return self.name or self.kind


class ExperimentConfig(BaseModel):
    """The whole file; paths relative to it are resolved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    """DATA folder with train/, val/ and test/; with folds, the folder of 'trainer split --folds'."""
    output: str
    """Folder for cells, sets and results."""
    primary: Primary
    """The one metric that decides."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each arm is trained once per seed. A single number N means the seeds 0 to N - 1."""
    folds: int = Field(0, ge=0)
    """0: one division; K: cross-validation, predictions pooled."""
    normal: str = "Normal"
    """The class without defects."""
    abnormal: str = "Abnormal"
    """The test label of defects of unknown kind."""
    seed: int = Field(0, ge=0, lt=2**32)
    """For the choice of generated images for a share, for classical augmentation, and for the bootstrap."""
    train: TrainConfig = TrainConfig()
    """Settings of every training."""
    classical: AugmentConfig | None = None
    """Augmentation of the classical control; None: `trainer.experiment.sets.stronger`."""
    arm: tuple[ArmConfig, ...]

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError("expected 1 or more, or a list such as [0, 1, 2]")
            return tuple(range(value))
        if not isinstance(value, (list, tuple)):
            raise ValueError("expected a number of seeds, or a list such as [0, 1, 2]")
        return value

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) < len(value) or not all(0 <= one < 2**32 for one in value):
            raise ValueError("expected one or more whole numbers from 0, each once")
        return value

    @field_validator("folds")
    @classmethod
    def _check_folds(cls, value: int) -> int:
        if value == 1:
            raise ValueError("expected 0 for one division, or 2 and more")
        return value

    @model_validator(mode="after")
    def _check_arms(self) -> ExperimentConfig:
        kinds = [one.kind for one in self.arm]
        if kinds.count("baseline") != 1:
            raise ValueError(f'arm: {kinds.count("baseline")} of kind = "baseline"; expected one')
        for kind in ("oversampling", "classical"):
            if kinds.count(kind) > 1:
                raise ValueError(f'arm: {kinds.count(kind)} of kind = "{kind}"; expected one at most')
        if ("generated" in kinds) != ("classical" in kinds):
            raise ValueError(
                'arm: kind = "generated" and kind = "classical" go together: without the control at the same count '
                "nothing says whether generated images help more than any images; add the other one"
            )
        if "oversampling" in kinds and self.train.class_weights != "none":
            raise ValueError(
                f'train.class_weights: found {self.train.class_weights!r} beside an arm of kind = "oversampling"; both '
                "correct for unequal classes, leave one out"
            )
        names = [one.title.casefold() for one in self.arm]
        twice = next((one.title for one in self.arm if names.count(one.title.casefold()) > 1), None)
        if twice is not None:
            raise ValueError(f"arm: {twice!r} is the name of two arms; give each a name of its own")
        return self


def is_folder_name(name: str) -> bool:
    """Whether a folder can have this name on every operating system."""
    return (
        name == name.strip()
        and not name.endswith(".")
        and name.isprintable()
        and not set(name) & _ILLEGAL_IN_NAMES
        and name.partition(".")[0].lower() not in _RESERVED_NAMES
        and 0 < len(name) <= 100
        and not name.startswith(".")
    )


def read_experiment(path: Path) -> ExperimentConfig:
    """Read `experiment.toml`; paths in it are relative to its folder.

    Raises:
        SettingsError: the file is missing, is not TOML, or holds a wrong value; names file, table and key.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8; save it as UTF-8") from error
    except OSError as error:
        words = error.strerror or error
        raise SettingsError(f"{path}: cannot be read: {words}; expected an experiment file (TOML)") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}; texts need quotes") from error
    return make_experiment(values, origin=str(path), folder=path.parent)


def make_experiment(values: dict[str, Any], *, origin: str, folder: Path) -> ExperimentConfig:
    """An experiment from the tables and keys of its file; `origin` names them in messages.

    Raises:
        SettingsError: a value is wrong; names origin, table and key.
    """

    def resolve(path: str) -> str:
        return (folder / path).as_posix()

    train = values.get("train", {})
    if isinstance(train, dict):
        _check_train(train, origin)
        train = {**train, **({"weights": resolve(train["weights"])} if train.get("weights") else {})}
    try:
        config = ExperimentConfig.model_validate({**values, "train": train})
    except ValidationError as error:
        raise SettingsError(_describe_fault(error.errors()[0], origin)) from error
    arms = tuple(one.model_copy(update={"sets": tuple(map(resolve, one.sets))}) for one in config.arm)
    return config.model_copy(update={"data": resolve(config.data), "output": resolve(config.output), "arm": arms})


def _check_train(train: dict[str, Any], origin: str) -> None:
    for key, why in _DECIDED_ELSEWHERE.items():
        if key in train:
            raise SettingsError(f"{origin}: [train] {key}: found {train[key]!r}; leave it out, {why}")
    for key in train:
        if key not in TrainConfig.model_fields:
            raise SettingsError(f"{origin}: [train] {key}: no such key; expected {_keys(TrainConfig)}")
    if train.get("batch_size") == "auto":
        raise SettingsError(f"{origin}: [train] batch_size: found 'auto'; expected a number, the same for every arm")
    try:
        make_config(**train)
    except SettingsError as error:
        raise SettingsError(f"{origin}: [train] {error}") from error


def _describe_fault(fault: Any, origin: str) -> str:
    """One line from an error of pydantic: file, table, key, found, expected."""
    location = [str(part) for part in fault["loc"]]
    where = origin
    table: type[BaseModel] = ExperimentConfig
    if location[:1] == ["arm"] and len(location) > 1:
        where += f": [[arm]] number {int(location[1]) + 1}"
        location, table = location[2:], ArmConfig
    elif location[:1] in (["train"], ["classical"]) and len(location) > 1:
        where += f": [{location[0]}]"
        location, table = location[1:], AugmentConfig
    message = fault["msg"].removeprefix("Value error, ")
    if "Input should be" in message:
        message = f"expected{message.removeprefix('Input should be')}"
    elif fault["type"] != "value_error":
        message = message.lower()
    if not location:
        return f"{where}: {message}"
    key = ".".join(location)
    if fault["type"] == "missing":
        return f"{where}: {key}: missing; expected it in the file"
    if fault["type"] == "extra_forbidden":
        return f"{where}: {key}: no such key; expected {_keys(table)}"
    found = repr(fault["input"])
    return f"{where}: {key}: found {found if len(found) <= 60 else f'{found[:57]}...'}; {message}"


def _keys(table: type[BaseModel]) -> str:
    names = [key for key in table.model_fields if key not in _DECIDED_ELSEWHERE or table is not TrainConfig]
    return "one of " + ", ".join(names)
