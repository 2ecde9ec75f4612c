"""Tables of a report: rates, classes, differences between arms, training images, chosen thresholds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..evaluation.arms import ArmResult, MeanRate, Spread
from ..evaluation.compare import McNemar, RecallDifference
from ..evaluation.metrics import NAMED_WRONG, RATE_DEFINITIONS, Rate
from ..evaluation.stats import Interval
from ..evaluation.verdict import Difference
from ..messages import count, number, p_value, percent, signed
from .elements import (
    ArmName,
    Cell,
    Figure,
    Piece,
    ReportWords,
    Row,
    Table,
    Verbatim,
    head_cell,
    number_cell,
    pointer_part,
    row_head_cell,
)
from .inputs import ArmFacts, ClassCount, sum_counts

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

    A table for every three arms, so that each fits the width of a printed page.
    """
    return [
        _rates_table(arms[place : place + _ARMS_ABREAST], f"rates-{place}" if place else "rates", normal, words)
        for place in range(0, len(arms), _ARMS_ABREAST)
    ]


def _rates_table(arms: Sequence[ArmColumn], identity: str, normal: str, words: ReportWords) -> Table:
    first = head_cell(words("rate"))
    columns = [head_cell(one.label, sub=(_role(one, words),), number=True) for one in arms]
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
        rows.append(Row((row_head_cell(name, sub=(gloss, " ", Verbatim(str(formula), "formula"))), *cells)))
    for key in _MEANS:
        formula = words(f"{key}_formula", normal=normal) if key == "auroc" else words(f"{key}_formula")
        means = [_spread_cell(getattr(arm.result, key), f"{arm.pointer}/{key}", words) for arm in arms]
        gloss = words.gloss(key)
        rows.append(Row((row_head_cell(words(key), sub=(gloss, " ", Verbatim(str(formula), "formula"))), *means)))
    return Table(identity, ((first, *columns),), tuple(rows))


def _role(one: ArmColumn, words: ReportWords) -> str:
    """What the arm is for, and how often it was trained."""
    role = str(words(one.role))
    gloss = words.gloss(one.role).text
    return words("role", role=f"{role} {gloss}".strip(), seeds=words.several("seeds", len(one.result.seeds)))


def _rate_cell(rate: MeanRate | None, pointer: str, words: ReportWords) -> Cell:
    if rate is None:
        return number_cell(words("undefined"))
    mean = rate.spread.mean
    main: list[Piece] = [figure(f"{pointer}/value", mean, percent(mean), words)]
    if rate.spread.sd is not None:
        main += [" ± ", Figure(f"{pointer}/sd", rate.spread.sd, percent(rate.spread.sd))]
    sub: list[Piece] = [
        Figure(f"{pointer}/count", rate.count, count(rate.count)),
        " / ",
        Figure(f"{pointer}/of", rate.of, count(rate.of)),
    ]
    if rate.interval is not None:
        sub += [", ", bounds(pointer, rate.interval, percent, words)]
    return number_cell(*main, sub=sub)


def _spread_cell(spread: Spread, pointer: str, words: ReportWords) -> Cell:
    main: list[Piece] = [figure(f"{pointer}/mean", spread.mean, number(spread.mean), words)]
    if spread.sd is None:
        return number_cell(*main)
    main += [" ± ", Figure(f"{pointer}/sd", spread.sd, number(spread.sd))]
    low = Figure(f"{pointer}/least", spread.least, number(spread.least))
    high = Figure(f"{pointer}/most", spread.most, number(spread.most))
    return number_cell(*main, sub=(words("bounds_seeds", low=low, high=high),))


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
    first = (head_cell(words("class"), rows=2), head_cell(words("test_images"), number=True, rows=2))
    upper = [head_cell(one.label, number=True, columns=len(keys)) for one in arms]
    lower = [head_cell(words(key), number=True) for _ in arms for key in keys]
    rows = []
    for place, same in enumerate(arms[0].result.per_class):
        part = pointer_part(same.name)
        cells = [number_cell(Figure(f"{arms[0].pointer}/per_class/{part}/support", same.support, str(same.support)))]
        for arm in arms:
            scores = arm.result.per_class[place]
            for key in keys:
                mean = getattr(scores, key).mean
                text = number(mean) if key == "f1" else percent(mean)
                pointer = f"{arm.pointer}/per_class/{part}/{key}/mean"
                cells.append(number_cell(figure(pointer, mean, text, words), divides=key == keys[0]))
        rows.append(Row((row_head_cell(Verbatim(same.name)), *cells)))
    return Table(identity, ((*first, *upper), tuple(lower)), tuple(rows))


