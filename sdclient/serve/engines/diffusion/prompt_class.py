"""Which class a prompt means. Pure.

A model of the user's own classes knows no other words, so a prompt is searched for one of their names:

1. A piece between commas that is a class's name as a whole wins; the first such piece.
2. Otherwise a name that stands in the prompt as words wins; of several the longest, of equally long ones the first.
3. Otherwise there is no class, and pictures of any are made.

Upper and lower case, and space, hyphen and underscore, are alike. Weights like "(open:1.2)" and tags like
"<lora:name:1>" are taken off first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_TAG = re.compile(r"<[^<>]*>")
_WEIGHT = re.compile(r":\s*[0-9.]+\s*(?=[)\]])")
_BRACKETS = re.compile(r"[()\[\]{}]")
_GAPS = re.compile(r"[\s_-]+")
_ENDS = re.compile(r"[,，、;；\n]|\bBREAK\b")


def class_in_prompt(prompt: str, classes: Sequence[str]) -> int | None:
    """Index of the class that a prompt names, or None.

    Args:
        prompt: as the client sent it.
        classes: names, in the order of the model's labels.
    """
    bare = _BRACKETS.sub(" ", _WEIGHT.sub("", _TAG.sub(" ", prompt)))
    names = [_plain(name) for name in classes]
    for piece in _ENDS.split(bare):
        if (plain := _plain(piece)) in names and plain:
            return names.index(plain)
    text = _plain(bare)
    found = [
        (-len(name), match.start(), index)
        for index, name in enumerate(names)
        if name and (match := re.search(_as_words(name), text))
    ]
    return min(found)[2] if found else None


def _plain(text: str) -> str:
    return _GAPS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _as_words(name: str) -> str:
    """A pattern for the name, not inside another word; Chinese is written without gaps, so there it may be."""
    before = r"(?<![a-z0-9])" if re.match(r"[a-z0-9]", name) else ""
    after = r"(?![a-z0-9])" if re.search(r"[a-z0-9]$", name) else ""
    return f"{before}{re.escape(name)}{after}"
