"""The table of cuts that were chosen on validation images, and what they do on the test images; pure."""

from __future__ import annotations

from collections.abc import Sequence

from .. import messages
from ..metrics import Rate
from .inputs import ArmFacts
from .pieces import ArmName, Cell, Figure, ReportWords, Row, Table, Verbatim, head, number, pointer_part, row_head
from .rate_tables import figure


def operating_table(arms: Sequence[tuple[ArmName, ArmFacts]], words: ReportWords) -> Table:
    """A row a training that has a chosen cut."""
    rows = []
    for label, facts in arms:
        for place, one in enumerate(facts.operating):
            if one.chosen is None:
                continue
            pointer = f"/operating/{pointer_part(facts.name)}/{place}/chosen"
            chosen = one.chosen
            promised = figure(f"{pointer}/promised", chosen.promised, messages.percent(chosen.promised), words)
            cells = (
                row_head(label, " ", Verbatim(one.seed)),
                number(Figure(f"{pointer}/cut", chosen.cut, messages.number(chosen.cut))),
                number("–" if chosen.promised is None else promised),
                _rate(chosen.miss_rate, f"{pointer}/miss_rate", words),
                _rate(chosen.overkill_rate, f"{pointer}/overkill_rate", words),
            )
            rows.append(Row(cells))
    names = ("cut", "promised", "miss_rate", "overkill_rate")
    top = (head(words("training")), *(head(words(name), number=True) for name in names))
    return Table("operating", (top,), tuple(rows))


def _rate(rate: Rate, pointer: str, words: ReportWords) -> Cell:
    count = Figure(f"{pointer}/count", rate.count, str(rate.count))
    of = Figure(f"{pointer}/of", rate.of, str(rate.of))
    return number(figure(f"{pointer}/value", rate.value, messages.percent(rate.value), words), sub=(count, " / ", of))