def confusion_table(
    arm: ArmColumn, *, labels: Sequence[str], classes: Sequence[str], normal: str, words: ReportWords
) -> Table:
    """Counts of true against predicted names, tinted by how right they are."""
    rows = []
    for row, counts in enumerate(arm.result.confusion):
        total = sum(counts)
        cells = []
        for column, n_images in enumerate(counts):
            unnamed = row >= len(classes) and classes[column] != normal
            right = labels[row] == classes[column] or unnamed
            share = n_images / total if total else 0.0
            shown: tuple[Piece, ...] = (f"{100 * share:.0f} %",) if total else ()
            shown_figure = Figure(f"{arm.pointer}/confusion/{row}/{column}", n_images, str(n_images))
            cells.append(Cell((shown_figure,), shown, True, tint="right" if right else "wrong", strength=share))
        rows.append(Row((row_head_cell(Verbatim(labels[row])), *cells)))
    top = (head_cell(words("true_predicted")), *(head_cell(Verbatim(name)) for name in classes))
    return Table("", (top,), tuple(rows), "confusion")


def differences_table(differences: Sequence[Difference], pointer: str, words: ReportWords) -> Table:
    """Both levels of each compared figure, and the difference with its interval.

    Args:
        differences: of two arms.
        pointer: where they stand in the JSON block, by metric.
    """
    top = (
        head_cell(words("figure")),
        head_cell(words("from"), number=True),
        head_cell(words("to"), number=True),
        head_cell(words("difference"), sub=(words("interval"),), number=True),
    )
    rows = []
    for one in differences:
        place = f"{pointer}/{one.metric}"
        name, gloss = words.metric(one.metric)
        levels = [
            number_cell(figure(f"{place}/{key}", value, number(value), words))
            for key, value in (("first", one.first), ("second", one.second))
        ]
        rows.append(Row((row_head_cell(name, sub=(gloss,)), *levels, difference_cell(one, place, words))))
    return Table("", (top,), tuple(rows))


def difference_cell(one: Difference | RecallDifference, pointer: str, words: ReportWords) -> Cell:
    """A difference with its interval below."""
    shown = figure(f"{pointer}/value", one.value, signed(one.value), words)
    return number_cell(shown, sub=(interval_words(one.interval, pointer, words),))


def interval_words(interval: Interval | None, pointer: str, words: ReportWords) -> str:
    """An interval of a difference, or that there is none."""
    return words("no_interval") if interval is None else bounds(pointer, interval, signed, words)


def recalls_table(recalls: Sequence[RecallDifference], pointer: str, words: ReportWords) -> Table:
    """Recall of every class in both arms, with p-values corrected for the number of classes."""
    top = (
        head_cell(words("class")),
        head_cell(words("test_images"), number=True),
        head_cell(words("from"), number=True),
        head_cell(words("to"), number=True),
        head_cell(words("difference"), sub=(words("interval"),), number=True),
        head_cell(words("p"), number=True),
        head_cell(words("p_holm"), number=True),
    )
    rows = []
    for one in recalls:
        place = f"{pointer}/{pointer_part(one.name)}"
        rows.append(
            Row(
                (
                    row_head_cell(Verbatim(one.name)),
                    number_cell(Figure(f"{place}/support", one.support, str(one.support))),
                    number_cell(figure(f"{place}/first", one.first, percent(one.first), words)),
                    number_cell(figure(f"{place}/second", one.second, percent(one.second), words)),
                    difference_cell(one, place, words),
                    number_cell(p_figure(f"{place}/p_value", one.p_value, words)),
                    number_cell(p_figure(f"{place}/p_holm", one.p_holm, words)),
                )
            )
        )
    return Table("", (top,), tuple(rows))


def p_figure(pointer: str, value: float | None, words: ReportWords) -> Figure:
    """A p-value, or that there is none."""
    return figure(pointer, value, "" if value is None else p_value(value), words)


