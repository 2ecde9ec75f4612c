"""The words of reports: a catalogue a language, and sentences of other parts in Chinese."""

from __future__ import annotations

from typing import Literal, get_args

from markupsafe import Markup

from ..pieces import Foreign, Gloss, Piece
from .en import WORDS as ENGLISH
from .sentences import in_chinese
from .zh import WORDS as CHINESE

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


class Words:
    """Looks words up in one language.

    Args:
        language: "en", where terms have their Chinese beside them, or "zh".
        markup: whether values are put in as markup, escaped (a page), or as text (Markdown).
    """

    def __init__(self, language: Language = "en", *, markup: bool = True) -> None:
        self.language = language
        self._catalogue = ENGLISH if language == "en" else CHINESE
        self._markup = markup

    def __call__(self, key: str, **values: object) -> str:
        """The words under a key, with the values that they name.

        Raises:
            KeyError: no such key, or a value that the words name is missing.
        """
        text = self._catalogue[key]
        return Markup(text).format(**values) if self._markup else text.format(**values)  # noqa: S704 - our own words

    def gloss(self, key: str) -> Gloss:
        """The Chinese of a term, where the page is not Chinese already."""
        return Gloss(CHINESE[key] if self.language == "en" else "")

    def term(self, english: str, chinese: str) -> tuple[str, Gloss]:
        """A term that another part names in both languages, and its gloss."""
        return (english, Gloss(chinese)) if self.language == "en" else (chinese, Gloss(""))

    def sentence(self, english: str) -> Piece:
        """A sentence that another part wrote in English; marked as English where it is not known in Chinese."""
        if self.language == "en":
            return english
        chinese = in_chinese(english)
        return Foreign(english) if chinese is None else chinese

    def several(self, key: str, count: int, **values: object) -> str:
        """The words for one, or for another number of things: `key_one` or `key_many`, with `count`."""
        return self(f"{key}_one" if count == 1 else f"{key}_many", count=count, **values)
