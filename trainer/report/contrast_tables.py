"""Tables of how two arms differ: figures, recalls by class, images that flipped; pure."""

from __future__ import annotations

from collections.abc import Sequence

from .. import messages
from ..contrast import McNemar, RecallDifference
from ..stats import Interval
from ..verdict import Difference
from .pieces import Cell, Figure, Piece, ReportWords, Row, Table, Verbatim, head, number, pointer_part, row_head
from .rate_tables import bounds, figure


def differences_table(differences: Sequence[Difference], pointer: str, words: ReportWords) -> Table:
    """Both levels of each compared figure, and the difference with its interval.

    Args:
        differences: of two arms.
        pointer: where they stand in the JSON block, by metric.
        words: of the page.
    """
    top = (
        head(words("figure")),
        head(words("from"), number=True),
        head(words("to"), number=True),
        head(words("difference"), sub=(words("interval"),), number=True),
    )
    rows = []
    for one in differences:
        place = f"{pointer}/{one.metric}"
        name, gloss = words.metric(one.metric)
        levels = [
            number(figure(f"{place}/{key}", value, messages.number(value), words))
            for key, value in (("first", one.first), ("second", one.second))
        ]
        rows.append(Row((row_head(name, sub=(gloss,)), *levels, difference_cell(one, place, words))))
    return Table("", (top,), tuple(rows))


def difference_cell(one: Difference | RecallDifference, pointer: str, words: ReportWords) -> Cell:
    """A difference with its interval below."""
    shown = figure(f"{pointer}/value", one.value, messages.signed(one.value), words)
    return number(shown, sub=(interval_words(one.interval, pointer, words),))


def interval_words(interval: Interval | None, pointer: str, words: ReportWords) -> str:
    """An interval of a difference, or that there is none."""
    return words("no_interval") if interval is None else bounds(pointer, interval, messages.signed, words)


def recalls_table(recalls: Sequence[RecallDifference], pointer: str, words: ReportWords) -> Table:
    """Recall of every class in both arms, with p-values corrected for the number of classes."""
    top = (
        head(words("class")),
        head(words("test_images"), number=True),
        head(words("from"), number=True),
        head(words("to"), number=True),
        head(words("difference"), sub=(words("interval"),), number=True),
        head(words("p"), number=True),
        head(words("p_holm"), number=True),
    )
    rows = []
    for one in recalls:
        place = f"{pointer}/{pointer_part(one.name)}"
        rows.append(
            Row(
                (
                    row_head(Verbatim(one.name)),
                    number(Figure(f"{place}/support", one.support, str(one.support))),
                    number(figure(f"{place}/first", one.first, messages.percent(one.first), words)),
                    number(figure(f"{place}/second", one.second, messages.percent(one.second), words)),
                    difference_cell(one, place, words),
                    number(p_figure(f"{place}/p_value", one.p_value, words)),
                    number(p_figure(f"{place}/p_holm", one.p_holm, words)),
                )
            )
        )
    return Table("", (top,), tuple(rows))


def p_figure(pointer: str, value: float | None, words: ReportWords) -> Figure:
    """A p-value, or that there is none."""
    return figure(pointer, value, "" if value is None else messages.p_value(value), words)


def mcnemar_table(tests: Sequence[McNemar], names: tuple[str, str], pointer: str, words: ReportWords) -> Table:
    """Images right in both, one or none of two trainings, with the exact test."""
    first, second = (Verbatim(name) for name in names)
    top = (
        head(first, " / ", second),
        head(words("both_right"), number=True),
        head(words("right_alone", name=first), number=True),
        head(words("right_alone", name=second), number=True),
        head(words("both_wrong"), number=True),
        head(words("exact_p"), number=True),
    )
    rows = []
    for place, test in enumerate(tests):
        counts: list[Cell] = [
            number(Figure(f"{pointer}/{place}/{key}", getattr(test, key), str(getattr(test, key))))
            for key in ("both_right", "only_first", "only_second", "both_wrong")
        ]
        seeds: tuple[Piece, ...] = (Verbatim(test.first_seed), " / ", Verbatim(test.second_seed))
        p_value = number(p_figure(f"{pointer}/{place}/p_value", test.p_value, words))
        rows.append(Row((row_head(*seeds), *counts, p_value)))
    return Table("", (top,), tuple(rows))
