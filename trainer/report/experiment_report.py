"""The report of an experiment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from markupsafe import Markup

from sdcore.files import write_bytes_atomically
from sdcore.messages import Language

from ..evaluation.verdict import Difference
from ..experiment.judge import ArmComparison
from ..experiment.result import ArmOutcome, CellResult, ExperimentResult, experiment_as_json
from ..messages import count, number, percent
from . import tables
from .collect import collect_generated_set, embed_test_images, read_curves, software_versions
from .compare_report import generated_set_as_json, training_as_json, worst_as_json
from .elements import (
    ArmName,
    Cell,
    Figure,
    Format,
    Piece,
    ReportWords,
    Row,
    Table,
    Verbatim,
    choose_format,
    head_cell,
    number_cell,
    pointer_part,
    render_markdown,
    render_page,
    row_head_cell,
)
from .figures import draw_intervals, draw_losses, draw_operating, loss_range
from .inputs import ArmFacts, GeneratedSet, SeedDiagnosis, WorstMistakes, operating_curve, stand_ins, worst_mistakes

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
    columns = [
        tables.ArmColumn(label, one.result, f"{_ROOT}/arms/{pointer_part(one.name)}", one.kind) for label, one in arms
    ]
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
        "rates": tables.rates_tables(columns, normal=result.normal, words=words),
        "training_images": training_images_table(arms, words),
        "separability": separability_table(arms, words),
        "classes": tables.classes_tables(columns, words),
        "confusions": [
            (
                one.label,
                tables.confusion_table(
                    one, labels=result.labels, classes=result.classes, normal=result.normal, words=words
                ),
            )
            for one in columns
        ],
        "cells": cells_table(result, labels, words),
        "lineage": lineage_table(result, labels, words),
        "config": tables.pairs_table(list(flatten(result.config)), words),
        "environment": tables.pairs_table(list(flatten(result.environment)), words),
        "pairs_table": lambda values: tables.pairs_table(list(values.items()), words),
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
            yield heading, tables.differences_table(other.differences, pointer, words)


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


MOST_WORST = 8
"""Mistakes shown of each kind for each generated arm."""


@dataclass(frozen=True, eq=False)
class ExperimentInputs:
    """All the report of an experiment needs."""

    result: ExperimentResult
    arms: tuple[ArmFacts, ...]
    """In the order of `result.arms`: curves, diagnoses and operating curves."""
    generated_sets: tuple[GeneratedSet, ...] = ()
    worst: tuple[WorstMistakes, ...] = ()
    """One a generated arm."""
    thumbnails: Mapping[str, str] = field(default_factory=dict)
    """Test image -> data URI, of those that are shown."""
    versions: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """The user's own caveats."""
    made_at: str = ""

    @property
    def stand_in_engines(self) -> tuple[str, ...]:
        """Names of the engines that were not Stable Diffusion, each once."""
        return stand_ins([*(arm.engines for arm in self.result.arms), *(one.engines for one in self.generated_sets)])


