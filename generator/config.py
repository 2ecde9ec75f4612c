"""Settings of a diffusion training and of a LoRA."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import SettingsError

NORM_GROUPS = 32
"""Groups in which a network normalises its channels; the default of all networks of diffusers."""


class NetworkConfig(BaseModel):
    """The shape of the network; weights of another shape do not fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_px: int = Field(64, ge=16, le=1024)
    """Side of the square images it is trained on."""
    packing: Literal[1, 2, 4, 8] = 4
    """A square with this side becomes the channels of one position: at 64 px, 4 gives 16 x 16 positions, five times as
    fast on a CPU as 64 x 64."""
    widths: tuple[int, ...] = (96, 128, 192)
    """Channels of its levels, from the finest to the coarsest; each level halves the resolution."""
    layers: int = Field(2, ge=1, le=4)
    """Residual blocks per level."""
    head_channels: int = Field(32, ge=1)
    """Channels of an attention head; every level except the first has attention."""

    @property
    def multiple_px(self) -> int:
        """The sides of images must be a multiple of this."""
        return self.packing * int(2 ** (len(self.widths) - 1))

    @model_validator(mode="after")
    def _refuse_impossible_shapes(self) -> NetworkConfig:
        if not 1 <= len(self.widths) <= 5:
            raise ValueError(f"widths: {len(self.widths)} levels; expected 1 to 5")
        groups = min(NORM_GROUPS, *self.widths)
        for width in self.widths:
            if width < 1 or width % groups or (width % self.head_channels and width > self.head_channels):
                raise ValueError(
                    f"widths: {width} is not a multiple of {groups} (groups that are normalised) and of "
                    f"{self.head_channels} (channels of a head); take another"
                )
        if self.size_px % self.multiple_px:
            lower = max(self.multiple_px, self.size_px - self.size_px % self.multiple_px)
            raise ValueError(
                f"size_px: {self.size_px} is not a multiple of {self.multiple_px}, which packing {self.packing} and "
                f"{len(self.widths)} levels need; take {lower} or {lower + self.multiple_px}"
            )
        return self


class TrainConfig(BaseModel):
    """All settings of a training from scratch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: NetworkConfig = NetworkConfig()
    steps: int | None = Field(None, ge=1)
    """Give `steps`, `minutes` or both; with both, the first one reached ends the training."""
    minutes: float | None = Field(None, gt=0)
    """The time of earlier starts of the same training counts too."""
    batch_size: int = Field(32, ge=1)
    seed: int = Field(0, ge=0, lt=2**32)
    lr: float = Field(5e-4, gt=0, le=1)
    """Highest learning rate."""
    warmup_steps: int = Field(50, ge=0)
    decay_share: float = Field(0.3, ge=0, le=1)
    """Over this last share of the training, the learning rate falls to a hundredth along a cosine."""
    weight_decay: float = Field(0.01, ge=0)
    clip_norm: float = Field(1.0, ge=0)
    """Largest norm of the gradient; 0 does not clip."""
    ema_decay: float = Field(0.999, ge=0, lt=1)
    """Decay of the averaged weights, which are validated and saved; it warms up to this value."""
    drop_class: float = Field(0.1, ge=0, lt=1)
    """Share of the images shown without their class; guidance (cfg_scale) needs a prediction without a class."""
    balance: bool = True
    """Draw every class equally often instead of every image."""
    flips: bool = False
    """Mirror left-right and up-down; only if a mirrored part could be a real one."""
    quarter_turns: bool = False
    """Turn by 90, 180 or 270 degrees; only if parts may lie in any direction."""
    val_share: float = Field(0.1, ge=0, le=0.5)
    """Share of each class that is held out if there is no folder of validation images."""
    keep: Literal["best", "last"] = "best"
    """Which weights are saved: those of the lowest validation loss, or the latest."""
    half: bool = False
    """Save weights in 16 bits: half the size; images differ by at most one grey level."""
    save_every: int = Field(100, ge=1)
    """Steps between two validations; the state for resuming is saved at each."""
    sheet_every: int = Field(500, ge=0)
    """Steps between two sheets of sample images; 0 draws one at the end only."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    amp: bool = True
    """Mixed precision, on CUDA only."""
    threads: int | None = Field(None, ge=1)
    """CPU threads of torch; None: as many as this process may use."""

    @model_validator(mode="after")
    def _refuse_no_end(self) -> TrainConfig:
        if self.steps is None and self.minutes is None:
            raise ValueError("no end: give --minutes or --steps")
        return self


NOT_COMPUTED = frozenset({"steps", "minutes", "sheet_every", "device", "amp", "threads", "half", "keep"})
"""Settings that may change when a training is resumed."""


