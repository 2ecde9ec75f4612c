"""Templates -> pages, in one language."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sdcore.messages import Language

from ..reasons import REASONS
from ..score_names import SCORES
from .words import WORDS

TAGS: dict[Language, str] = {"en": "en", "zh": "zh-Hans"}


def render(template: str, language: Language, **values: Any) -> str:
    """A page.

    Args:
        template: file name of the template.
        language: of its words.
        values: what the template names.
    """
    other: Language = "zh" if language == "en" else "en"
    return (
        _environment()
        .get_template(template)
        .render(
            t=WORDS.by_key(language),
            language=language,
            tag=TAGS[language],
            other=other,
            other_tag=TAGS[other],
            catalogue=_catalogue(language),
            **values,
        )
    )


@lru_cache(maxsize=2)
def _catalogue(language: Language) -> Markup:
    """All words for the page's script, as the text of a data block."""
    is_english = language == "en"
    told = {
        **WORDS.by_key(language),
        "reasons": {word: one.english if is_english else one.chinese for word, one in REASONS.items()},
        "scores": {name: one.english if is_english else one.chinese for name, one in SCORES.items()},
    }
    # "<" could end the block.
    return Markup(json.dumps(told, ensure_ascii=False).replace("<", "\\u003c"))  # noqa: S704 - our own words


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
