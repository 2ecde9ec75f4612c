"""Settings of a diffusion training and of a LoRA."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import SettingsError

NORM_GROUPS = 32
"""The networks normalise their channels in so many groups, as all of diffusers' own do."""


class NetworkConfig(BaseModel):
    """The shape of the network; decides what its weights fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_px: int = Field(64, ge=16, le=1024)
    """Side of the square it learns on."""
    packing: Literal[1, 2, 4, 8] = 4
    """So many pixels each way become channels of one place: at 64 px, 4 gives 16 x 16 places, five times as fast
    on a CPU as 64 x 64."""
    widths: tuple[int, ...] = (96, 128, 192)
    """Channels of its levels, from full to coarsest; each level halves the places of the one before."""
    layers: int = Field(2, ge=1, le=4)
    """Residual blocks a level."""
    head_channels: int = Field(32, ge=1)
    """Channels of an attention head; all levels but the first attend."""

    @property
    def multiple_px(self) -> int:
        """What sides of images must be a multiple of."""
        return self.packing * int(2 ** (len(self.widths) - 1))

    @model_validator(mode="after")
    def _refuse_what_cannot_be_built(self) -> NetworkConfig:
        if not 1 <= len(self.widths) <= 5:
            raise ValueError(f"widths: {len(self.widths)} levels; expected 1 to 5")
        groups = min(NORM_GROUPS, *self.widths)
        for width in self.widths:
            if width < 1 or width % groups or (width % self.head_channels and width > self.head_channels):
                raise ValueError(
                    f"widths: {width} is no multiple of {groups} (groups that are normalised) and of "
                    f"{self.head_channels} (channels of a head); take another"
                )
        if self.size_px % self.multiple_px:
            lower = max(self.multiple_px, self.size_px - self.size_px % self.multiple_px)
            raise ValueError(
                f"size_px: {self.size_px} is no multiple of {self.multiple_px}, which packing {self.packing} and "
                f"{len(self.widths)} levels need; take {lower} or {lower + self.multiple_px}"
            )
        return self


class TrainConfig(BaseModel):
    """Everything that decides what a training computes, apart from its images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: NetworkConfig = NetworkConfig()
    steps: int | None = Field(None, ge=1)
    """End after this many; one of `steps` and `minutes` is needed, with both the first that is reached counts."""
    minutes: float | None = Field(None, gt=0)
    """End after this long, the time of earlier starts of the same training counted in."""
    batch_size: int = Field(32, ge=1)
    seed: int = Field(0, ge=0, lt=2**32)
    lr: float = Field(5e-4, gt=0, le=1)
    """Highest learning rate."""
    warmup_steps: int = Field(50, ge=0)
    decay_share: float = Field(0.3, ge=0, le=1)
    """In the last part of the training, this large, the learning rate falls to a hundredth along a cosine."""
    weight_decay: float = Field(0.01, ge=0)
    clip_norm: float = Field(1.0, ge=0)
    """Gradients longer than this are shortened to it; 0 leaves them."""
    ema_decay: float = Field(0.999, ge=0, lt=1)
    """Of the averaged weights that are validated and saved; starts lower and warms up to this."""
    drop_class: float = Field(0.1, ge=0, lt=1)
    """Share of the images shown without their class, so that guidance (cfg_scale) has something to lead away from."""
    balance: bool = True
    """Draw every class equally often instead of every image."""
    flips: bool = False
    """Mirror left-right and up-down; only where a mirrored part could be a real one."""
    quarter_turns: bool = False
    """Turn by 90, 180 or 270 degrees; only where parts lie in any direction."""
    val_share: float = Field(0.1, ge=0, le=0.5)
    """Share of each class held out where there is no folder of validation images; 0 holds none out."""
    keep: Literal["best", "last"] = "best"
    """Which weights are saved: those of the lowest validation loss, or the latest."""
    half: bool = False
    """Save weights in 16 bits: half the size, the same images to within a grey level."""
    save_every: int = Field(100, ge=1)
    """Steps between two validations; the state to go on from is saved at each."""
    sheet_every: int = Field(500, ge=0)
    """Steps between two sheets of sample images; 0 draws one at the end only."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    amp: bool = True
    """Mixed precision, on CUDA alone."""
    threads: int | None = Field(None, ge=1)
    """CPU threads of torch; None: as many as this process may use."""

    @model_validator(mode="after")
    def _refuse_no_end(self) -> TrainConfig:
        if self.steps is None and self.minutes is None:
            raise ValueError("no end: give --minutes or --steps")
        return self


NOT_COMPUTED = frozenset({"steps", "minutes", "sheet_every", "device", "amp", "threads", "half", "keep"})
"""Settings that may differ when an earlier training goes on."""


def make_config(**settings: Any) -> TrainConfig:
    """A `TrainConfig` from settings as a user gave them.

    Raises:
        SettingsError: a setting is unknown or out of range; the message names the first one at fault.
    """
    try:
        return TrainConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        words = first["msg"].removeprefix("Value error, ")
        if first["type"] == "value_error":
            raise SettingsError(words) from error
        raise SettingsError(f"{'.'.join(map(str, first['loc']))}: found {first['input']!r}; {words.lower()}") from error


def what_differs(there: dict[str, Any], asked: TrainConfig) -> str | None:
    """The first setting that decides what is computed and is not as asked for, in words; None when all are.

    Args:
        there: settings an earlier training was started with, as `model_dump(mode="json")` gave them.
        asked: the ones of now.
    """
    wanted = asked.model_dump(mode="json", exclude=set(NOT_COMPUTED))
    flat_there = {**there, **there.get("network", {})}
    flat_wanted = {**wanted, **wanted["network"]}
    for name, value in flat_wanted.items():
        if name != "network" and flat_there.get(name) != value:
            return f"{name} {flat_there.get(name)!r}, asked for {value!r}"
    return None


Flip = Literal["horizontal", "vertical"]
PrecisionChoice = Literal["auto", "fp32", "fp16", "bf16"]
Targets = Literal["attention", "transformer"]

_FREE = ("steps", "minutes", "save_every", "sample_every", "micro_batch", "gradient_checkpointing")
"""Settings that may differ when a training goes on: none of them changes what a step does."""


@dataclass(frozen=True)
class LoraSettings:
    """Settings of one training; `steps` and `minutes` end it, whichever comes first."""

    rank: int = 16
    """Width of the update; the file and its freedom grow with it."""
    alpha: float | None = None
    """The update is scaled by alpha / rank; None: as much as the rank."""
    targets: Targets = "attention"
    """Which layers of the UNet: its attention alone, or the whole of its transformer blocks."""
    text_encoder: bool = False
    """Adapt the text encoder too."""
    lr: float = 1e-4
    """Learning rate of the UNet's part."""
    text_encoder_lr: float = 5e-5
    """Learning rate of the text encoder's part."""
    warmup_steps: int = 50
    """Steps over which the learning rates rise to their values, which they then keep."""
    steps: int | None = 1500
    """Optimiser steps."""
    minutes: float | None = None
    """Time, without what is done once before the first step."""
    batch: int = 4
    """Images in an optimiser step."""
    micro_batch: int | None = None
    """Most images in memory at once, the gradients of a step added up; None: the whole batch."""
    size_px: int | None = None
    """Side of the square whose area images are scaled to; None: the base's own, 512 or 1024."""
    flips: tuple[Flip, ...] = ()
    """Mirrored copies that an image may be replaced by."""
    balance: bool = True
    """Draw classes equally often; otherwise images."""
    min_snr: float | None = None
    """Gamma of min-SNR weighting (arXiv 2303.09556), usually 5; None: every noise level counts as it comes."""
    clip_skip: int = 1
    """1: the text encoder's last layer; 2: the one before it. SDXL always takes the one before the last."""
    gradient_checkpointing: bool = False
    """Compute parts twice and hold less in memory."""
    precision: PrecisionChoice = "auto"
    """Of the frozen weights and of computing, on CUDA; the update itself is always fp32. On a CPU all is fp32."""
    seed: int = 0
    save_every: int = 250
    """Steps between two saved states."""
    sample_every: int = 0
    """Steps between two sheets of sample images; 0: none."""

    def __post_init__(self) -> None:
        positive = ("rank", "lr", "text_encoder_lr", "batch", "save_every", "clip_skip")
        optional = ("alpha", "steps", "minutes", "micro_batch", "size_px", "min_snr")
        for name in (*positive, *(name for name in optional if getattr(self, name) is not None)):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{_option(name)}: found {getattr(self, name)}; expected a value above 0")
        if self.steps is None and self.minutes is None:
            raise SettingsError("neither --steps nor --minutes; give at least one of them")
        if self.size_px is not None and self.size_px % 64:
            raise SettingsError(f"--size: found {self.size_px}; expected a multiple of 64, as 512, 768 or 1024")
        if self.warmup_steps < 0 or self.sample_every < 0 or self.seed < 0:
            raise SettingsError("--warmup-steps, --sample-every and --seed: expected 0 or more")

    @property
    def scale(self) -> float:
        """Alpha as a number."""
        return float(self.rank if self.alpha is None else self.alpha)

    def learning_rate_factor(self, step: int) -> float:
        """What the learning rates are multiplied by in a step, counted from 0."""
        return min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0

    def identity(self) -> dict[str, Any]:
        """What must be the same for a training to go on; plain JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._fixed().items()}

    def _fixed(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name not in _FREE}


def _option(name: str) -> str:
    return f"--{name.removesuffix('_px').replace('_', '-')}"


Precision = Literal["fp32", "fp16", "bf16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def choose_precision(asked: PrecisionChoice, device: torch.device) -> Precision:
    """The format for a device.

    "auto" takes bfloat16 where a GPU computes in it by itself, for it needs no scaling of the loss, else float16; a CPU
    computes in float32, everything else being slower there.

    Raises:
        SettingsError: half precision is asked for on a CPU.
    """
    if device.type != "cuda":
        if asked in ("fp16", "bf16"):
            raise SettingsError(
                f"--precision {asked}: only a CUDA device gains by it; use --precision fp32 on {device}"
            )
        return "fp32"
    if asked != "auto":
        return asked
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
