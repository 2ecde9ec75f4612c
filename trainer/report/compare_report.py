"""The report of a comparison: its tables and drawings as a page, as Markdown or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from sdcore.files import write_bytes_atomically
from sdcore.messages import Language

from ..evaluation.compare import Contrast, comparison_as_json
from ..evaluation.metrics import Rate
from ..messages import number, signed, text
from . import tables
from .elements import ArmName, Figure, Format, ReportWords, Table, Verbatim, choose_format, render_markdown, render_page
from .figures import draw_balance, draw_differences, draw_losses, draw_operating, loss_range
from .inputs import (
    MOST_WORST,
    ArmFacts,
    ClassCount,
    GeneratedSet,
    OperatingCurve,
    ReportInputs,
    SeedDiagnosis,
    WorstMistakes,
    sum_counts,
)

MOST_FLIPS = 24
"""Flipped images shown each way; the count is always of all."""

_ROLES = ("baseline", "candidate", "control")
_ROOT = "/comparison"


@dataclass(frozen=True)
class ContrastView:
    """Two arms against each other."""

    heading: str
    differences: Table
    recalls: Table
    mcnemar: Table
    worth: str
    figure: Markup
    """"" where no drawings are wanted."""


def compare_context(inputs: ReportInputs, words: ReportWords, *, draw: bool) -> dict[str, Any]:
    """Everything the templates name."""
    comparison = inputs.comparison
    labels = [ArmName(place, arm.name) for place, arm in enumerate(comparison.arms)]
    columns = [
        tables.ArmColumn(label, result, f"{_ROOT}/arms/{role}", role)
        for label, result, role in zip(labels, comparison.arms, _ROLES, strict=False)
    ]
    facts = list(zip(labels, inputs.arms, strict=True))
    trained = [tables.trained_arm(label, one) for label, one in facts]
    several = max(len(arm.seeds) for arm in comparison.arms) > 1
    return {
        "inputs": inputs,
        "comparison": comparison,
        "arms": columns,
        "facts": facts,
        "several": "many" if several else "one",
        "sentence": words.sentence(comparison.verdict.sentence),
        "units": _units(comparison.groups, words),
        "resamples": Figure(f"{_ROOT}/bootstrap/resamples", comparison.resamples, str(comparison.resamples)),
        "images": Figure(f"{_ROOT}/images", comparison.images, str(comparison.images)),
        "tiles": _tiles(inputs, words),
        "contrasts": _contrasts(inputs, words, draw=draw),
        "rates": tables.rates_tables(columns, normal=comparison.normal, words=words),
        "balance": tables.balance_table(trained, words),
        "classes": tables.classes_tables(columns, words),
        "confusions": [
            (
                one.label,
                tables.confusion_table(
                    one, labels=comparison.labels, classes=comparison.classes, normal=comparison.normal, words=words
                ),
            )
            for one in columns
        ],
        "operating": tables.operating_table(facts, words),
        "diagnoses": tables.diagnoses_table(facts, words),
        "settings": tables.settings_table(facts, words),
        "pairs_table": lambda values: tables.pairs_table(list(values.items()), words),
        "most_flips": MOST_FLIPS,
        "most_worst": MOST_WORST,
        "drawn": _drawings(inputs, labels, words) if draw else {},
    }


def _units(groups: int | None, words: ReportWords) -> str:
    if groups is None:
        return words("units_images")
    return words("units_groups", groups=Figure(f"{_ROOT}/groups", groups, str(groups)))


def _tiles(inputs: ReportInputs, words: ReportWords) -> list[dict[str, Any]]:
    """The compared figures, large."""
    tiles = []
    for one in inputs.comparison.against_baseline.differences:
        place = f"{_ROOT}/against_baseline/differences/{one.metric}"
        name, gloss = words.metric(one.metric)
        tiles.append(
            {
                "name": name,
                "gloss": gloss,
                "value": tables.figure(f"{place}/value", one.value, signed(one.value), words),
                "first": tables.figure(f"{place}/first", one.first, number(one.first), words),
                "second": tables.figure(f"{place}/second", one.second, number(one.second), words),
                "interval": None if one.interval is None else tables.interval_words(one.interval, place, words),
                "more_missed": one.metric == "miss_rate" and one.rose,
            }
        )
    return tiles


def _contrasts(inputs: ReportInputs, words: ReportWords, *, draw: bool) -> list[ContrastView]:
    comparison = inputs.comparison
    found: list[tuple[str, Contrast]] = [("against_baseline", comparison.against_baseline)]
    if comparison.against_control is not None:
        found.append(("against_control", comparison.against_control))
    views = []
    for key, one in found:
        place = f"{_ROOT}/{key}"
        svg = draw_differences(one.differences, identity=key, words=words) if draw else ""
        views.append(
            ContrastView(
                heading=words("minus", second=Verbatim(one.second), first=Verbatim(one.first)),
                differences=tables.differences_table(one.differences, f"{place}/differences", words),
                recalls=tables.recalls_table(one.recalls, f"{place}/recalls", words),
                mcnemar=tables.mcnemar_table(one.mcnemar, (one.first, one.second), f"{place}/mcnemar", words),
                worth="" if one.worth is None else words.sentence(one.worth.sentence),
                figure=Markup(svg),  # noqa: S704 - drawn by us, its words escaped
            )
        )
    return views


def _drawings(inputs: ReportInputs, labels: list[ArmName], words: ReportWords) -> dict[str, Any]:
    drawn: dict[str, Any] = {"losses": [], "balance": None, "operating": None}
    axis = loss_range([curve for arm in inputs.arms for curve in arm.curves])
    for place, (label, facts) in enumerate(zip(labels, inputs.arms, strict=True)):
        if facts.curves:
            svg = draw_losses(facts.curves, arm=place, loss_axis=axis, identity=f"loss-{_ROLES[place]}", words=words)
            drawn["losses"].append((label, Markup(svg)))  # noqa: S704 - drawn by us, its words escaped
    if inputs.arms[0].counts and inputs.arms[1].counts:
        svg = draw_balance(inputs.arms[0], inputs.arms[1], labels[:2], identity="balance", words=words)
        drawn["balance"] = Markup(svg)  # noqa: S704 - as above
    operating = [(label, one.operating) for label, one in zip(labels, inputs.arms, strict=True)]
    if any(curve.miss_rate for _, curves in operating for curve in curves):
        svg = draw_operating(operating, identity="operating", words=words)
        drawn["operating"] = Markup(svg)  # noqa: S704 - as above
    return drawn


def report_data(inputs: ReportInputs) -> dict[str, Any]:
    """What the report's JSON block holds: the comparison and the balance of training images."""
    return {
        "comparison": comparison_as_json(inputs.comparison),
        **training_as_json(inputs.arms),
        "generated_sets": [generated_set_as_json(one) for one in inputs.generated_sets],
        "worst": worst_as_json(inputs.worst) if inputs.worst else None,
        "versions": dict(inputs.versions),
        "commands": list(inputs.commands),
        "notes": list(inputs.notes),
        "made_at": inputs.made_at,
    }


