"""What every image of a transplant run is made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..batch.settings import LARGEST_RUN_SEED
from ..errors import SettingsError

Onto = Literal["good", "own", "both"]
Blend = Literal["auto", "feather", "clone", "mixed"]
Tone = Literal["full", "mean", "none"]

SMALLEST_SCALE, LARGEST_SCALE = 0.25, 4.0


class ComposeSettings(BaseModel):
    """Fixed for a whole output folder; all of it changes pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    onto: Onto = "good"
    """On a good image, elsewhere on the defect's own picture, or the two by turns."""
    rotation_degrees: float = Field(180.0, ge=0, le=180, allow_inf_nan=False)
    """A defect is turned by up to this, to either side."""
    right_angles: bool = False
    """Turned by quarter turns alone, none further than `rotation_degrees`: no pixel is computed anew."""
    scale: tuple[float, float] = (0.9, 1.1)
    """Smallest and largest size, as multiples of the defect's own."""
    flip: bool = True
    """Mirrored by chance."""
    copies: tuple[int, int] = (1, 1)
    """Fewest and most places of one image that the defect is put at."""
    tone: Tone = "full"
    """Its surroundings' level and contrast are brought to the new place's, the level alone, or neither."""
    blend: Blend = "auto"
    """How it is joined: by its own soft edge, cv2's seamless cloning (normal or mixed), or the one with less seam."""
    match_limit: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Highest mismatch of the surroundings that a place may have; None: the usual one, and none where an allowed area
    says where."""
    tighten: bool = True
    """A mask that is a plain box is drawn in to what differs in it from its surroundings."""
    grow_px: int = Field(2, ge=0, le=500)
    """The mask is grown by this before the cut."""
    feather_px: int = Field(3, ge=0, le=500)
    """Width of its soft edge."""
    seed: int = Field(0, ge=0, le=LARGEST_RUN_SEED)
    """Run seed, from which every draw follows."""

    @field_validator("scale")
    @classmethod
    def _check_scale(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not SMALLEST_SCALE <= value[0] <= value[1] <= LARGEST_SCALE:
            raise ValueError(f"expected LOW:HIGH from {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}, as 0.9:1.1")
        return value

    @field_validator("copies")
    @classmethod
    def _check_copies(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= value[0] <= value[1]:
            raise ValueError("expected LOW:HIGH with 1 or more, as 1:2")
        return value

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> ComposeSettings:
        """Make settings out of a user's values.

        Raises:
            SettingsError: names the first value at fault and what was expected.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0]).replace("_", "-")
            raise SettingsError(f"{name}: {first['input']!r}: {first['msg']}") from error
