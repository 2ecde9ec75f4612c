"""Parameters of each image of a source: drawn numbers, placeholders and wildcards in prompts."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from ..errors import SettingsError
from ..loras import with_loras
from ..output.planned_images import Choice, Range, draw_index, draw_number
from ..sources.source import Source
from .settings import INPAINTING_NAMES, PROMPT_NAMES, ImageParameters, Inpainting, SettingSpec


class ParameterResolver:
    """Turns a source's settings, before anything is drawn, into the parameters of each of its images."""

    def __init__(
        self,
        source: Source,
        settings: Mapping[str, SettingSpec],
        wildcards: Mapping[str, tuple[str, ...]],
        mask_sha256: str | None,
    ) -> None:
        self._wildcards = wildcards
        self._placeholder_values = {"class": source.class_name, "number": source.number}
        self._loras = cast("tuple[str, ...]", settings["loras"])
        self._drawn = {name: spec for name, spec in settings.items() if isinstance(spec, (Choice, Range))}
        prompts = {name: str(settings[name]) for name in PROMPT_NAMES}
        self._differing_prompts = {
            name: text for name, text in prompts.items() if _WILDCARD.search(text) is not None or "{k}" in text
        }
        self._shared: dict[str, Any] = {
            name: spec
            for name, spec in settings.items()
            if name not in {"loras", *INPAINTING_NAMES, *self._drawn, *self._differing_prompts}
        }
        for name in prompts.keys() - self._differing_prompts.keys():
            self._shared[name] = self._prompt(name, prompts[name], k=1, seed=0)
        if mask_sha256 is not None:
            inpainting: dict[str, Any] = {name: settings[name] for name in INPAINTING_NAMES}
            self._shared["inpainting"] = Inpainting(**inpainting, mask_sha256=mask_sha256)
        self._common_parameters = None if self._drawn or self._differing_prompts else ImageParameters(**self._shared)

    def parameters_for(self, k: int, seed: int) -> ImageParameters:
        """Parameters of one image; the same object for all images if nothing differs between them.

        `k` is the image's number, from 1, which fills {k} in prompts; `seed` decides all draws.
        """
        if self._common_parameters is not None:
            return self._common_parameters
        own: dict[str, Any] = {name: draw_number(spec, seed, name) for name, spec in self._drawn.items()}
        for name, text in self._differing_prompts.items():
            own[name] = self._prompt(name, text, k=k, seed=seed)
        return ImageParameters(**self._shared, **own)

    def _prompt(self, name: str, text: str, *, k: int, seed: int) -> str:
        filled = fill_prompt(text, name, seed, self._wildcards, {**self._placeholder_values, "k": k})
        return with_loras(filled, self._loras) if name == "prompt" else filled


WILDCARDS_FOLDER = "wildcards"
"""Folder beside the run file with `<name>.txt`, one text a line."""
PLACEHOLDERS = ("class", "number", "k")
"""Class name and number of the source, and number of the image among those of its source, from 1."""

_COMMENT = "#"
# No two underscores together and none at an end: they would close the wildcard.
_NAME = r"[^\W_](?:_?[^\W_]|_?-)*"
_WILDCARD = re.compile(f"__({_NAME})__")
# Braces around more than one word are not ours: they may be meant for the server.
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def wildcard_names(text: str) -> Iterator[str]:
    """Names of the wildcards in a prompt, in order, with repetitions."""
    return (match[1] for match in _WILDCARD.finditer(text))


def fill_prompt(
    text: str, setting: str, seed: int, wildcards: Mapping[str, tuple[str, ...]], values: Mapping[str, object]
) -> str:
    """A prompt, checked by `check_placeholders`, as it is sent; `values` has one for each of `PLACEHOLDERS`.

    A wildcard that occurs twice in the text is drawn twice. `setting` is "prompt" or "negative_prompt"; the two draw
    independently.
    """
    occurrences: dict[str, int] = {}

    def line(match: re.Match[str]) -> str:
        name = match[1]
        occurrences[name] = occurrences.get(name, 0) + 1
        lines = wildcards[name]
        return lines[draw_index(seed, f"{setting} __{name}__ {occurrences[name]}", len(lines))]

    # Wildcards first: a line may contain {class}, and a class name that looks like a wildcard is left as it is.
    return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), _WILDCARD.sub(line, text))


def check_placeholders(text: str, where: str) -> None:
    """Refuse a word in braces that cannot be filled in.

    Raises:
        SettingsError: names it and the known placeholders.
    """
    for match in _PLACEHOLDER.finditer(text):
        if match[1] not in PLACEHOLDERS:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise SettingsError(
                f"{where}: unknown placeholder {match[0]}; expected one of {known}; write other words without braces"
            )


def wildcards_of_table(table: Mapping[str, object], where: str) -> dict[str, tuple[str, ...]]:
    """The lines of each wildcard that the run file itself defines.

    Raises:
        SettingsError: an invalid name, a value that is no list of texts, or an empty list.
    """
    return {name: _lines_of_entry(name, entry, where) for name, entry in table.items()}


def read_wildcard(name: str, folder: Path | None, where: str) -> tuple[str, ...]:
    """The lines of `folder/wildcards/<name>.txt` beside the run file, without blank lines and those that begin with #.

    Raises:
        SettingsError: the file is missing, has no lines, or is not UTF-8.
    """
    if folder is None:
        raise SettingsError(
            f"{where}: wildcard __{name}__ has no lines; give them in a run file, as [wildcards] {name} = [...], "
            f"or beside it as {WILDCARDS_FOLDER}/{name}.txt"
        )
    path = folder / WILDCARDS_FOLDER / f"{name}.txt"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8; save it as UTF-8") from error
    except OSError as error:
        raise SettingsError(
            f"{where}: wildcard __{name}__: {path} cannot be read: {error.strerror or error}; "
            f"make that file, one text a line, or give [wildcards] {name} = [...] in the run file"
        ) from error
    lines = tuple(line for raw in text.splitlines() if (line := raw.strip()) and not line.startswith(_COMMENT))
    if not lines:
        raise SettingsError(f"{path}: holds no text; expected one text a line")
    _check_lines(name, lines, str(path))
    return lines


def _lines_of_entry(name: str, entry: object, where: str) -> tuple[str, ...]:
    if not re.fullmatch(_NAME, name):
        raise SettingsError(f"{where}: {name!r} cannot name a wildcard; expected letters, digits, - and _ within")
    if not isinstance(entry, (list, tuple)) or not all(isinstance(line, str) for line in entry):
        raise SettingsError(f'{where}: {name} is {entry!r}; expected a list of texts, as {name} = ["one", "another"]')
    if not entry:
        raise SettingsError(f"{where}: {name} is an empty list; give at least one text")
    _check_lines(name, entry, f"{where}: {name}")
    return tuple(entry)


def _check_lines(name: str, lines: Iterable[str], where: str) -> None:
    """Refuse unknown placeholders and wildcards within lines: wildcards are filled in once, not again in their lines.

    A line may contain its own wildcard's name, which is then sent literally.
    """
    for line in lines:
        check_placeholders(line, where)
        other = next((found for found in wildcard_names(line) if found != name), None)
        if other is not None:
            raise SettingsError(
                f"{where}: the text {line!r} holds the wildcard __{other}__; wildcards inside a wildcard's texts are "
                "not filled in; write its texts out"
            )