def mcnemar_table(tests: Sequence[McNemar], names: tuple[str, str], pointer: str, words: ReportWords) -> Table:
    """Images right in both, one or none of two trainings, with the exact test."""
    first, second = (Verbatim(name) for name in names)
    top = (
        head_cell(first, " / ", second),
        head_cell(words("both_right"), number=True),
        head_cell(words("right_alone", name=first), number=True),
        head_cell(words("right_alone", name=second), number=True),
        head_cell(words("both_wrong"), number=True),
        head_cell(words("exact_p"), number=True),
    )
    rows = []
    for place, test in enumerate(tests):
        counts: list[Cell] = [
            number_cell(Figure(f"{pointer}/{place}/{key}", getattr(test, key), str(getattr(test, key))))
            for key in ("both_right", "only_first", "only_second", "both_wrong")
        ]
        seeds: tuple[Piece, ...] = (Verbatim(test.first_seed), " / ", Verbatim(test.second_seed))
        p_value = number_cell(p_figure(f"{pointer}/{place}/p_value", test.p_value, words))
        rows.append(Row((row_head_cell(*seeds), *counts, p_value)))
    return Table("", (top,), tuple(rows))


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
    upper = [head_cell(words("class"), rows=2), *(head_cell(one.label, columns=len(one.parts)) for one in shown)]
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
        rows.append(Row((row_head_cell(Verbatim(name)), *cells)))
    if rows:
        sums: list[Cell] = []
        for one in shown:
            pointer = f"/balance/{pointer_part(one.facts.name)}/all"
            sums += _balance_cells(one, sum_counts(one.facts.counts), pointer, words)
        rows.append(Row((row_head_cell(words("all_classes")), *sums), "all"))
    return Table("balance", (tuple(upper), tuple(lower)), tuple(rows))


def _balance_cells(one: TrainedArm, row: ClassCount | None, pointer: str, words: ReportWords) -> list[Cell]:
    if row is None:
        return [Cell(columns=len(one.parts), divides=True)]
    cells = []
    for part in one.parts:
        value = getattr(row, part)
        if part == "generated_share":
            shown = figure(f"{pointer}/{part}", value, percent(value), words)
        else:
            shown = Figure(f"{pointer}/{part}", value, count(value))
        cells.append(number_cell(shown, divides=part == one.parts[0]))
    return cells


def settings_table(arms: Sequence[tuple[ArmName, ArmFacts]], words: ReportWords) -> Table:
    """A row a setting, marked where the arms differ."""
    names = dict.fromkeys(name for _, facts in arms for name in facts.settings)
    rows = []
    for name in names:
        values = [facts.settings.get(name, "") for _, facts in arms]
        cells = (row_head_cell(Verbatim(name)), *(Cell((Verbatim(value),)) for value in values))
        rows.append(Row(cells, "differs" if len(set(values)) > 1 else ""))
    return Table("settings", ((head_cell(words("setting")), *(head_cell(label) for label, _ in arms)),), tuple(rows))


def diagnoses_table(arms: Sequence[tuple[ArmName, ArmFacts]], words: ReportWords) -> Table:
    """What the loss curves of every training say."""
    rows = [
        Row((row_head_cell(label), Cell((Verbatim(one.seed),)), Cell((words.sentence(one.line),))))
        for label, facts in arms
        for one in facts.diagnoses
    ]
    top = (head_cell(words("training")), head_cell(words("seed")), head_cell(words("diagnosis")))
    return Table("diagnoses", (top,), tuple(rows))


def pairs_table(pairs: Sequence[tuple[str, str]], words: ReportWords) -> Table:
    """Names with values, both as they are."""
    rows = tuple(Row((row_head_cell(Verbatim(name)), Cell((Verbatim(value),)))) for name, value in pairs)
    return Table("", ((head_cell(words("setting")), head_cell(words("value"))),), rows)


def operating_table(arms: Sequence[tuple[ArmName, ArmFacts]], words: ReportWords) -> Table:
    """A row a training that has a chosen cut."""
    rows = []
    for label, facts in arms:
        for place, one in enumerate(facts.operating):
            if one.chosen is None:
                continue
            pointer = f"/operating/{pointer_part(facts.name)}/{place}/chosen"
            chosen = one.chosen
            promised = figure(f"{pointer}/promised", chosen.promised, percent(chosen.promised), words)
            cells = (
                row_head_cell(label, " ", Verbatim(one.seed)),
                number_cell(Figure(f"{pointer}/cut", chosen.cut, number(chosen.cut))),
                number_cell("–" if chosen.promised is None else promised),
                _rate(chosen.miss_rate, f"{pointer}/miss_rate", words),
                _rate(chosen.overkill_rate, f"{pointer}/overkill_rate", words),
            )
            rows.append(Row(cells))
    names = ("cut", "promised", "miss_rate", "overkill_rate")
    top = (head_cell(words("training")), *(head_cell(words(name), number=True) for name in names))
    return Table("operating", (top,), tuple(rows))


def _rate(rate: Rate, pointer: str, words: ReportWords) -> Cell:
    count = Figure(f"{pointer}/count", rate.count, str(rate.count))
    of = Figure(f"{pointer}/of", rate.of, str(rate.of))
    return number_cell(figure(f"{pointer}/value", rate.value, percent(rate.value), words), sub=(count, " / ", of))
