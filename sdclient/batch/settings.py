"""Settings of a run and of one image, values as users write them, and options of a run."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..errors import SettingsError
from ..loras import lora_tag, with_loras
from ..masks.mask import Unmasked
from ..models.generation import SIZE_MULTIPLE_PX
from ..output.artifacts import ImageCheck, find_artifacts
from ..output.planned_images import DRAWN_DIGITS, Choice, Range

SMALLEST_NATIVE_PX = 64
LARGEST_RUN_SEED = 2**63 - 1

InpaintFill: TypeAlias = Literal["original", "fill", "latent-noise", "latent-nothing"]
InpaintArea: TypeAlias = Literal["masked", "whole"]


class GenerationSettings(BaseModel):
    """Settings of every image of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    denoising_strength: float = Field(0.25, ge=0, le=1)
    """How far a result may differ from its source; 0.2-0.3 keeps a defect a defect."""
    sampler: str = "DPM++ SDE Karras"
    """Sampler, with or without its schedule; "Euler a" gave edges like oil paint, this one is slower and more real."""
    scheduler: str | None = None
    """Schedule, if the sampler's name does not contain it."""
    steps: int = Field(20, ge=1)
    """Sampling steps; img2img runs about `denoising_strength` times as many."""
    cfg_scale: float = Field(7.0, ge=0)
    """How strictly the model follows the prompt."""
    prompt: str = ""
    """What the images show."""
    negative_prompt: str = ""
    """What the images do not show."""
    loras: tuple[str, ...] = ()
    """LoRAs to use, each "name" or "name:weight"; they are appended to the prompt."""
    seed: int = Field(0, ge=0, le=LARGEST_RUN_SEED)
    """Seed of the run; it decides the seed of every image."""
    native_px: int | None = Field(None, ge=SMALLEST_NATIVE_PX, multiple_of=SIZE_MULTIPLE_PX)
    """Side of the square the model was trained on; too small gives rainbow colours. None: guessed by its name."""
    inpaint_fill: InpaintFill = "original"
    """Initial content of the masked area: the source, its surroundings, noise, or nothing."""
    inpaint_area: InpaintArea = "masked"
    """Repaint the mask's surroundings alone, enlarged to the model's size, or the whole image."""
    inpaint_padding: int = Field(32, ge=0)
    """With the area "masked": context around the mask, in px of the source."""
    mask_blur: int = Field(2, ge=0)
    """Minimum width of a mask's soft edge, in px of the source; a mask with a wider one keeps it."""
    batch_size: int = Field(4, ge=1)
    """Images of one source in one request; changes pixels by rounding at most, so it may differ on resuming."""

    @field_validator("loras", mode="before")
    @classmethod
    def _split_loras(cls, value: object) -> object:
        return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("loras")
    @classmethod
    def _check_lora_tags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
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
        """Parameters of an image without a mask, with LoRAs in the prompt; placeholders are not filled in."""
        values = self.model_dump(exclude={*INPAINTING_NAMES, "loras", "seed", "batch_size"})
        return ImageParameters(**{**values, "prompt": with_loras(self.prompt, self.loras)})

    def parameters_with(self, mask_sha256: str) -> ImageParameters:
        """Parameters of an image with a mask."""
        inpainting = Inpainting(**self.model_dump(include=set(INPAINTING_NAMES)), mask_sha256=mask_sha256)
        return replace(self.parameters, inpainting=inpainting)


@dataclass(frozen=True)
class GenerateOptions:
    """How one start of a run works. A later start on the same output may have other options.

    Only `masks` and `unmasked` affect the images: which are made inside a mask, and which are left out.
    """

    max_in_flight: int = 3
    """Requests at a server at once: it works on one, the others wait there."""
    tries: int = 3
    """How often an image is tried before it is marked as failed."""
    patience_s: float = 600.0
    """How long to wait for an image while servers are away."""
    durable: bool = False
    """Wait for the disk after each image, so that a power failure loses nothing."""
    allow_mixed: bool = False
    """Accept servers with different models."""
    check: ImageCheck | None = find_artifacts
    """Finds unusable images (black, uniform, rainbow noise), which count as failed tries; None keeps all."""
    masks: Path | None = None
    """Folder of masks (`sdclient mask`): images are repainted inside them and equal their source outside."""
    unmasked: Unmasked = "refuse"
    """With masks: what to do with sources that have none."""


