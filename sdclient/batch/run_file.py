"""`run.toml`: settings of a run for all its images, by class and by source; see docs/run-file.md."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict

from ..errors import SettingsError
from ..loras import lora_tag, loras_in
from ..output.planned_images import Choice, Range  # noqa: F401 - pydantic looks up here what SettingSpec names
from ..sources.source import Source
from .recipes import ParameterResolver, check_placeholders, read_wildcard, wildcard_names, wildcards_of_table
from .settings import (
    IMAGE_NAMES,
    INPAINTING_NAMES,
    PROMPT_NAMES,
    RUN_NAMES,
    GenerationSettings,
    ImageParameters,
    SettingSpec,
    read_section,
    suggest_names,
    to_plain,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_CLASS = "class"
_SOURCE = "source"
_WILDCARDS = "wildcards"


class RunSpec(BaseModel):
    """Settings of a run: for all its images, by class, and by source.

    Made by `from_settings`, `from_mapping` or `load_run_file`, which check every value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    common: dict[str, SettingSpec]
    """Every field of `GenerationSettings`."""
    classes: dict[str, dict[str, SettingSpec]]
    """Class name -> its own settings."""
    sources: dict[str, dict[str, SettingSpec]]
    """"<class>/<file>" -> the source's own settings; they take precedence over its class's."""
    wildcards: dict[str, tuple[str, ...]]
    """Name -> lines from which `__name__` in a prompt is drawn."""
    origin: str
    """Name of the file or the like, for messages."""
    folder: Path | None
    """The run file's folder, where `wildcards/<name>.txt` is read; None without a run file."""

    @classmethod
    def from_settings(cls, settings: GenerationSettings) -> RunSpec:
        """The same settings for every image; prompts may hold placeholders.

        Raises:
            SettingsError: a prompt with an unknown placeholder, or with a wildcard.
        """
        return cls.from_mapping(settings.model_dump(), origin="settings")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, origin: str, folder: Path | None = None) -> RunSpec:
        """Read settings in the form of a run file's tables, or of `as_dict`.

        Raises:
            SettingsError: names section and key, what was found and what was expected.
        """
        tables = {name: _table(values.get(name, {}), f"{origin}: [{name}]") for name in (_CLASS, _SOURCE, _WILDCARDS)}
        plain = {name: value for name, value in values.items() if name not in tables}
        return cls(
            common={**GenerationSettings().model_dump(), **read_section(plain, origin, (*IMAGE_NAMES, *RUN_NAMES))},
            classes=_sections(_CLASS, tables[_CLASS], origin),
            sources=_sections(_SOURCE, tables[_SOURCE], origin),
            wildcards=wildcards_of_table(tables[_WILDCARDS], f"{origin}: [{_WILDCARDS}]"),
            origin=origin,
            folder=folder,
        )._with_wildcards_read()

    @property
    def seed(self) -> int:
        """The run's seed; it decides the seed of every image."""
        return cast("int", self.common["seed"])

    @property
    def batch_size(self) -> int:
        """Maximum number of images in one request."""
        return cast("int", self.common["batch_size"])

    def with_overrides(self, assignments: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> RunSpec:
        """The same run with some settings fixed for every image; they replace those of classes and sources.

        Assignments are as `parse_assignment` returns them; the last one of a name counts.

        Raises:
            SettingsError: an unknown setting or an invalid value.
        """
        fixed = read_section(dict(assignments), "overrides", (*IMAGE_NAMES, *RUN_NAMES))

        def without_fixed(sections: Mapping[str, Mapping[str, SettingSpec]]) -> dict[str, dict[str, SettingSpec]]:
            return {
                section: {name: value for name, value in values.items() if name not in fixed}
                for section, values in sections.items()
            }

        changed = {"classes": without_fixed(self.classes), "sources": without_fixed(self.sources)}
        return self.model_copy(update={"common": {**self.common, **fixed}, **changed})._with_wildcards_read()

    def check_against(self, sources: Iterable[Source]) -> None:
        """Refuse sections whose class or source is not among `sources`, planned or not.

        Raises:
            SettingsError: names the section and similar names.
        """
        every = list(sources)
        known = (
            (_CLASS, "no such class among the sources", self.classes, {source.class_name: None for source in every}),
            (_SOURCE, "no such source", self.sources, {source.relative: None for source in every}),
        )
        for kind, fault, sections, names in known:
            for name in sections:
                if name not in names:
                    where = _where(self.origin, kind, name)
                    raise SettingsError(f"{where}: {fault}; {suggest_names(name, list(names))}")

    def settings_for(self, source: Source) -> dict[str, SettingSpec]:
        """Settings of a source before anything is drawn: its own, else its class's, else the run's."""
        own = self.sources.get(source.relative, {})
        merged = {**self.common, **self.classes.get(source.class_name, {}), **own}
        return {name: merged[name] for name in IMAGE_NAMES}

    def refuse_inpainting(self) -> None:
        """Refuse settings of inpainting in a run without masks: they would have no effect.

        Raises:
            SettingsError: names the first of them.
        """
        usual = GenerationSettings()
        unusual = {name: self.common[name] for name in INPAINTING_NAMES if self.common[name] != getattr(usual, name)}
        for where, values in ((self.origin, unusual), *self._all_sections()):
            name = next((name for name in values if name in INPAINTING_NAMES), None)
            if name is not None:
                raise SettingsError(
                    f"{where}: {name} is {values[name]!r}, but the run has no masks; add --masks DIR, or remove it"
                )

    def parameters_for(self, source: Source, k: int, seed: int, *, mask_sha256: str | None = None) -> ImageParameters:
        """Parameters of one image; see `ParameterResolver`."""
        return self.resolver_for(source, mask_sha256=mask_sha256).parameters_for(k, seed)

    def resolver_for(self, source: Source, *, mask_sha256: str | None = None) -> ParameterResolver:
        """Gives the parameters of each image of a source; see `ParameterResolver`."""
        return ParameterResolver(source, self.settings_for(source), self.wildcards, mask_sha256)

    def samplers_for(self, sources: Iterable[Source]) -> list[tuple[str, str | None]]:
        """Each (sampler, scheduler) of the sources' settings, once."""
        settings = (self.settings_for(source) for source in sources)
        pairs = ((str(one["sampler"]), one["scheduler"]) for one in settings)
        return list({(sampler, None if scheduler is None else str(scheduler)): None for sampler, scheduler in pairs})

    def loras_for(self, sources: Iterable[Source]) -> list[str]:
        """Names of the LoRAs of the sources, from prompts and from the setting `loras`."""
        names: dict[str, None] = {}
        for source in sources:
            settings = self.settings_for(source)
            prompt = str(settings["prompt"])
            texts = [prompt, *(line for name in wildcard_names(prompt) for line in self.wildcards[name])]
            texts += [lora_tag(text) for text in cast("tuple[str, ...]", settings["loras"])]
            for text in texts:
                names |= dict.fromkeys(loras_in(text.replace("{class}", source.class_name)))
        return list(names)

    def as_dict(self) -> dict[str, Any]:
        """The whole configuration with defaults and the lines of the wildcards in use; JSON in the form of a run file.

        `from_mapping` reads it back.
        """
        used = {name for _, text in self._prompts() for name in wildcard_names(text)}

        def plain(values: Mapping[str, SettingSpec]) -> dict[str, Any]:
            return {name: to_plain(values[name]) for name in sorted(values)}

        return {
            **plain(self.common),
            _CLASS: {name: plain(self.classes[name]) for name in sorted(self.classes)},
            _SOURCE: {name: plain(self.sources[name]) for name in sorted(self.sources)},
            _WILDCARDS: {name: list(self.wildcards[name]) for name in sorted(used)},
        }

    def _prompts(self) -> Iterator[tuple[str, str]]:
        """Place and text of every prompt."""
        for where, values in ((self.origin, self.common), *self._all_sections()):
            for name in PROMPT_NAMES:
                if name in values:
                    yield f"{where}: {name}", str(values[name])

    def _all_sections(self) -> Iterator[tuple[str, dict[str, SettingSpec]]]:
        """Place and settings of every section of a class or a source."""
        for kind, sections in ((_CLASS, self.classes), (_SOURCE, self.sources)):
            for name, values in sections.items():
                yield _where(self.origin, kind, name), values

    def _with_wildcards_read(self) -> RunSpec:
        """The same settings with the lines of every wildcard in the prompts, which are checked."""
        wildcards = dict(self.wildcards)
        for where, text in self._prompts():
            check_placeholders(text, where)
            for name in wildcard_names(text):
                if name not in wildcards:
                    wildcards[name] = read_wildcard(name, self.folder, where)
        return self.model_copy(update={"wildcards": wildcards})


def load_run_file(path: Path) -> RunSpec:
    """Read a run file and the wildcards of its prompts.

    Raises:
        SettingsError: the file is missing, not TOML, or has an invalid value; names file, section and key.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8; save it as UTF-8") from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}; expected a run file (TOML)") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"{path}: not TOML: {error}; texts need quotes, and so do names beyond a-z, 0-9, - and _, "
            'as in [class."焊盘"]'
        ) from error
    return RunSpec.from_mapping(values, origin=str(path), folder=path.parent)


def _sections(kind: str, tables: Mapping[str, Any], origin: str) -> dict[str, dict[str, SettingSpec]]:
    sections = {}
    for name, values in tables.items():
        where = _where(origin, kind, name)
        if kind == _SOURCE and not all(name.partition("/")):
            raise SettingsError(f'{where}: expected [source."<class>/<file>"], as [source."pad/3.png"]')
        sections[name] = read_section(_table(values, where), where, IMAGE_NAMES)
    return sections


def _table(values: object, where: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise SettingsError(f"{where}: found {values!r}; expected a section with settings, as name = value")
    return values


def _where(origin: str, kind: str, name: str) -> str:
    return f'{origin}: [{kind}."{name}"]'
