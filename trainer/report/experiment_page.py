"""ExperimentInputs -> its report as a page, as Markdown or as JSON; pure but for drawing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from sdcore.messages import Language

from ..verdict import Difference
from .contrast_tables import differences_table
from .experiment_inputs import MOST_WORST, ExperimentInputs, experiment_data
from .experiment_tables import (
    cells_table,
    judgements_table,
    lineage_table,
    separability_table,
    training_images_table,
)
from .figures import draw_intervals, draw_losses, draw_operating, loss_range
from .formats import Format
from .page import render_markdown, render_page
from .pieces import ArmName, Figure, ReportWords, Verbatim, pointer_part
from .rate_tables import ArmColumn, classes_tables, confusion_table, rates_tables
from .training_tables import pairs_table

_ROOT = "/experiment"


def render_experiment(inputs: ExperimentInputs, *, language: Language = "en", kind: Format = "html") -> str:
    """The report of an experiment as text; figures as in `render_report`."""
    if kind == "json":
        return json.dumps(experiment_data(inputs), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    words = ReportWords(language, markup=kind == "html")
    context = _context(inputs, words, draw=kind == "html")
    if kind == "md":
        return render_markdown("experiment.md.j2", words, **context)
    return render_page("experiment.html.j2", words, data=experiment_data(inputs), **context)


def _context(inputs: ExperimentInputs, words: ReportWords, *, draw: bool) -> dict[str, Any]:
    result = inputs.result
    labels = {one.name: ArmName(place, one.name) for place, one in enumerate(result.arms)}
    arms = [(labels[one.name], one) for one in result.arms]
    columns = [ArmColumn(label, one.result, f"{_ROOT}/arms/{pointer_part(one.name)}", one.kind) for label, one in arms]
    count, seeds = result.images, len(result.seeds)
    return {
        "inputs": inputs,
        "result": result,
        "labels": labels,
        "several": "many" if seeds > 1 else "one",
        "answers": [(labels[one.arm], one, words.sentence(one.sentence)) for one in result.judgements],
        "primary": words.metric(result.primary)[0],
        "units": words("units_images")
        if result.groups is None
        else words("units_groups", groups=Figure(f"{_ROOT}/groups", result.groups, str(result.groups))),
        "images": Figure(f"{_ROOT}/images", count, str(count)),
        "resamples": Figure(f"{_ROOT}/bootstrap/resamples", result.resamples, str(result.resamples)),
        "judgements": judgements_table(result, labels, words),
        "contrasts": list(_contrasts(inputs, words)),
        "rates": rates_tables(columns, normal=result.normal, words=words),
        "training_images": training_images_table(arms, words),
        "separability": separability_table(arms, words),
        "classes": classes_tables(columns, words),
        "confusions": [
            (
                one.label,
                confusion_table(one, labels=result.labels, classes=result.classes, normal=result.normal, words=words),
            )
            for one in columns
        ],
        "cells": cells_table(result, labels, words),
        "lineage": lineage_table(result, labels, words),
        "config": pairs_table(list(flatten(result.config)), words),
        "environment": pairs_table(list(flatten(result.environment)), words),
        "pairs_table": lambda values: pairs_table(list(values.items()), words),
        "most_worst": MOST_WORST,
        "drawn": _drawings(inputs, labels, words) if draw else {},
    }


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as names with dots, and their values as text; empty ones are left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)) and any(isinstance(one, Mapping) for one in value):
            for place, one in enumerate(value):
                yield from flatten(one, f"{prefix}{name}.{place}.")
        elif value not in (None, "", [], ()):
            yield f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _contrasts(inputs: ExperimentInputs, words: ReportWords) -> Iterator[tuple[str, Any]]:
    """All compared figures of each generated arm against baseline and control."""
    for one in inputs.result.judgements:
        for key, other in (("against_baseline", one.baseline), ("against_control", one.control)):
            pointer = f"{_ROOT}/judgements/{pointer_part(one.arm)}/{key}/differences"
            heading = words("all_metrics", second=Verbatim(one.arm), first=Verbatim(other.other))
            yield heading, differences_table(other.differences, pointer, words)


def _drawings(inputs: ExperimentInputs, labels: Mapping[str, ArmName], words: ReportWords) -> dict[str, Any]:
    drawn: dict[str, Any] = {"losses": [], "differences": None, "operating": None}
    named: list[tuple[str, Difference]] = []
    colours = []
    for one in inputs.result.judgements:
        for other in (one.baseline, one.control, *one.oversampling):
            named.append((words("minus", second=labels[one.arm], first=labels[other.other]), other.primary))
            colours.append(labels[one.arm].colour)
    if named:
        plain = [(str(Markup(name).striptags()), difference) for name, difference in named]  # noqa: S704 - our words
        drawn["differences"] = _svg(draw_intervals(plain, colours, identity="differences", words=words, width_in=7.4))
    axis = loss_range([curve for arm in inputs.arms for curve in arm.curves])
    for place, facts in enumerate(inputs.arms):
        if facts.curves:
            svg = draw_losses(facts.curves, arm=place, loss_axis=axis, identity=f"loss-{place}", words=words)
            drawn["losses"].append((labels[facts.name], _svg(svg)))
    operating = [(labels[one.name], one.operating) for one in inputs.arms]
    if any(curve.miss_rate for _, curves in operating for curve in curves):
        drawn["operating"] = _svg(draw_operating(operating, identity="operating", words=words))
    return drawn


def _svg(drawn: str) -> Markup:
    return Markup(drawn)  # noqa: S704 - drawn by us, its words escaped
