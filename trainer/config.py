"""How a classifier is trained: frozen settings, saved as `config.json` with every run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import ConfigError

MODELS = ("yolov5n-cls", "yolov5s-cls", "yolov5m-cls", "yolov5l-cls", "yolov5x-cls")
"""From small and fast to large and slow."""

DEVICES = ("auto", "cpu", "cuda")

IMGSZ_MULTIPLE_PX = 32
"""The network halves the image five times."""


class AugmentConfig(BaseModel):
    """How training images are varied; the whole defect stays in the picture and colours keep their hue.

    A hue change is left out on purpose: discoloration and oxidation are defects by their colour.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flips: bool = True
    """Mirror left-right and up-down, each for half of the images."""
    quarter_turns: bool = True
    """Turn by 0, 90, 180 or 270 degrees."""
    warp_rate: float = Field(0.5, ge=0, le=1)
    """Share of the images that are turned, scaled and shifted by the amounts below."""
    rotation_degrees: float = Field(10.0, ge=0, le=45)
    """At most this far either way."""
    scale: float = Field(0.1, ge=0, le=0.5)
    """Enlarged or shrunk by at most this share."""
    shift: float = Field(0.08, ge=0, le=0.5)
    """Moved by at most this share of the side; the border repeats its mirror image."""
    brightness: float = Field(0.1, ge=0, le=1)
    """Made lighter or darker by at most this share of the full range."""
    contrast: float = Field(0.15, ge=0, le=1)
    """Contrast around the image's own mean changed by at most this share."""


class TrainConfig(BaseModel):
    """Everything that decides what a training computes, apart from its data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Literal["yolov5n-cls", "yolov5s-cls", "yolov5m-cls", "yolov5l-cls", "yolov5x-cls"] = "yolov5n-cls"
    epochs: int = Field(30, ge=1)
    imgsz: int = Field(64, ge=32, multiple_of=IMGSZ_MULTIPLE_PX)
    """Side in pixels of the square every image is resized to."""
    batch_size: int = Field(32, ge=2)
    seed: int = Field(0, ge=0, lt=2**32)
    lr: float = Field(1e-3, gt=0, le=1)
    """Highest learning rate, reached at the end of the warm-up; a cosine then takes it down to a hundredth."""
    weight_decay: float = Field(0.05, ge=0)
    """Decoupled (AdamW), on weights of convolutions and of the head alone."""
    warmup_epochs: float = Field(2.0, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    ema_decay: float = Field(0.99, ge=0, lt=1)
    """Of the averaged weights that are validated and saved; starts lower and warms up to this."""
    balance: bool = False
    """Draw every class equally often instead of every image: fewer misses, far more overkill."""
    images_per_epoch: int | None = Field(None, ge=2)
    """Images seen in an epoch; None: each training image once. The same number gives two arms equal steps."""
    threads: int = Field(1, ge=1)
    """CPU threads of torch. Small images do not gain from more."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    weights: str | None = None
    """Checkpoint of ours to start from instead of fresh weights."""
    augment: AugmentConfig = AugmentConfig()


def make_config(**settings: Any) -> TrainConfig:
    """A `TrainConfig` from settings as a user gave them.

    Raises:
        ConfigError: a setting is unknown or out of range; the message names the first one at fault.
    """
    try:
        return TrainConfig(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{name}: found {first['input']!r}; {first['msg'].lower()}") from error
