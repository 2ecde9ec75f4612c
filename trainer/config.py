"""Settings of a training (`TrainConfig`), and the job that names its data and its run (`TrainingJob`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import SettingsError

MODELS = ("yolov5n-cls", "yolov5s-cls", "yolov5m-cls", "yolov5l-cls", "yolov5x-cls")
"""Ordered from small and fast to large and slow."""

DEVICES = ("auto", "cpu", "cuda")

NORMAL, ABNORMAL = "Normal", "Abnormal"
"""The class without a defect, and the word for all others together."""

IMGSZ_MULTIPLE_PX = 32
"""The network halves the image five times."""

_UNION_BRANCHES = ("constrained-int", "literal['auto']")
"""pydantic adds these to the name of a setting that may be a number or a word."""


class AugmentConfig(BaseModel):
    """How training images are varied. The defaults keep the whole defect in the image.

    Changes of hue are off by default, since some defects (discoloration, oxidation) are recognised by colour.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flips: bool = True
    """Mirror left-right and up-down, each in half of the images."""
    quarter_turns: bool = True
    """Turn by 0, 90, 180 or 270 degrees."""
    warp_rate: float = Field(0.5, ge=0, le=1)
    """Share of the images that are rotated, scaled and shifted by the amounts below."""
    rotation_degrees: float = Field(10.0, ge=0, le=45)
    """At most this far in either direction."""
    scale: float = Field(0.1, ge=0, le=0.5)
    """Enlarged or shrunk by at most this share; 0.1 keeps 0.83 of the area in the image, 0.118 keeps 0.8."""
    shift: float = Field(0.08, ge=0, le=0.5)
    """Moved by at most this share of the side; the gap is filled by reflection."""
    brightness: float = Field(0.1, ge=0, le=1)
    """Made lighter or darker by at most this share of the full range."""
    contrast: float = Field(0.15, ge=0, le=1)
    """Contrast around the image's own mean changed by at most this share."""
    hue: float = Field(0.0, ge=0, le=0.5)
    """Hue rotated by at most this part of the colour circle, in either direction; 0.5 allows every hue."""
    saturation: float = Field(0.0, ge=0, le=1)
    """Colours made stronger or weaker by at most this share."""


