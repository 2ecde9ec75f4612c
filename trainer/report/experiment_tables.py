"""Tables of an experiment: judgements, training images, real or generated, trainings, lineage; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import messages
from ..experiment.judge import Against
from ..experiment.result import ArmOutcome, ExperimentResult
from .contrast_tables import difference_cell, p_figure
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
from .rate_tables import bounds, figure

_ROOT = "/experiment"


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
    tops = [head(words(name), sub=(words("interval"),) if name == "difference" else (), number=True) for name in names]
    return Table("judgements", ((head(words("arm")), head(words("other")), *tops),), tuple(rows))


def _against_row(arm: str, one: Against, pointer: str, labels: Mapping[str, ArmName], words: ReportWords) -> Row:
    primary = one.primary
    place = f"{pointer}/differences/{primary.metric}"
    return Row(
        (
            row_head(labels[arm]),
            Cell((labels[one.other],), (words(one.kind),)),
            number(figure(f"{place}/first", primary.first, messages.number(primary.first), words)),
            number(figure(f"{place}/second", primary.second, messages.number(primary.second), words)),
            difference_cell(primary, place, words),
            number(p_figure(f"{pointer}/p_value", one.p_value, words)),
            number(p_figure(f"{pointer}/p_holm", one.p_holm, words) if one.p_holm is not None else "–"),
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
            shown: list[Piece] = ["0" if real is None else Figure(f"{root}/real/{part}", real, messages.count(real))]
            if added is not None:
                shown += [" + ", Figure(f"{root}/added/{part}", added, messages.count(added))]
            cells.append(number(*shown))
        share = Figure(f"{root}/share", one.added_share, messages.percent(one.added_share))
        rows.append(Row((row_head(label, sub=(words(one.kind),)), *cells, number(share))))
    top = (head(words("arm")), *(head(Verbatim(name), number=True) for name in classes))
    return Table("training-images", ((*top, head(words("added_share"), number=True)),), tuple(rows))


def separability_table(arms: Sequence[tuple[ArmName, ArmOutcome]], words: ReportWords) -> Table:
    """How well the images that joined an arm are told from real ones; arms without any are left out."""
    rows = []
    for label, one in arms:
        found = one.separability
        if found is None:
            continue
        root = f"{_ROOT}/arms/{pointer_part(one.name)}/real_or_generated"
        interval = "" if found.interval is None else bounds(root, found.interval, messages.number, words)
        value: Piece = figure(f"{root}/auroc", found.auroc, messages.number(found.auroc), words)
        reason: tuple[Piece, ...] = (words.sentence(found.reason),) if found.reason else (interval,)
        names = [f"{each.name} {messages.number(each.auroc)}" for each in found.per_class if len(found.per_class) > 1]
        rows.append(
            Row(
                (
                    row_head(label, sub=(words("defects_only"),) if one.defects_only else ()),
                    number(value, sub=reason),
                    number(Figure(f"{root}/real", found.real, str(found.real))),
                    number(Figure(f"{root}/generated", found.generated, str(found.generated))),
                    Cell((Verbatim(", ".join(names)),)),
                )
            )
        )
    top = (
        head(words("arm")),
        head(words("auroc"), sub=(words("interval"),), number=True),
        head(words("real_images"), number=True),
        head(words("generated_images"), number=True),
        head(words("class")),
    )
    return Table("separability", (top,), tuple(rows))


def cells_table(result: ExperimentResult, labels: Mapping[str, ArmName], words: ReportWords) -> Table:
    """Every training with its best epoch and what its curves say."""
    rows = []
    for place, one in enumerate(result.cells):
        root = f"{_ROOT}/cells/{place}"
        fold = () if not result.folds else (number("–" if one.fold is None else str(one.fold)),)
        minutes = f"{one.seconds / 60:.1f}"
        rows.append(
            Row(
                (
                    row_head(labels[one.arm]),
                    number(Figure(f"{root}/seed", one.seed, str(one.seed))),
                    *fold,
                    number(Figure(f"{root}/best_epoch", one.best_epoch, str(one.best_epoch))),
                    number(Figure(f"{root}/val_macro_f1", one.val_macro_f1, messages.number(one.val_macro_f1))),
                    number(minutes),
                    Cell((words.sentence(one.diagnosis),)),
                )
            )
        )
    keys = ("seed", *(("fold",) if result.folds else ()), "best_epoch", "val_macro_f1", "minutes")
    tops = [head(words(key), number=True) for key in keys]
    return Table("cells", ((head(words("arm")), *tops, head(words("diagnosis"))),), tuple(rows))


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
                    row_head(Verbatim(str(one["path"]))),
                    Cell((Verbatim(str(one["engine"])),)),
                    Cell((Verbatim(str(one.get("model") or "–")),)),
                    number(Figure(f"{root}/count", one["count"], str(one["count"])), sub=_accepted(one, root, words)),
                    Cell(tuple(users)),
                    Cell((Verbatim(str(one["fingerprint"])[:16]),)),
                )
            )
        )
    keys = ("folder", "engine", "model", "images", "arms", "fingerprint")
    tops = tuple(head(words(key), number=key == "images") for key in keys)
    return Table("lineage", (tops,), tuple(rows))


def _accepted(one: Mapping[str, Any], root: str, words: ReportWords) -> tuple[Piece, ...]:
    """Of how many images those of a curated set are the accepted ones."""
    if not one.get("curated"):
        return ()
    return (words("accepted_of", recorded=Figure(f"{root}/recorded", one["recorded"], str(one["recorded"]))),)
