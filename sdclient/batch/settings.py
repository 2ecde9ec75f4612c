"""The settings of a run, fixed for a whole output folder; and the options of one start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..errors import SettingsError
from ..loras import lora_tag, with_loras
from ..models import SIZE_MULTIPLE_PX
from .parameters import INPAINTING_NAMES, ImageParameters, InpaintArea, InpaintFill, Inpainting
from .spoiled import find_artifacts

if TYPE_CHECKING:
    from .finish import Check
    from .mask_files import Unmasked

SMALLEST_NATIVE_PX = 64
LARGEST_RUN_SEED = 2**63 - 1


class GenerationSettings(BaseModel):
    """What every image of a run is made with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    denoising_strength: float = Field(0.25, ge=0, le=1)
    """How far a result may leave its source; 0.2-0.3 keeps a defect a defect."""
    sampler: str = "DPM++ SDE Karras"
    """Sampler, alone or with its schedule; "Euler a" gave oil-painted edges, this one is slower and more real."""
    scheduler: str | None = None
    """Schedule, where the sampler's name does not hold it."""
    steps: int = Field(20, ge=1)
    """Sampling steps; about `denoising_strength` times as many run."""
    cfg_scale: float = Field(7.0, ge=0)
    """How strictly the prompt is followed."""
    prompt: str = ""
    """What the pictures show."""
    negative_prompt: str = ""
    """What they do not show."""
    loras: tuple[str, ...] = ()
    """LoRAs to use, each "name" or "name:weight"; they go behind the prompt."""
    seed: int = Field(0, ge=0, le=LARGEST_RUN_SEED)
    """Run seed, from which every image's own seed follows."""
    native_px: int | None = Field(None, ge=SMALLEST_NATIVE_PX, multiple_of=SIZE_MULTIPLE_PX)
    """Side of the square the model was trained on, too small gives rainbow colours; None goes by its name."""
    inpaint_fill: InpaintFill = "original"
    """What the area inside a mask starts from: the source, its surroundings, noise, or nothing."""
    inpaint_area: InpaintArea = "masked"
    """Repaint the mask's surroundings alone, enlarged to the model's size, or the whole picture."""
    inpaint_padding: int = Field(32, ge=0)
    """With the area "masked": context around the mask, in px of the source."""
    mask_blur: int = Field(2, ge=0)
    """How softly a mask at least ends, in px of the source; a mask that has a feather of its own keeps it."""
    batch_size: int = Field(4, ge=1)
    """Images of one source made at once; changes no pixel by more than rounding, so it may differ on resuming."""

    @field_validator("loras", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("loras")
    @classmethod
    def _can_be_asked_for(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            lora_tag(text)
        return tuple(text.strip() for text in value)

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> GenerationSettings:
        """Make settings out of a user's values.

        Raises:
            SettingsError: names the first value at fault and what was expected.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(str(part) for part in first["loc"])
            raise SettingsError(f"{name.replace('_', '-')}: {first['input']!r}: {first['msg']}") from error

    @property
    def parameters(self) -> ImageParameters:
        """What an image without a mask is made with, LoRAs behind the prompt; prompts as they stand here."""
        values = self.model_dump(exclude={*INPAINTING_NAMES, "loras", "seed", "batch_size"})
        return ImageParameters(**{**values, "prompt": with_loras(self.prompt, self.loras)})

    def parameters_with(self, mask_sha256: str) -> ImageParameters:
        """What an image with a mask is made with."""
        inpainting = Inpainting(**self.model_dump(include=set(INPAINTING_NAMES)), mask_sha256=mask_sha256)
        return replace(self.parameters, inpainting=inpainting)


@dataclass(frozen=True)
class GenerateOptions:
    """How one start of a run goes about its work. A later start on the same output may have other options.

    Only `masks` and `unmasked` decide about images: which are made inside a mask, and which are left out.
    """

    max_in_flight: int = 3
    """Requests at a server at once: one it works on, the others waiting behind its lock."""
    tries: int = 3
    """How often an image is tried before it is marked as failed."""
    patience_s: float = 600.0
    """How long to go on without an image while servers are away."""
    durable: bool = False
    """Wait for the disk at each image, so that even a loss of power undoes nothing."""
    allow_mixed: bool = False
    """Take servers with different models."""
    check: Check | None = find_artifacts
    """Finds spoiled images (black, uniform, rainbow noise), which count as failed tries; None keeps all."""
    masks: Path | None = None
    """Folder of masks (`sdclient mask`): images are repainted inside them, and are their source elsewhere."""
    unmasked: Unmasked = "refuse"
    """With masks, what to do about sources that have none."""