def collect_experiment(
    result: ExperimentResult, *, output: Path, commands: Sequence[str] = (), notes: Sequence[str] = ()
) -> ExperimentInputs:
    """Gather what a report shows; what is no longer on disk is left out, and the report says so.

    Args:
        notes: caveats of the user's own.

    Raises:
        DataError: a cell's results.csv, config.json or data.json is damaged.
    """
    abnormal = str(result.config.get("abnormal", "Abnormal"))
    worst = tuple(
        worst_mistakes(one.arm, normal=result.normal, abnormal=abnormal)
        for one in result.arms
        if one.kind == "generated"
    )
    shown = [one.image for arm in worst for kind in (arm.misses, arm.overkill) for one in kind[:MOST_WORST]]
    data = Path(str(result.data["path"])) if "path" in result.data and not result.folds else None
    return ExperimentInputs(
        result=result,
        arms=tuple(_facts(one, result, output, abnormal) for one in result.arms),
        generated_sets=tuple(collect_generated_set(one) for one in result.data.get("sets", ())),
        worst=worst,
        thumbnails=embed_test_images(shown, data),
        versions=software_versions(),
        commands=tuple(commands),
        notes=tuple(notes),
        made_at=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _facts(one: ArmOutcome, result: ExperimentResult, output: Path, abnormal: str) -> ArmFacts:
    cells = [cell for cell in result.cells if cell.arm == one.name]
    recorded = [found for cell in cells if (found := read_curves(cell_name(cell), output / cell.folder)) is not None]
    return ArmFacts(
        name=one.name,
        engines=one.engines,
        curves=tuple(curve for curve, _ in recorded),
        diagnoses=tuple(SeedDiagnosis(cell_name(cell), "", cell.diagnosis) for cell in cells),
        operating=tuple(
            operating_curve(seed.seed, seed.predictions, normal=result.normal, abnormal=abnormal)
            for seed in one.arm.seeds
        ),
    )


def cell_name(cell: CellResult) -> str:
    """Which training of its arm a cell is."""
    return f"seed-{cell.seed}" if cell.fold is None else f"seed-{cell.seed} fold-{cell.fold}"


def experiment_data(inputs: ExperimentInputs) -> dict[str, Any]:
    """What the report's JSON block holds."""
    training = training_as_json(inputs.arms)
    return {
        "experiment": experiment_as_json(inputs.result),
        **{key: training[key] for key in ("curves", "operating")},
        "generated_sets": [generated_set_as_json(one) for one in inputs.generated_sets],
        "worst": [worst_as_json(one) for one in inputs.worst],
        "versions": dict(inputs.versions),
        "commands": list(inputs.commands),
        "notes": list(inputs.notes),
        "made_at": inputs.made_at,
    }


def judgements_table(result: ExperimentResult, labels: Mapping[str, ArmName], words: ReportWords) -> Table:
    """The deciding metric of every generated arm beside baseline, control and oversampling."""
    rows = []
    for one in result.judgements:
        root = f"{_ROOT}/judgements/{pointer_part(one.arm)}"
        rows.append(_against_row(one.arm, one.baseline, f"{root}/against_baseline", labels, words))
        rows.append(_against_row(one.arm, one.control, f"{root}/against_control", labels, words))
        for place, other in enumerate(one.oversampling):
            rows.append(_against_row(one.arm, other, f"{root}/against_oversampling/{place}", labels, words))
    names = ("from", "to", "difference", "p", "p_holm")
    tops = [
        head_cell(words(name), sub=(words("interval"),) if name == "difference" else (), number=True) for name in names
    ]
    return Table("judgements", ((head_cell(words("arm")), head_cell(words("other")), *tops),), tuple(rows))


def _against_row(arm: str, one: ArmComparison, pointer: str, labels: Mapping[str, ArmName], words: ReportWords) -> Row:
    primary = one.primary
    place = f"{pointer}/differences/{primary.metric}"
    return Row(
        (
            row_head_cell(labels[arm]),
            Cell((labels[one.other],), (words(one.kind),)),
            number_cell(tables.figure(f"{place}/first", primary.first, number(primary.first), words)),
            number_cell(tables.figure(f"{place}/second", primary.second, number(primary.second), words)),
            tables.difference_cell(primary, place, words),
            number_cell(tables.p_figure(f"{pointer}/p_value", one.p_value, words)),
            number_cell(tables.p_figure(f"{pointer}/p_holm", one.p_holm, words) if one.p_holm is not None else "–"),
        )
    )


def training_images_table(arms: Sequence[tuple[ArmName, ArmOutcome]], words: ReportWords) -> Table:
    """Real images and those that joined them: a row an arm, a column a class."""
    classes = list(dict.fromkeys(name for _, one in arms for name in (*one.real, *one.added)))
    rows = []
    for label, one in arms:
        root = f"{_ROOT}/arms/{pointer_part(one.name)}"
        cells: list[Cell] = []
        for name in classes:
            part = pointer_part(name)
            real, added = one.real.get(name), one.added.get(name)
            shown: list[Piece] = ["0" if real is None else Figure(f"{root}/real/{part}", real, count(real))]
            if added is not None:
                shown += [" + ", Figure(f"{root}/added/{part}", added, count(added))]
            cells.append(number_cell(*shown))
        share = Figure(f"{root}/share", one.added_share, percent(one.added_share))
        rows.append(Row((row_head_cell(label, sub=(words(one.kind),)), *cells, number_cell(share))))
    top = (head_cell(words("arm")), *(head_cell(Verbatim(name), number=True) for name in classes))
    return Table("training-images", ((*top, head_cell(words("added_share"), number=True)),), tuple(rows))


def separability_table(arms: Sequence[tuple[ArmName, ArmOutcome]], words: ReportWords) -> Table:
    """How well a classifier separates the images that joined an arm from real ones; arms without any are left out."""
    rows = []
    for label, one in arms:
        found = one.separability
        if found is None:
            continue
        root = f"{_ROOT}/arms/{pointer_part(one.name)}/real_or_generated"
        interval = "" if found.interval is None else tables.bounds(root, found.interval, number, words)
        value: Piece = tables.figure(f"{root}/auroc", found.auroc, number(found.auroc), words)
        reason: tuple[Piece, ...] = (words.sentence(found.reason),) if found.reason else (interval,)
        names = [f"{each.name} {number(each.auroc)}" for each in found.per_class if len(found.per_class) > 1]
        rows.append(
            Row(
                (
                    row_head_cell(label, sub=(words("defects_only"),) if one.defects_only else ()),
                    number_cell(value, sub=reason),
                    number_cell(Figure(f"{root}/real", found.real, str(found.real))),
                    number_cell(Figure(f"{root}/generated", found.generated, str(found.generated))),
                    Cell((Verbatim(", ".join(names)),)),
                )
            )
        )
    top = (
        head_cell(words("arm")),
        head_cell(words("auroc"), sub=(words("interval"),), number=True),
        head_cell(words("real_images"), number=True),
        head_cell(words("generated_images"), number=True),
        head_cell(words("class")),
    )
    return Table("separability", (top,), tuple(rows))


def cells_table(result: ExperimentResult, labels: Mapping[str, ArmName], words: ReportWords) -> Table:
    """Every training with its best epoch and what its curves say."""
    rows = []
    for place, one in enumerate(result.cells):
        root = f"{_ROOT}/cells/{place}"
        fold = () if not result.folds else (number_cell("–" if one.fold is None else str(one.fold)),)
        minutes = f"{one.seconds / 60:.1f}"
        rows.append(
            Row(
                (
                    row_head_cell(labels[one.arm]),
                    number_cell(Figure(f"{root}/seed", one.seed, str(one.seed))),
                    *fold,
                    number_cell(Figure(f"{root}/best_epoch", one.best_epoch, str(one.best_epoch))),
                    number_cell(Figure(f"{root}/val_macro_f1", one.val_macro_f1, number(one.val_macro_f1))),
                    number_cell(minutes),
                    Cell((words.sentence(one.diagnosis),)),
                )
            )
        )
    keys = ("seed", *(("fold",) if result.folds else ()), "best_epoch", "val_macro_f1", "minutes")
    tops = [head_cell(words(key), number=True) for key in keys]
    return Table("cells", ((head_cell(words("arm")), *tops, head_cell(words("diagnosis"))),), tuple(rows))


def lineage_table(result: ExperimentResult, labels: Mapping[str, ArmName], words: ReportWords) -> Table:
    """Every set of generated images: what made it, and who drew from it."""
    rows = []
    for place, one in enumerate(result.data.get("sets", ())):
        root = f"{_ROOT}/data/sets/{place}"
        users: list[Piece] = []
        for arm in result.arms:
            if one["path"] in arm.sets and arm.kind == "generated" and arm.curated == one.get("accepted_only", True):
                users += [", "] * bool(users) + [labels[arm.name]]
        rows.append(
            Row(
                (
                    row_head_cell(Verbatim(str(one["path"]))),
                    Cell((Verbatim(str(one["engine"])),)),
                    Cell((Verbatim(str(one.get("model") or "–")),)),
                    number_cell(
                        Figure(f"{root}/count", one["count"], str(one["count"])), sub=_accepted(one, root, words)
                    ),
                    Cell(tuple(users)),
                    Cell((Verbatim(str(one["fingerprint"])[:16]),)),
                )
            )
        )
    keys = ("folder", "engine", "model", "images", "arms", "fingerprint")
    tops = tuple(head_cell(words(key), number=key == "images") for key in keys)
    return Table("lineage", (tops,), tuple(rows))


def _accepted(one: Mapping[str, Any], root: str, words: ReportWords) -> tuple[Piece, ...]:
    """Of how many images those of a curated set are the accepted ones."""
    if not one.get("curated"):
        return ()
    return (words("accepted_of", recorded=Figure(f"{root}/recorded", one["recorded"], str(one["recorded"]))),)


def write_experiment_report(
    path: Path,
    result: ExperimentResult,
    *,
    output: Path,
    language: Language = "en",
    kind: Format | None = None,
    commands: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write the report of an experiment atomically.

    Args:
        path: its ending says the format where `kind` does not.
        notes: caveats of the user's own.

    Raises:
        SettingsError: the ending and `kind` contradict each other, or neither says anything.
        DataError: a cell's record is damaged.
        OSError: the file cannot be written.
    """
    kind = choose_format(path, kind)
    inputs = collect_experiment(result, output=output, commands=commands, notes=notes)
    write_bytes_atomically(path, render_experiment(inputs, language=language, kind=kind).encode("utf-8"))
