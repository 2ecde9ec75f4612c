"""`experiment.toml`: which arms, seeds and folds, and the one metric that decides; declared before any run."""

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
"""Of generated images in the training list; training on generated images alone fails."""

_DECIDED_ELSEWHERE = {
    "seed": "the experiment's 'seeds' give it",
    "balance": 'it is what [[arm]] kind = "oversampling" does',
    "generated_share": "an arm's 'share' says how many generated images there are",
    "sync_bn": "it is for several processes of one training, and each cell has one",
    "patience": "it would end arms after unequal numbers of steps",
    "stop_on": "it would end arms after unequal numbers of steps",
    "weights_sha256": "it is filled in",
}
"""Settings of a training that an experiment does not leave to [train], and why."""

_ILLEGAL_IN_NAMES = frozenset('<>:"/\\|?*')
_RESERVED_NAMES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})


class ArmConfig(BaseModel):
    """One `[[arm]]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    """ "baseline": the real images. "oversampling": the same, every class drawn equally often. "classical": real
    images and, for each image of a generated arm, one classically augmented image of the same source; one such
    arm is made for every generated arm. "generated": real images and generated ones."""
    name: str = ""
    """What the arm is called; its kind where nothing is said. It becomes the name of a folder."""
    sets: tuple[str, ...] = ()
    """Of a generated arm: output folders of 'sdclient generate'."""
    share: tuple[float, ...] = ()
    """Of a generated arm: share of the training list that is generated; several make an arm each. None given:
    one arm with all images there are."""
    normal: bool | None = None
    """Of a generated arm: whether generated Normal images are used; not said: where there are any."""
    curated: bool = True
    """Of a generated arm: of a set that filters or a person have judged, only the accepted images; false takes all."""
    control: str = ""
    """Of a generated arm: another generated arm, with as many images of each class, whose classical control it shares;
    "" gives it one of its own."""

    @field_validator("share", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, (int, float)) and not isinstance(value, bool) else value

    @field_validator("share")
    @classmethod
    def _check_shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        for one in value:
            if not 0 < one <= MOST_SHARE:
                raise ValueError(f"{one:g} is no share; expected more than 0 and at most {MOST_SHARE:g}, as 0.3")
        if len(set(value)) < len(value):
            raise ValueError("a share stands there twice; expected each once")
        return value

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if value and not is_folder_name(value):
            raise ValueError('expected a name that a folder can have: none of < > : " / \\ | ? *, no dot at its end')
        return value

    @model_validator(mode="after")
    def _check_kind(self) -> ArmConfig:
        if self.kind == "generated":
            if not self.sets:
                raise ValueError("sets: missing; expected output folders of 'sdclient generate', as [\"output\"]")
            if len(set(self.sets)) < len(self.sets):
                raise ValueError("sets: a folder stands there twice; expected each once")
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
    """Where cells, sets and results go."""
    primary: Primary
    """The one metric that decides; declared before the first run."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each arm is trained once a seed. A number means so many, from 0."""
    folds: int = Field(0, ge=0)
    """0: one division; K: cross-validation, predictions pooled."""
    normal: str = "Normal"
    """The class without defects."""
    abnormal: str = "Abnormal"
    """The test label of defects whose kind is not said."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Of which generated images are taken for a share, of classical augmentation, and of the bootstrap."""
    train: TrainConfig = TrainConfig()
    """Settings of every training."""
    classical: AugmentConfig | None = None
    """How the images of the classical control are varied; None: see `trainer.experiment.sets`."""
    arm: tuple[ArmConfig, ...]
    """The arms."""

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
                "answer unequal classes, leave one out"
            )
        names = [one.title.casefold() for one in self.arm]
        twice = next((one.title for one in self.arm if names.count(one.title.casefold()) > 1), None)
        if twice is not None:
            raise ValueError(f"arm: {twice!r} is the name of two arms; give each a name of its own")
        return self


def is_folder_name(name: str) -> bool:
    """Whether a folder of this name can be made on every system."""
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
    """Read `experiment.toml`; folders in it are meant from where it lies.

    Raises:
        SettingsError: missing, not TOML, or something in it cannot be; names file, table and key.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8; save it as UTF-8") from error
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read: {error.strerror or error}; expected an experiment file (TOML)"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}; texts need quotes") from error
    return make_experiment(values, origin=str(path), folder=path.parent)


def make_experiment(values: dict[str, Any], *, origin: str, folder: Path) -> ExperimentConfig:
    """An experiment from what its file says.

    Args:
        values: tables and keys.
        origin: where they stand, for messages.
        folder: where relative paths start.

    Raises:
        SettingsError: something cannot be; names origin, table and key.
    """
    train = values.get("train", {})
    if isinstance(train, dict):
        _check_train(train, origin)
        train = {**train, **({"weights": _resolve(folder, train["weights"])} if train.get("weights") else {})}
    try:
        config = ExperimentConfig.model_validate({**values, "train": train})
    except ValidationError as error:
        raise SettingsError(_words(error.errors()[0], origin)) from error
    return config.model_copy(
        update={
            "data": _resolve(folder, config.data),
            "output": _resolve(folder, config.output),
            "arm": tuple(
                one.model_copy(update={"sets": tuple(_resolve(folder, each) for each in one.sets)})
                for one in config.arm
            ),
        }
    )


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


def _resolve(folder: Path, path: str) -> str:
    return (folder / path).as_posix()


def _words(fault: Any, origin: str) -> str:
    """One line from a fault that the checker found: file, table, key, found, expected."""
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
    if fault["type"] != "value_error":
        message = (
            f"expected{message.removeprefix('Input should be')}" if "Input should be" in message else message.lower()
        )
    if not location:
        return f"{where}: {message}"
    key = ".".join(location)
    if fault["type"] == "missing":
        return f"{where}: {key}: missing; expected it in the file"
    if fault["type"] == "extra_forbidden":
        return f"{where}: {key}: no such key; expected {_keys(table)}"
    return f"{where}: {key}: found {_short(fault['input'])}; {message}"


def _keys(table: type[BaseModel]) -> str:
    return "one of " + ", ".join(
        key for key in table.model_fields if key not in _DECIDED_ELSEWHERE or table is not TrainConfig
    )


def _short(value: object) -> str:
    words = repr(value)
    return words if len(words) <= 60 else f"{words[:57]}..."