def make_config(**settings: Any) -> TrainConfig:
    """A `TrainConfig` from a user's settings.

    Raises:
        SettingsError: a setting is unknown or out of range; the message names the first.
    """
    try:
        return TrainConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        words = first["msg"].removeprefix("Value error, ")
        if first["type"] == "value_error":
            raise SettingsError(words) from error
        raise SettingsError(f"{'.'.join(map(str, first['loc']))}: found {first['input']!r}; {words.lower()}") from error


def what_differs(earlier: dict[str, Any], config: TrainConfig) -> str | None:
    """The first setting that differs from an earlier `model_dump(mode="json")`, in words; None if all agree."""
    wanted = config.model_dump(mode="json", exclude=set(NOT_COMPUTED))
    flat_earlier = {**earlier, **earlier.get("network", {})}
    for name, value in {**wanted, **wanted["network"]}.items():
        if name != "network" and flat_earlier.get(name) != value:
            return f"{name} {flat_earlier.get(name)!r}, asked for {value!r}"
    return None


Flip = Literal["horizontal", "vertical"]
PrecisionChoice = Literal["auto", "fp32", "fp16", "bf16"]
Targets = Literal["attention", "transformer"]

_MAY_CHANGE = ("steps", "minutes", "save_every", "sample_every", "micro_batch", "gradient_checkpointing")
"""Settings that may change when a training is resumed: none of them changes what a step computes."""


@dataclass(frozen=True)
class LoraSettings:
    """All settings of a LoRA training; `steps` or `minutes` ends it, whichever is reached first."""

    rank: int = 16
    """Rank of the update; a higher rank can learn more and makes the file larger."""
    alpha: float | None = None
    """The update is scaled by alpha / rank; None: equal to the rank."""
    targets: Targets = "attention"
    """Layers of the UNet to adapt: only its attention, or its whole transformer blocks."""
    text_encoder: bool = False
    """Adapt the text encoder too."""
    lr: float = 1e-4
    """Learning rate of the UNet."""
    text_encoder_lr: float = 5e-5
    warmup_steps: int = 50
    """Steps over which the learning rates rise; they are constant afterwards."""
    steps: int | None = 1500
    """Optimiser steps."""
    minutes: float | None = None
    """Training time, without the preparation before the first step."""
    batch: int = 4
    """Images per optimiser step."""
    micro_batch: int | None = None
    """Most images in memory at once; gradients are added up over a step. None: the whole batch."""
    size_px: int | None = None
    """Images are scaled to the area of a square with this side; None: the base model's, 512 or 1024."""
    flips: tuple[Flip, ...] = ()
    """Directions in which images are mirrored at random."""
    balance: bool = True
    """Draw every class equally often instead of every image."""
    min_snr: float | None = None
    """Gamma of min-SNR weighting (arXiv 2303.09556), usually 5; None: equal weight for every noise level."""
    clip_skip: int = 1
    """1: the text encoder's last layer, 2: the one before it. SDXL always uses the one before the last."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them in memory."""
    precision: PrecisionChoice = "auto"
    """Of the frozen weights and of the computation, on CUDA. The update, and everything on a CPU, is fp32."""
    seed: int = 0
    save_every: int = 250
    """Steps between two saved states."""
    sample_every: int = 0
    """Steps between two sheets of sample images; 0 draws none."""

    def __post_init__(self) -> None:
        positive = ("rank", "lr", "text_encoder_lr", "batch", "save_every", "clip_skip")
        optional = ("alpha", "steps", "minutes", "micro_batch", "size_px", "min_snr")
        for name in (*positive, *(name for name in optional if getattr(self, name) is not None)):
            if not getattr(self, name) > 0:
                option = f"--{name.removesuffix('_px').replace('_', '-')}"
                raise SettingsError(f"{option}: found {getattr(self, name)}; expected a value above 0")
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
        """Factor of the learning rates in a step; steps count from 0."""
        return min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0

    def identity(self) -> dict[str, Any]:
        """The settings that must not change when a training is resumed, as plain JSON."""
        fixed = {name: value for name, value in asdict(self).items() if name not in _MAY_CHANGE}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fixed.items()}


Precision = Literal["fp32", "fp16", "bf16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def choose_precision(choice: PrecisionChoice, device: torch.device) -> Precision:
    """The number format for a device.

    "auto" is bfloat16 if the GPU supports it, because it needs no scaling of the loss, otherwise float16; on a CPU it
    is float32, because other formats are slower there.

    Raises:
        SettingsError: half precision is asked for on a CPU.
    """
    if device.type != "cuda":
        if choice in ("fp16", "bf16"):
            raise SettingsError(
                f"--precision {choice}: only a CUDA device gains by it; use --precision fp32 on {device}"
            )
        return "fp32"
    if choice != "auto":
        return choice
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
