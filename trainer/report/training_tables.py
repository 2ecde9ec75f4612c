"""Tables of what arms were trained on and with: images by class, settings, diagnoses; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .. import messages
from .inputs import ArmFacts, ClassCount, sum_counts
from .pieces import ArmName, Cell, Figure, ReportWords, Row, Table, Verbatim, head, number, pointer_part, row_head
from .rate_tables import figure


@dataclass(frozen=True)
class TrainedArm:
    """An arm with how it was trained."""

    label: ArmName
    facts: ArmFacts
    parts: tuple[str, ...]
    """Columns of its training images: real, generated, repeated, total, generated_share."""


def trained_arm(label: ArmName, facts: ArmFacts) -> TrainedArm:
    """Leave out columns that would hold only zeros."""
    generates = any(one.generated for one in facts.counts)
    repeats = any(one.repeated for one in facts.counts)
    parts = (("real",) if generates or repeats else ()) + (("generated",) if generates else ())
    parts += (("repeated",) if repeats else ()) + ("total",) + (("generated_share",) if generates else ())
    return TrainedArm(label, facts, parts)


def balance_table(arms: Sequence[TrainedArm], words: ReportWords) -> Table:
    """A row a class and one for all; no rows when no arm says what it was trained on."""
    shown = [one for one in arms if one.facts.counts]
    upper = [head(words("class"), rows=2), *(head(one.label, columns=len(one.parts)) for one in shown)]
    lower = [
        Cell((words(part),), (words.gloss(part),), is_number=True, is_head=True, divides=part == one.parts[0])
        for one in shown
        for part in one.parts
    ]
    rows = []
    names = dict.fromkeys(count.class_name for one in shown for count in one.facts.counts)
    for name in names:
        cells: list[Cell] = []
        for one in shown:
            known = {count.class_name: count for count in one.facts.counts}
            pointer = f"/balance/{pointer_part(one.facts.name)}/classes/{pointer_part(name)}"
            cells += _balance_cells(one, known.get(name), pointer, words)
        rows.append(Row((row_head(Verbatim(name)), *cells)))
    if rows:
        sums: list[Cell] = []
        for one in shown:
            pointer = f"/balance/{pointer_part(one.facts.name)}/all"
            sums += _balance_cells(one, sum_counts(one.facts.counts), pointer, words)
        rows.append(Row((row_head(words("all_classes")), *sums), "all"))
    return Table("balance", (tuple(upper), tuple(lower)), tuple(rows))


def _balance_cells(one: TrainedArm, count: ClassCount | None, pointer: str, words: ReportWords) -> list[Cell]:
    if count is None:
        return [Cell(columns=len(one.parts), divides=True)]
    cells = []
    for part in one.parts:
        value = getattr(count, part)
        if part == "generated_share":
            shown = figure(f"{pointer}/{part}", value, messages.percent(value), words)
        else:
            shown = Figure(f"{pointer}/{part}", value, messages.count(value))
        cells.append(number(shown, divides=part == one.parts[0]))
    return cells


def settings_table(arms: Sequence[tuple[ArmName, ArmFacts]], words: ReportWords) -> Table:
    """A row a setting, marked where the arms differ."""
    names = dict.fromkeys(name for _, facts in arms for name in facts.settings)
    rows = []
    for name in names:
        values = [facts.settings.get(name, "") for _, facts in arms]
        cells = (row_head(Verbatim(name)), *(Cell((Verbatim(value),)) for value in values))
        rows.append(Row(cells, "differs" if len(set(values)) > 1 else ""))
    return Table("settings", ((head(words("setting")), *(head(label) for label, _ in arms)),), tuple(rows))


def diagnoses_table(arms: Sequence[tuple[ArmName, ArmFacts]], words: ReportWords) -> Table:
    """What the loss curves of every training say."""
    rows = [
        Row((row_head(label), Cell((Verbatim(one.seed),)), Cell((words.sentence(one.line),))))
        for label, facts in arms
        for one in facts.diagnoses
    ]
    top = (head(words("training")), head(words("seed")), head(words("diagnosis")))
    return Table("diagnoses", (top,), tuple(rows))


def pairs_table(pairs: Sequence[tuple[str, str]], words: ReportWords) -> Table:
    """Names with values, both as they are."""
    rows = tuple(Row((row_head(Verbatim(name)), Cell((Verbatim(value),)))) for name, value in pairs)
    return Table("", ((head(words("setting")), head(words("value"))),), rows)
