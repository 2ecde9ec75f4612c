"""How a report is made: frozen settings, printed with it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import SettingsError
from ..sampling import GUIDANCE, STEPS
from .strengths import CHANGE_RATE, KEEP_RATE

SAMPLER = "DPM++ 2M Karras"
"""What a WebUI calls how `sampling.sample` goes."""


class ReportSettings(BaseModel):
    """Everything that decides what a report computes, apart from model, data and classifier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strengths: tuple[float, ...] = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """Growing, each above 0 and below 1."""
    asked: tuple[float, float] = (0.25, 0.5)
    """From and to which strength the question of keeping and changing is answered."""
    per_class: int = Field(24, ge=2)
    """Sources of each class, fewer where there are fewer, and pictures of each class out of noise."""
    k: int = Field(3, ge=1, le=20)
    """The neighbour that gives the radius of a ball of the manifold."""
    keep_rate: float = Field(KEEP_RATE, gt=0, le=1)
    change_rate: float = Field(CHANGE_RATE, gt=0, le=1)
    steps: int = Field(STEPS, ge=2, le=1000)
    cfg_scale: float = Field(GUIDANCE, ge=1, le=30)
    draws: int = Field(200, ge=20)
    """Halves drawn for the intervals of precision, recall and kernel distance."""
    seed: int = Field(0, ge=0, lt=2**31)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = Field(None, ge=1)
    """CPU threads; None: as many as this process may use."""

    @model_validator(mode="after")
    def _refuse_disorder(self) -> ReportSettings:
        if not self.strengths or any(not 0 < one < 1 for one in self.strengths):
            raise ValueError(f"strengths: found {self.strengths}; expected one or more above 0 and below 1")
        if list(self.strengths) != sorted(set(self.strengths)):
            raise ValueError(f"strengths: found {self.strengths}; expected growing ones, each once")
        return self


def make_settings(**settings: Any) -> ReportSettings:
    """`ReportSettings` from what a user gave.

    Raises:
        SettingsError: a setting is out of range; the message names the first one at fault.
    """
    try:
        return ReportSettings.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        words = first["msg"].removeprefix("Value error, ")
        if first["type"] == "value_error":
            raise SettingsError(words) from error
        raise SettingsError(f"{'.'.join(map(str, first['loc']))}: found {first['input']!r}; {words.lower()}") from error
