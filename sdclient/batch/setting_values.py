"""One setting as a user writes it, in a run file or after --set, checked and turned into what it means (pure)."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from pydantic import ValidationError

from ..errors import SettingsError
from .draws import DRAWN_DIGITS, Choice, Range
from .settings import GenerationSettings

SettingSpec: TypeAlias = "float | int | str | tuple[str, ...] | Choice | Range | None"
"""A plain value, several, or what one is drawn from."""

RUN_NAMES = ("seed", "batch_size")
"""Settings of the whole run, which no class or source can have of its own."""
DRAWN_NAMES = ("denoising_strength", "cfg_scale")
"""Settings that may be a list or a range."""
PROMPT_NAMES = ("prompt", "negative_prompt")
IMAGE_NAMES = tuple(name for name in GenerationSettings.model_fields if name not in RUN_NAMES)
"""Settings that a class or a source may have of its own."""

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

    Dashes in the name stand for underscores; prompts are taken as they are, commas and all.

    Raises:
        SettingsError: no "=", no such setting, or a value that cannot be.
    """
    name, equals, value = text.partition("=")
    name = name.strip().replace("-", "_")
    where = f"--set {text}"
    if not equals:
        raise SettingsError(f"{where}: expected name=value, as --set denoising_strength=0.2:0.3")
    return name, read_section({name: value}, where, (*IMAGE_NAMES, *RUN_NAMES))[name]


def read_section(values: Mapping[str, Any], where: str, allowed: Sequence[str]) -> dict[str, SettingSpec]:
    """The settings of one section.

    Args:
        values: by name, as the user wrote them.
        where: file and section, for messages.
        allowed: the names that may stand there.

    Raises:
        SettingsError: names the first at fault, what was found and what was expected.
    """
    for name in values:
        if name not in allowed:
            _refuse_name(name, values[name], where, allowed)
    return {name: read_value(name, value, where) for name, value in values.items()}


def read_value(name: str, value: object, where: str) -> SettingSpec:
    """One setting's value, of its own type.

    Raises:
        SettingsError: it cannot be; says what was expected.
    """
    if isinstance(value, (Choice, Range)):
        value = written(value)
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


def written(spec: SettingSpec) -> Any:
    """A setting as it stands in JSON or TOML: a plain value, a list, or {"min": ..., "max": ...}."""
    if isinstance(spec, Choice):
        return list(spec.values)
    if isinstance(spec, Range):
        return {"min": spec.low, "max": spec.high}
    return list(spec) if isinstance(spec, tuple) else spec


def near_names(name: str, known: Sequence[str]) -> str:
    """Words to put after "there is no such name": the near ones, or those there are."""
    if not known:
        return "there are none"
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    shown = list(known[:_SHOWN_NAMES])
    return f"expected one of {', '.join(shown)}" + (", ..." if len(known) > len(shown) else "")


def _split(text: str) -> object:
    """The text of a list or a range in the form that a TOML array or table gives."""
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
    """A value that `GenerationSettings` takes for this field, of that field's type (hence Any)."""
    if isinstance(value, bool):  # which pydantic would take for 0 or 1
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
    raise SettingsError(f"{where}: unknown setting {name!r}; {near_names(name, allowed)}")
