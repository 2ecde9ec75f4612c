"""Messages as data: code gives a key and values, a catalogue has the words in English and Chinese."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from markupsafe import Markup

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


@dataclass(frozen=True)
class Words:
    """One entry of a catalogue, with the same placeholders (`str.format`) in both languages."""

    en: str
    zh: str


@dataclass(frozen=True)
class Message:
    """A sentence, or part of one, that is put into words later; equal ones have equal keys and values, and one hash."""

    key: str
    """Of a catalogue."""
    values: Mapping[str, object]
    """For the placeholders: text, numbers, a message, or a tuple of messages, which are written one after another.
    All must be hashable."""

    def __hash__(self) -> int:
        return hash((self.key, frozenset(self.values.items())))


def message(key: str, /, **values: object) -> Message:
    """A message with its values as keywords."""
    return Message(key, values)


class MessageCatalogue:
    """The words of one area, English and Chinese by key."""

    def __init__(self, words: Mapping[str, Words]) -> None:
        self._words = dict(words)

    def __iter__(self) -> Iterator[str]:
        return iter(self._words)

    def __contains__(self, key: object) -> bool:
        return key in self._words

    def __getitem__(self, key: str) -> Words:
        return self._words[key]

    def by_key(self, language: Language) -> dict[str, str]:
        """Key -> words in one language, placeholders not filled in."""
        return {key: getattr(words, language) for key, words in self._words.items()}

    def text(self, message: Message, language: Language = "en") -> str:
        """A message as plain text.

        Raises:
            KeyError: no such key, or a value for a placeholder is missing.
        """
        values = {name: self._value_as_text(value, language) for name, value in message.values.items()}
        words: str = getattr(self._words[message.key], language)
        return words.format(**values)

    def markup(self, message: Message, language: Language = "en") -> Markup:
        """A message as HTML; values are escaped unless they are markup.

        Raises:
            KeyError: no such key, or a value for a placeholder is missing.
        """
        # Imported here, so that commands without a page start without it.
        from markupsafe import Markup

        values = {name: self._value_as_markup(value, language) for name, value in message.values.items()}
        words: str = getattr(self._words[message.key], language)
        return Markup(words).format(**values)  # noqa: S704 - our own words

    def _value_as_text(self, value: object, language: Language) -> object:
        if isinstance(value, Message):
            return self.text(value, language)
        if isinstance(value, tuple):
            return "".join(str(self._value_as_text(one, language)) for one in value)
        return value

    def _value_as_markup(self, value: object, language: Language) -> object:
        if isinstance(value, Message):
            return self.markup(value, language)
        if isinstance(value, tuple):
            from markupsafe import Markup

            return Markup("").join(Markup.escape(self._value_as_markup(one, language)) for one in value)
        return value
