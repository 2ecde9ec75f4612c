"""Templates -> a whole page or a whole Markdown file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .. import messages
from ..verdict import HELPED, HURT, MIXED, NO_DIFFERENCE
from .markdown import as_line, as_table
from .pieces import Figure, ReportWords, Verbatim

TONES = {HELPED: "good", HURT: "bad", MIXED: "mixed", NO_DIFFERENCE: "none"}
"""What colour a verdict has."""


def render_page(template: str, words: ReportWords, **context: Any) -> str:
    """A page of HTML."""
    return _environment(markup=True).get_template(template).render(words=words, **context)


def render_markdown(template: str, words: ReportWords, **context: Any) -> str:
    """A Markdown file, with no two empty lines on end."""
    text = _environment(markup=False).get_template(template).render(words=words, **context)
    lines = [line.rstrip() for line in text.strip().splitlines()]
    kept = [line for place, line in enumerate(lines) if line or (place and lines[place - 1])]
    return "\n".join(kept) + "\n"


@lru_cache(maxsize=2)
def _environment(*, markup: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=markup,  # noqa: S701 - in Markdown, the filter `md` escapes
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(tones=TONES, piece=_piece, verbatim=Verbatim)
    environment.filters.update(percent=messages.percent, md=as_line, md_table=as_table)
    return environment


def _piece(pointer: str, value: float, text: object) -> Figure:
    """A figure that a template puts into its words."""
    return Figure(pointer, value, str(text))
