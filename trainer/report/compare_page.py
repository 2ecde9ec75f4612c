"""ReportInputs -> what the templates of a comparison show; pure but for drawing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from .. import messages
from ..contrast import Contrast
from .contrast_tables import differences_table, interval_words, mcnemar_table, recalls_table
from .figures import draw_balance, draw_differences, draw_losses, draw_operating, loss_range
from .inputs import ReportInputs
from .operating_table import operating_table
from .pieces import ArmName, Figure, ReportWords, Table, Verbatim
from .rate_tables import ArmColumn, classes_tables, confusion_table, figure, rates_tables
from .training_tables import balance_table, diagnoses_table, pairs_table, settings_table, trained_arm
from .worst import MOST_WORST

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
    """Everything the templates name.

    Args:
        inputs: the report.
        words: of the page.
        draw: whether drawings are wanted too.
    """
    comparison = inputs.comparison
    labels = [ArmName(place, arm.name) for place, arm in enumerate(comparison.arms)]
    columns = [
        ArmColumn(label, result, f"{_ROOT}/arms/{role}", role)
        for label, result, role in zip(labels, comparison.arms, _ROLES, strict=False)
    ]
    facts = list(zip(labels, inputs.arms, strict=True))
    trained = [trained_arm(label, one) for label, one in facts]
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
        "rates": rates_tables(columns, normal=comparison.normal, words=words),
        "balance": balance_table(trained, words),
        "classes": classes_tables(columns, words),
        "confusions": [
            (
                one.label,
                confusion_table(
                    one, labels=comparison.labels, classes=comparison.classes, normal=comparison.normal, words=words
                ),
            )
            for one in columns
        ],
        "operating": operating_table(facts, words),
        "diagnoses": diagnoses_table(facts, words),
        "settings": settings_table(facts, words),
        "pairs_table": lambda values: pairs_table(list(values.items()), words),
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
                "value": figure(f"{place}/value", one.value, messages.signed(one.value), words),
                "first": figure(f"{place}/first", one.first, messages.number(one.first), words),
                "second": figure(f"{place}/second", one.second, messages.number(one.second), words),
                "interval": None if one.interval is None else interval_words(one.interval, place, words),
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
                differences=differences_table(one.differences, f"{place}/differences", words),
                recalls=recalls_table(one.recalls, f"{place}/recalls", words),
                mcnemar=mcnemar_table(one.mcnemar, (one.first, one.second), f"{place}/mcnemar", words),
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
