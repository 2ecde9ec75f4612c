"""Pieces and tables of a report as GitHub-flavoured Markdown; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .pieces import Cell, Table

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~$])")


def as_line(words: object) -> str:
    """Text on one line in which nothing is a sign of Markdown."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(words).split()))


def as_table(table: Table) -> str:
    """A table; of a head in two rows, the words above stand in front of those below."""
    body = [[as_line(cell.words) for cell in _spread_out(row.cells)] for row in table.body]
    aligned = _spread_out(table.body[0].cells) if table.body else []
    names = _head(table.head)
    rules = ["---:" if cell.is_number else "---" for cell in aligned] or ["---"] * len(names)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (names, rules, *body))


def _head(rows: Sequence[Sequence[Cell]]) -> list[str]:
    upper = [cell for cell in rows[0] for _ in range(cell.columns)]
    if len(rows) == 1:
        return [as_line(cell.words) for cell in upper]
    below = iter(rows[1])
    return [as_line(cell.words if cell.rows > 1 else f"{cell.words} {next(below).words}") for cell in upper]


def _spread_out(cells: Sequence[Cell]) -> list[Cell]:
    """A cell for every column; what spans several is followed by empty ones."""
    spread = []
    for cell in cells:
        spread.append(cell)
        spread += [Cell() for _ in range(cell.columns - 1)]
    return spread