INPAINTING_NAMES = ("inpaint_fill", "inpaint_area", "inpaint_padding", "mask_blur")
"""Settings that apply only to sources with a mask."""


@dataclass(frozen=True, slots=True)
class Inpainting:
    """How an image is repainted inside its mask; fields as in `GenerationSettings`."""

    inpaint_fill: InpaintFill
    inpaint_area: InpaintArea
    inpaint_padding: int
    mask_blur: int
    mask_sha256: str
    """Of the mask file's bytes: another mask gives another image."""


@dataclass(frozen=True, slots=True)
class ImageParameters:
    """Values that change pixels; fields as in `GenerationSettings`.

    Images of one source with equal parameters can share a request.
    """

    denoising_strength: float
    sampler: str
    scheduler: str | None
    steps: int
    cfg_scale: float
    prompt: str
    """As it is sent: placeholders and wildcards are filled in."""
    negative_prompt: str
    native_px: int | None
    """None: guessed by the model's name."""
    inpainting: Inpainting | None = None
    """None: the whole image is generated anew."""


SettingSpec: TypeAlias = "float | int | str | tuple[str, ...] | Choice | Range | None"
"""A plain value, several values, or what a value is drawn from."""

RUN_NAMES = ("seed", "batch_size")
"""Settings of the whole run; they cannot differ by class or source."""
DRAWN_NAMES = ("denoising_strength", "cfg_scale")
"""Settings whose value may be drawn from a list or a range."""
PROMPT_NAMES = ("prompt", "negative_prompt")
IMAGE_NAMES = tuple(name for name in GenerationSettings.model_fields if name not in RUN_NAMES)
"""Settings that may differ by class or source."""

_SHOWN_NAMES = 12
_EXPECTED = {
    "denoising_strength": 'a number from 0 to 1, a list of them, or a range as "0.2:0.3"',
    "cfg_scale": 'a number from 0 on, a list of them, or a range as "5:8"',
    "sampler": "a sampler's name",
    "scheduler": "a schedule's name",
    "steps": "a whole number from 1 on",
    "prompt": "a text",
    "negative_prompt": "a text",
    "loras": 'a list of texts, each NAME or NAME:WEIGHT, as ["defects:0.8"]',
    "seed": "a whole number from 0 to 2^63 - 1",
    "inpaint_fill": "a text: original, fill, latent-noise or latent-nothing",
    "inpaint_area": "a text: masked or whole",
    "inpaint_padding": "a whole number of px from 0 on",
    "mask_blur": "a whole number of px from 0 on",
    "native_px": "a multiple of 8 from 64 on, as 512, 768 or 1024",
    "batch_size": "a whole number from 1 on",
}


def parse_assignment(text: str) -> tuple[str, SettingSpec]:
    """Read "name=value", as after --set: a value, a list "0.2,0.25,0.3" or a range "0.2:0.3".

    Dashes in the name are read as underscores; commas in prompts stay.

    Raises:
        SettingsError: no "=", an unknown setting, or an invalid value.
    """
    name, equals, value = text.partition("=")
    name = name.strip().replace("-", "_")
    where = f"--set {text}"
    if not equals:
        raise SettingsError(f"{where}: expected name=value, as --set denoising_strength=0.2:0.3")
    return name, read_section({name: value}, where, (*IMAGE_NAMES, *RUN_NAMES))[name]


