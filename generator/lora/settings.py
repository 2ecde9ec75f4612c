"""What a LoRA is trained with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..errors import SettingsError

Flip = Literal["horizontal", "vertical"]
Precision = Literal["auto", "fp32", "fp16", "bf16"]
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
    """Pictures in an optimiser step."""
    micro_batch: int | None = None
    """Most pictures in memory at once, the gradients of a step added up; None: the whole batch."""
    size_px: int | None = None
    """Side of the square whose area pictures are scaled to; None: the base's own, 512 or 1024."""
    flips: tuple[Flip, ...] = ()
    """Mirrored copies that a picture may be replaced by."""
    balance: bool = True
    """Draw classes equally often; otherwise pictures."""
    min_snr: float | None = None
    """Gamma of min-SNR weighting (arXiv 2303.09556), usually 5; None: every noise level counts as it comes."""
    clip_skip: int = 1
    """1: the text encoder's last layer; 2: the one before it. SDXL always takes the one before the last."""
    gradient_checkpointing: bool = False
    """Compute parts twice and hold less in memory."""
    precision: Precision = "auto"
    """Of the frozen weights and of computing, on CUDA; the update itself is always fp32. On a CPU all is fp32."""
    seed: int = 0
    save_every: int = 250
    """Steps between two saved states."""
    sample_every: int = 0
    """Steps between two sheets of sample pictures; 0: none."""

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