def training_as_json(arms: Sequence[ArmFacts]) -> dict[str, Any]:
    """How each arm was trained, and what its cuts do, by the arm's name."""
    return {
        "balance": {
            arm.name: {
                "classes": {one.class_name: _count_as_json(one) for one in arm.counts},
                "all": _count_as_json(sum_counts(arm.counts)),
            }
            for arm in arms
        },
        "settings": {arm.name: dict(arm.settings) for arm in arms},
        "curves": {arm.name: [asdict(curve) for curve in arm.curves] for arm in arms},
        "diagnoses": {arm.name: [_diagnosis_as_json(one) for one in arm.diagnoses] for arm in arms},
        "operating": {arm.name: [_operating_as_json(one) for one in arm.operating] for arm in arms},
    }


def generated_set_as_json(one: GeneratedSet) -> dict[str, Any]:
    """A folder of generated images: engine, model, parameters, and the samples shown without their pixels."""
    return {
        "folder": one.folder,
        "images": one.images,
        "recorded": one.recorded,
        "engines": list(one.engines),
        "models": list(one.models),
        "parameters": dict(one.parameters),
        "missing": text(one.missing) if one.missing else "",
        "samples": [
            {
                "class": sample.class_name,
                "source": sample.source_name,
                "made": [
                    {"file": made.file, "strength": made.strength, "seed": made.seed} for made in sample.generated
                ],
            }
            for sample in one.samples
        ],
    }


def worst_as_json(worst: WorstMistakes) -> dict[str, Any]:
    """Every image that most trainings of an arm judge wrongly, the surest first."""
    return asdict(worst)


def _diagnosis_as_json(one: SeedDiagnosis) -> dict[str, Any]:
    return {"seed": one.seed, "kind": one.kind, "line": text(one.line), "advice": [text(each) for each in one.advice]}


def _operating_as_json(one: OperatingCurve) -> dict[str, Any]:
    chosen = one.chosen
    return {
        "seed": one.seed,
        "curve": {"overkill_rate": list(one.overkill_rate), "miss_rate": list(one.miss_rate)},
        "chosen": None
        if chosen is None
        else {
            "cut": chosen.cut,
            "promised": chosen.promised,
            "miss_rate": _rate_as_json(chosen.miss_rate),
            "overkill_rate": _rate_as_json(chosen.overkill_rate),
        },
    }


def _rate_as_json(rate: Rate) -> dict[str, Any]:
    return {"value": rate.value, "count": rate.count, "of": rate.of}


def _count_as_json(one: ClassCount) -> dict[str, Any]:
    return {
        "real": one.real,
        "generated": one.generated,
        "repeated": one.repeated,
        "total": one.total,
        "generated_share": one.generated_share,
    }


def render_report(inputs: ReportInputs, *, language: Language = "en", kind: Format = "html") -> str:
    """The report as text.

    Every figure of the comparison stands twice in a page: in the JSON block `report-data`, and in a visible element
    whose `data-metric` is its JSON pointer in that block and whose `data-value` is the unrounded number. JSON is that
    block alone, the same in every language; Markdown has the same tables and no pictures.
    """
    if kind == "json":
        return json.dumps(report_data(inputs), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    words = ReportWords(language, markup=kind == "html")
    context = compare_context(inputs, words, draw=kind == "html")
    if kind == "md":
        return render_markdown("compare.md.j2", words, **context)
    return render_page("compare.html.j2", words, data=report_data(inputs), **context)


def write_report(path: Path, inputs: ReportInputs, *, language: Language = "en", kind: Format | None = None) -> None:
    """Write the report of a comparison atomically.

    Args:
        path: its ending says the format where `kind` does not.

    Raises:
        SettingsError: the ending and `kind` contradict each other, or neither says anything.
        OSError: the file cannot be written.
    """
    kind = choose_format(path, kind)
    write_bytes_atomically(path, render_report(inputs, language=language, kind=kind).encode("utf-8"))