def read_section(values: Mapping[str, Any], where: str, allowed: Sequence[str]) -> dict[str, SettingSpec]:
    """Read the settings of one section; `where` names file and section in messages.

    Raises:
        SettingsError: names the first invalid one, what was found and what was expected.
    """
    for name in values:
        if name not in allowed:
            _refuse_name(name, values[name], where, allowed)
    return {name: parse_value(name, value, where) for name, value in values.items()}


def parse_value(name: str, value: object, where: str) -> SettingSpec:
    """One setting's value in its type.

    Raises:
        SettingsError: an invalid value; says what was expected.
    """
    if isinstance(value, (Choice, Range)):
        value = to_plain(value)
    if name in DRAWN_NAMES:
        if isinstance(value, str):
            value = _split(value)
        if isinstance(value, Mapping):
            return _range(name, value, where)
        if isinstance(value, (list, tuple)):
            if not value:
                raise SettingsError(f"{where}: {name} is an empty list; give at least one number")
            return Choice(tuple(_plain(name, item, where) for item in value))
    plain: SettingSpec = _plain(name, value, where)
    return plain


def to_plain(spec: SettingSpec) -> Any:
    """A setting as in JSON or TOML: a plain value, a list, or {"min": ..., "max": ...}."""
    if isinstance(spec, Choice):
        return list(spec.values)
    if isinstance(spec, Range):
        return {"min": spec.low, "max": spec.high}
    return list(spec) if isinstance(spec, tuple) else spec


def suggest_names(name: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown name: similar names, or the known ones."""
    if not known:
        return "there are none"
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    shown = list(known[:_SHOWN_NAMES])
    return f"expected one of {', '.join(shown)}" + (", ..." if len(known) > len(shown) else "")


def _split(text: str) -> object:
    """A list or a range in text form, as the value that TOML would give."""
    if ":" in text:
        low, _, high = text.partition(":")
        return {"min": low.strip(), "max": high.strip()}
    return [item.strip() for item in text.split(",")] if "," in text else text


def _range(name: str, value: Mapping[Any, Any], where: str) -> Range:
    if set(value) != {"min", "max"}:
        _refuse_value(name, dict(value), where, "a range as {min = 0.2, max = 0.3}")
    low, high = (_plain(name, value[end], where) for end in ("min", "max"))
    for end in (low, high):
        if round(end, DRAWN_DIGITS) != end:
            _refuse_value(name, end, where, f"ends of a range with at most {DRAWN_DIGITS} digits after the point")
    if low > high:
        raise SettingsError(
            f"{where}: {name}: the range's lower end {low:g} is above its upper end {high:g}; swap them"
        )
    return Range(low, high)


def _plain(name: str, value: object, where: str) -> Any:
    """The value that `GenerationSettings` reads for this field, in that field's type (hence Any)."""
    if isinstance(value, bool):  # pydantic would read it as 0 or 1
        _refuse_value(name, value, where)
    try:
        plain = getattr(GenerationSettings.model_validate({name: value}), name)
    except ValidationError:
        _refuse_value(name, value, where)
    if isinstance(plain, float) and not math.isfinite(plain):
        _refuse_value(name, value, where)
    return plain


def _refuse_value(name: str, value: object, where: str, expected: str | None = None) -> NoReturn:
    raise SettingsError(f"{where}: {name} is {value!r}; expected {expected or _EXPECTED[name]}")


def _refuse_name(name: str, value: object, where: str, allowed: Sequence[str]) -> NoReturn:
    if name in RUN_NAMES:
        raise SettingsError(
            f"{where}: {name} holds for the whole run and cannot stand here; move it above the first [section]"
        )
    if isinstance(value, Mapping) and name not in DRAWN_NAMES:
        raise SettingsError(
            f'{where}: unknown section {name!r}; expected [class."<name>"], [source."<class>/<file>"] or '
            "[wildcards]; names with dots or other signs need the quotes"
        )
    raise SettingsError(f"{where}: unknown setting {name!r}; {suggest_names(name, allowed)}")
