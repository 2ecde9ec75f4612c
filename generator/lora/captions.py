"""What each training picture is said to show: by a template, by class, or by a text beside the picture."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_TEMPLATE = "photo of a circuit board, {class}"
_SECTIONS = ("class", "caption")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Captions:
    """Rules for captions; the first that has something to say holds.

    A text file beside a picture, with its name and `.txt`; a class's own caption; the template.
    """

    template: str = DEFAULT_TEMPLATE
    """Holds {class} where the class's word goes."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Class -> its word in captions, where the folder's name is not what the text encoder knows."""
    whole: Mapping[str, str] = field(default_factory=dict)
    """Class -> its whole caption; may hold {class} too."""

    def __post_init__(self) -> None:
        _check(self.template, "--caption")

    def of_class(self, class_name: str) -> str:
        """The caption of a class's pictures that have none of their own."""
        template = self.whole.get(class_name, self.template)
        return template.replace("{class}", self.words.get(class_name, class_name)).strip()

    def of(self, class_name: str, picture: Path) -> str:
        """The caption of one picture.

        Raises:
            SettingsError: the text beside it cannot be read.
        """
        beside = picture.with_suffix(".txt")
        try:
            own = " ".join(beside.read_text(encoding="utf-8-sig").split())
        except FileNotFoundError:
            return self.of_class(class_name)
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{beside}: the caption cannot be read ({error}); save it as UTF-8 text") from error
        return own or self.of_class(class_name)


def read_captions(file: Path | None, template: str = DEFAULT_TEMPLATE) -> Captions:
    """Captions by a template, and by a TOML file with [class] (words) and [caption] (whole captions) by class name.

    Raises:
        SettingsError: the file cannot be read, or holds something else; names section and key.
    """
    if file is None:
        return Captions(template)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"{file}: captions cannot be read ({error}); expected TOML with [class] and [caption], "
            'as "漏铜" = "exposed copper"'
        ) from error
    tables: dict[str, dict[str, str]] = {name: {} for name in _SECTIONS}
    for section, table in content.items():
        if section not in tables or not isinstance(table, dict):
            raise SettingsError(f"{file}: found {section!r}; expected the sections [class] and [caption]")
        for name, text in table.items():
            if not isinstance(text, str) or not text.strip():
                raise SettingsError(f"{file}: [{section}] {name}: found {text!r}; expected a text")
            if section == "caption":
                _check(text, f"{file}: [caption] {name}")
            tables[section][name] = text
    return Captions(template, tables["class"], tables["caption"])


def check_classes(captions: Captions, classes: list[str]) -> None:
    """Refuse rules for classes that there are not, which are most likely misspelt.

    Raises:
        SettingsError: names them.
    """
    unknown = sorted({*captions.words, *captions.whole} - set(classes))
    if unknown:
        raise SettingsError(f"captions for {', '.join(unknown)}: no such class; there are {', '.join(classes)}")


def _check(text: str, where: str) -> None:
    wrong = [name for name in _PLACEHOLDER.findall(text) if name != "class"]
    if wrong or not text.strip():
        found = f"{{{wrong[0]}}}" if wrong else "an empty text"
        raise SettingsError(f"{where}: found {found}; expected a caption, with {{class}} where the class's word goes")
