"""Tables of what arms achieved: rates, rates by class, confusion matrices; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .. import messages
from ..arm_result import ArmResult, MeanRate, Spread
from ..metrics import NAMED_WRONG, RATE_DEFINITIONS
from ..stats import Interval
from .pieces import (
    ArmName,
    Cell,
    Figure,
    Piece,
    ReportWords,
    Row,
    Table,
    Verbatim,
    head,
    number,
    pointer_part,
    row_head,
)

_ARMS_ABREAST = 3
_MEANS = ("macro_f1", "weighted_f1", "auroc")


@dataclass(frozen=True)
class ArmColumn:
    """One arm as tables and drawings see it."""

    label: ArmName
    result: ArmResult
    pointer: str
    """Where its figures stand in the JSON block."""
    role: str
    """A key of the words: baseline, candidate, control, and so on."""


def figure(pointer: str, value: float | None, text: str, words: ReportWords) -> Figure:
    """A figure with "undefined" in the page's language."""
    return Figure(pointer, value, words("undefined") if value is None else text)


def bounds(pointer: str, interval: Interval, write: Callable[[float], str], words: ReportWords) -> str:
    """Both ends of an interval, "0.1 to 0.2"."""
    low = Figure(f"{pointer}/low", interval.low, write(interval.low))
    return words("bounds", low=low, high=Figure(f"{pointer}/high", interval.high, write(interval.high)))


def rates_tables(arms: Sequence[ArmColumn], *, normal: str, words: ReportWords) -> list[Table]:
    """The rates of the Normal/Abnormal judgement, and the means that need no cut or all names.

    A table for every three arms, so that each is as wide as a sheet of paper.
    """
    return [
        _rates_table(arms[place : place + _ARMS_ABREAST], f"rates-{place}" if place else "rates", normal, words)
        for place in range(0, len(arms), _ARMS_ABREAST)
    ]


def _rates_table(arms: Sequence[ArmColumn], identity: str, normal: str, words: ReportWords) -> Table:
    first = head(words("rate"))
    columns = [head(one.label, sub=(_role(one, words),), number=True) for one in arms]
    rows = []
    for one in (*RATE_DEFINITIONS, NAMED_WRONG):
        name, gloss = words.term(one.english, one.chinese)
        cells = []
        for arm in arms:
            own = one is NAMED_WRONG
            rate = arm.result.named_wrong if own else arm.result.rates[one.key]
            place = arm.pointer if own else f"{arm.pointer}/rates"
            cells.append(_rate_cell(rate, f"{place}/{one.key}", words))
        formula = words("named_wrong_formula") if one is NAMED_WRONG else one.formula
        rows.append(Row((row_head(name, sub=(gloss, " ", Verbatim(str(formula), "formula"))), *cells)))
    for key in _MEANS:
        formula = words(f"{key}_formula", normal=normal) if key == "auroc" else words(f"{key}_formula")
        means = [_spread_cell(getattr(arm.result, key), f"{arm.pointer}/{key}", words) for arm in arms]
        gloss = words.gloss(key)
        rows.append(Row((row_head(words(key), sub=(gloss, " ", Verbatim(str(formula), "formula"))), *means)))
    return Table(identity, ((first, *columns),), tuple(rows))


def _role(one: ArmColumn, words: ReportWords) -> str:
    """What the arm is for, and how often it was trained."""
    role = str(words(one.role))
    gloss = words.gloss(one.role).text
    return words("role", role=f"{role} {gloss}".strip(), seeds=words.several("seeds", len(one.result.seeds)))


def _rate_cell(rate: MeanRate | None, pointer: str, words: ReportWords) -> Cell:
    if rate is None:
        return number(words("undefined"))
    mean = rate.spread.mean
    main: list[Piece] = [figure(f"{pointer}/value", mean, messages.percent(mean), words)]
    if rate.spread.sd is not None:
        main += [" ± ", Figure(f"{pointer}/sd", rate.spread.sd, messages.percent(rate.spread.sd))]
    sub: list[Piece] = [
        Figure(f"{pointer}/count", rate.count, messages.count(rate.count)),
        " / ",
        Figure(f"{pointer}/of", rate.of, messages.count(rate.of)),
    ]
    if rate.interval is not None:
        sub += [", ", bounds(pointer, rate.interval, messages.percent, words)]
    return number(*main, sub=sub)


def _spread_cell(spread: Spread, pointer: str, words: ReportWords) -> Cell:
    main: list[Piece] = [figure(f"{pointer}/mean", spread.mean, messages.number(spread.mean), words)]
    if spread.sd is None:
        return number(*main)
    main += [" ± ", Figure(f"{pointer}/sd", spread.sd, messages.number(spread.sd))]
    low = Figure(f"{pointer}/least", spread.least, messages.number(spread.least))
    high = Figure(f"{pointer}/most", spread.most, messages.number(spread.most))
    return number(*main, sub=(words("bounds_seeds", low=low, high=high),))


def classes_tables(arms: Sequence[ArmColumn], words: ReportWords) -> list[Table]:
    """Precision, recall and F1 of every class, three arms a table; none where labels do not name the defects."""
    if not arms[0].result.per_class:
        return []
    return [
        _classes_table(arms[place : place + _ARMS_ABREAST], f"per-class-{place}" if place else "per-class", words)
        for place in range(0, len(arms), _ARMS_ABREAST)
    ]


def _classes_table(arms: Sequence[ArmColumn], identity: str, words: ReportWords) -> Table:
    keys = ("precision", "recall", "f1")
    first = (head(words("class"), rows=2), head(words("test_images"), number=True, rows=2))
    upper = [head(one.label, number=True, columns=len(keys)) for one in arms]
    lower = [head(words(key), number=True) for _ in arms for key in keys]
    rows = []
    for place, same in enumerate(arms[0].result.per_class):
        part = pointer_part(same.name)
        cells = [number(Figure(f"{arms[0].pointer}/per_class/{part}/support", same.support, str(same.support)))]
        for arm in arms:
            scores = arm.result.per_class[place]
            for key in keys:
                mean = getattr(scores, key).mean
                text = messages.number(mean) if key == "f1" else messages.percent(mean)
                pointer = f"{arm.pointer}/per_class/{part}/{key}/mean"
                cells.append(number(figure(pointer, mean, text, words), divides=key == keys[0]))
        rows.append(Row((row_head(Verbatim(same.name)), *cells)))
    return Table(identity, ((*first, *upper), tuple(lower)), tuple(rows))


def confusion_table(
    arm: ArmColumn, *, labels: Sequence[str], classes: Sequence[str], normal: str, words: ReportWords
) -> Table:
    """Counts of true against predicted names, tinted by how right they are."""
    rows = []
    for row, counts in enumerate(arm.result.confusion):
        total = sum(counts)
        cells = []
        for column, count in enumerate(counts):
            unnamed = row >= len(classes) and classes[column] != normal
            right = labels[row] == classes[column] or unnamed
            share = count / total if total else 0.0
            shown: tuple[Piece, ...] = (f"{100 * share:.0f} %",) if total else ()
            shown_figure = Figure(f"{arm.pointer}/confusion/{row}/{column}", count, str(count))
            cells.append(Cell((shown_figure,), shown, True, tint="right" if right else "wrong", strength=share))
        rows.append(Row((row_head(Verbatim(labels[row])), *cells)))
    top = (head(words("true_predicted")), *(head(Verbatim(name)) for name in classes))
    return Table("", (top,), tuple(rows), "confusion")