class TrainConfig(BaseModel):
    """Everything that decides what a training computes, apart from its data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Literal["yolov5n-cls", "yolov5s-cls", "yolov5m-cls", "yolov5l-cls", "yolov5x-cls"] = "yolov5n-cls"
    epochs: int = Field(30, ge=1)
    imgsz: int = Field(64, ge=32, multiple_of=IMGSZ_MULTIPLE_PX)
    """Side in pixels of the square every image is resized to."""
    batch_size: Annotated[int, Field(ge=2)] | Literal["auto"] = 32
    """Images per step, over all parts and processes. "auto" fills the memory of a CUDA device and is 32 on a CPU, where
    more gains nothing."""
    accumulate: int = Field(1, ge=1)
    """Parts into which a step's images are divided, computed one after another to save memory; each part has its own
    batch statistics."""
    sync_bn: bool = False
    """Batch statistics over all processes; only on CUDA and with several processes."""
    seed: int = Field(0, ge=0, lt=2**32)
    lr: float = Field(1e-3, gt=0, le=1)
    """Highest learning rate, reached at the end of the warm-up; the schedule then takes it down to a hundredth."""
    schedule: Literal["cosine", "linear"] = "cosine"
    weight_decay: float = Field(0.05, ge=0)
    """Decoupled (AdamW); only for the weights of convolutions and of the head."""
    warmup_epochs: float = Field(2.0, ge=0)
    clip_norm: float = Field(50.0, ge=0)
    """Limit for the norm of the gradient over all weights; 0: no limit. On DeepPCB the largest of 660 was 19, so the
    default only acts when something goes wrong."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    ema_decay: float = Field(0.99, ge=0, lt=1)
    """Decay of the averaged weights, which are validated and saved; starts lower and rises to this."""
    balance: bool = False
    """Draw every class equally often instead of every image: fewer misses, much more overkill."""
    class_weights: Literal["none", "balanced"] = "none"
    """Weigh the loss of each class by its inverse frequency; an alternative to `balance`."""
    generated_share: float | None = Field(None, ge=0, le=1)
    """Probability that a drawn image is one that joined the real ones; None: all have the same probability."""
    images_per_epoch: int | None = Field(None, ge=2)
    """Images per epoch; None: each training image once. With the same number two arms have equal steps."""
    monitor: Literal["val_macro_f1", "val_loss", "val_accuracy"] = "val_macro_f1"
    """The figure that chooses the best epoch and that `patience` watches."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many epochs without improvement; None: train all epochs."""
    stop_on: Literal["overfit"] | None = None
    """Stop when the curves show overfitting."""
    freeze: int = Field(0, ge=0, le=9)
    """Number of first backbone layers whose weights and batch statistics stay fixed."""
    threads: int = Field(1, ge=1)
    """CPU threads of torch. Small images do not gain from more."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    amp: bool = True
    """Mixed precision; only on CUDA."""
    layout: Literal["auto", "channels_last", "contiguous"] = "auto"
    """Memory layout of tensors. "auto" is channels_last if `deterministic`, else the faster one."""
    deterministic: bool = True
    """Two runs give the same bits. Always true on a CPU; on CUDA it needs slower kernels."""
    weights: str | None = None
    """Checkpoint to start from instead of fresh weights."""
    weights_sha256: str | None = None
    """Of the file `weights`; filled in when training starts."""
    augment: AugmentConfig = AugmentConfig()

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> TrainConfig:
        if self.balance and self.class_weights != "none":
            raise ValueError("balance and class_weights both answer unequal classes; together they overdo it, take one")
        if self.balance and self.generated_share is not None:
            raise ValueError("balance and generated_share both decide which image is drawn; take one")
        if self.freeze and self.weights is None:
            raise ValueError(
                f"freeze {self.freeze}: layers of fresh weights would stay noise; add weights to start from"
            )
        return self

    @model_validator(mode="after")
    def _refuse_torn_parts(self) -> TrainConfig:
        if self.batch_size != "auto":
            require_whole_parts(self.batch_size, self.accumulate)
        return self

    @property
    def images_a_step(self) -> int:
        """The batch size as a number.

        Raises:
            SettingsError: it is "auto" and not yet resolved.
        """
        if self.batch_size == "auto":
            raise SettingsError("batch_size: found 'auto' where a number is needed; resolve it for a device first")
        return self.batch_size


def require_whole_parts(batch_size: int, accumulate: int, processes: int = 1) -> None:
    """Require parts of equal size and of two or more images, as batch normalisation needs them.

    Args:
        accumulate: parts in each process.

    Raises:
        ValueError: the batch cannot be divided evenly, or a part would have fewer than two images.
    """
    parts = accumulate * processes
    if batch_size % parts or batch_size < 2 * parts:
        by = f"{accumulate} parts (accumulate)" if processes == 1 else f"{processes} processes"
        by += f" x {accumulate} parts" if processes > 1 and accumulate > 1 else ""
        near = max(2, round(batch_size / parts)) * parts
        raise ValueError(
            f"batch_size: {batch_size} images a step do not make {by} of two or more images and one size; take {near}"
        )


def make_config(**settings: Any) -> TrainConfig:
    """A `TrainConfig` from a user's settings.

    Raises:
        SettingsError: a setting is unknown or out of range; the message names the first such setting.
    """
    try:
        return TrainConfig(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise SettingsError(first["msg"].removeprefix("Value error, ")) from error
        name = ".".join(str(part) for part in first["loc"] if part not in _UNION_BRANCHES)
        raise SettingsError(f"{name}: found {first['input']!r}; {first['msg'].lower()}") from error


@dataclass(frozen=True)
class TrainingJob:
    """What to train on, how, and where to write; picklable."""

    data: Path
    """DATA folder with `train/`, `val/` and optionally `test/`."""
    run: Path
    """Folder to write: the run itself for one seed, a folder of `seed-<seed>` for several."""
    config: TrainConfig = field(default_factory=TrainConfig)
    """Its `seed` is used when `seeds` is None."""
    seeds: Sequence[int] | None = None
    """One or more different seeds, one run each."""
    generated: Sequence[Path] = ()
    """Output folders whose images join training; only the accepted ones of a curated folder."""
    control_for: Sequence[Path] = ()
    """Output folders whose sources join training again, once per generated image; images as in `generated`."""
    uncurated: bool = False
    """Use every image of these folders, whatever its verdict."""
    strict: bool = False
    """Refuse look-alikes and single-coloured images across train, val and test instead of warning about them;
    `run/near_duplicates.html` then shows the look-alikes, unless the folder holds a run."""
    overwrite: bool = False
    """Replace a run of another config or data, and restart an interrupted one."""
    cache_gb: float | None = None
    """Memory limit in GB for decoded images; the rest goes into a file. None: half of the free memory."""
    tensorboard: bool = False
    """Also write `run/tensorboard/`."""

    @property
    def name(self) -> str:
        """The run, for messages."""
        return str(self.run)

    @property
    def folder(self) -> Path:
        """The run, where a worker process writes the traceback of an unexpected error."""
        return self.run

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """`seeds`, else the one of the config."""
        return (self.config.seed,) if self.seeds is None else tuple(self.seeds)

    def by_seed(self) -> list[TrainingJob]:
        """One job per seed."""
        seeds = self.all_seeds
        return [
            replace(
                self,
                run=self.run if len(seeds) == 1 else self.run / f"seed-{seed}",
                config=self.config.model_copy(update={"seed": seed}),
                seeds=(seed,),
            )
            for seed in seeds
        ]
