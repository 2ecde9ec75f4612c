"""Finished cells on disk -> ExperimentResult."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sdcore.files import read_json_or_none
from sdcore.messages import Message, message

from ..data.dataset import PARTS
from ..data.provenance import read_generated
from ..data.transforms import decode
from ..errors import EvaluationError
from ..evaluation.arms import Arm, SeedPredictions, align, confusion_by_group, load_arm, number_groups, summarise_arm
from ..evaluation.diagnosis import diagnose
from ..evaluation.evaluate import evaluate, label_images
from ..evaluation.history import Conditions, read_history
from ..evaluation.stats import RESAMPLES
from ..evaluation.verdict import notes_on
from ..models.predictions import Predictions
from ..run_files import DATA_NAME, ENVIRONMENT_NAME, read_config
from .judge import JudgedArm, judge
from .plan import Cell, PlannedArm
from .prepare import Prepared, total_steps
from .records import PREDICTIONS_NAME, Declaration, as_declared, read_done
from .result import ArmOutcome, CellResult, ExperimentResult, Separability
from .separability import describe_texture, separability
from .sets import ArmSet

_MOST_COMPARED = 2000
"""Upper limit of the real, and of the added, images in the comparison of textures."""


def collect(
    prepared: Prepared,
    joined: Mapping[tuple[str, int | None], ArmSet],
    declaration: Declaration,
    *,
    resamples: int = RESAMPLES,
    progress: bool = False,
) -> ExperimentResult:
    """Read every cell, pool the folds, and judge; `joined` maps (arm, fold) to the folder of added images.

    Raises:
        EvaluationError: a cell is not done, or was trained for another number of steps.
        PredictionsError: predictions cannot be read.
    """
    config = prepared.config
    cells = [_read_cell(prepared, cell) for cell in prepared.cells]
    arms = [_read_arm(prepared, arm) for arm in prepared.arms]
    reference = arms[0].seeds[0].predictions
    sets = [[align(one.predictions, reference, arms[0].name, arm.name) for one in arm.seeds] for arm in arms]
    names: dict[str, Any] = {"normal": config.normal, "abnormal": config.abnormal}
    labelled = [[label_images(one, **names) for one in predictions] for predictions in sets]
    truth = labelled[0][0]
    group_of, groups = number_groups(arms, reference)
    counts = [np.stack([confusion_by_group(one, group_of) for one in seeds]) for seeds in labelled]
    judgements = judge(
        [
            JudgedArm(arm.name, arm.kind, arm.controls, table, arm.shares_control)
            for arm, table in zip(prepared.arms, counts, strict=True)
        ],
        primary=config.primary,
        normal=truth.normal,
        classes=len(truth.classes),
        images=len(reference.images),
        resamples=resamples,
        seed=config.seed,
    )
    textures = _TextureComparison(prepared, progress=progress)
    outcomes = []
    for planned, arm, predictions, table in zip(prepared.arms, arms, sets, counts, strict=True):
        result = summarise_arm(arm, [evaluate(one, **names, resamples=resamples) for one in predictions], table)
        outcomes.append(_outcome(prepared, planned, arm, result, joined, textures))
    return ExperimentResult(
        primary=config.primary,
        normal=config.normal,
        images=len(reference.images),
        groups=groups,
        labels=truth.names,
        classes=truth.classes,
        seeds=config.seeds,
        folds=config.folds,
        steps=prepared.steps,
        images_per_epoch=prepared.images_per_epoch,
        arms=tuple(outcomes),
        judgements=judgements,
        notes=(
            *declaration.notes(),
            *_notes(prepared, outcomes),
            *notes_on(truth, [one.result for one in outcomes], groups),
            *prepared.warnings,
        ),
        cells=tuple(cells),
        config=as_declared(config),
        declared=declaration.declared,
        revisions=declaration.revisions,
        data=_describe_data(prepared),
        environment=read_json_or_none(prepared.output / prepared.cells[0].folder / ENVIRONMENT_NAME) or {},
        resamples=resamples,
        bootstrap_seed=config.seed,
    )


def _read_cell(prepared: Prepared, cell: Cell) -> CellResult:
    folder = prepared.output / cell.folder
    done = read_done(folder)
    if done is None:
        raise EvaluationError(f"{folder}: not finished; run the same 'trainer experiment' again")
    history = read_history(folder)
    trained = read_config(folder)
    steps = total_steps(trained) // trained.epochs * len(history.epochs)
    if steps != prepared.steps:
        raise EvaluationError(
            f"{folder}: trained for {steps} steps, expected {prepared.steps} as in every other cell; remove the folder "
            "and run the same command again"
        )
    best = history.best_by(trained.monitor)
    facts = read_json_or_none(folder / DATA_NAME) or {}
    conditions = Conditions(len(facts["train"]), trained.label_smoothing, trained.epochs)
    return CellResult(
        arm=cell.arm.name,
        seed=cell.seed,
        fold=cell.fold,
        folder=cell.folder,
        steps=steps,
        best_epoch=best.epoch,
        val_macro_f1=best.val_macro_f1,
        seconds=sum(one.seconds for one in history.epochs),
        images_per_s=float(done["images_per_s"]),
        train=_by_origin(facts["train"], cell.arm),
        fingerprint=str(facts["fingerprint"]),
        predictions_sha256=str(done["predictions_sha256"]),
        diagnosis=diagnose(history.epochs, conditions).line,
    )


def _by_origin(counts: Mapping[str, Mapping[str, int]], arm: PlannedArm) -> dict[str, dict[str, int]]:
    """The counts of a run's data.json, with classical images under their own name."""
    added = "classical" if arm.kind == "classical" else "generated"
    return {name: {"real": of["real"], added: of["generated"]} for name, of in counts.items()}


def _read_arm(prepared: Prepared, arm: PlannedArm) -> Arm:
    seeds = []
    for seed in prepared.config.seeds:
        cells = [cell for cell in prepared.cells if cell.arm == arm and cell.seed == seed]
        parts = []
        for cell in cells:
            path = prepared.output / cell.folder / PREDICTIONS_NAME
            root = prepared.fold(cell.fold).dataset.root
            parts.append(load_arm(path, root, name=arm.name).seeds[0].predictions)
        run = prepared.output / cells[0].folder if len(cells) == 1 else None
        seeds.append(SeedPredictions(f"seed-{seed}", pool(parts), run))
    return Arm(arm.name, tuple(seeds))


def pool(parts: Sequence[Predictions]) -> Predictions:
    """The predictions of one seed's folds as one set; groups are kept only if every part has them.

    Raises:
        EvaluationError: an image is in two parts, or classes differ.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    images = [image for part in parts for image in part.images]
    twice = next((image for image, count in Counter(images).items() if count > 1), None)
    if twice is not None:
        raise EvaluationError(f"image {twice!r} is tested in two folds; expected each once; divide the data anew")
    if any(part.classes != first.classes for part in parts):
        raise EvaluationError(f"folds have different classes; expected {', '.join(first.classes)} in each")
    known = [part.groups for part in parts]
    groups = None if any(one is None for one in known) else tuple(group for one in known for group in one or ())
    return replace(
        first,
        images=tuple(images),
        labels=tuple(label for part in parts for label in part.labels),
        predicted=tuple(name for part in parts for name in part.predicted),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        groups=groups,
        origin=None,
        lines=(),
    )


def _outcome(
    prepared: Prepared,
    planned: PlannedArm,
    arm: Arm,
    result: Any,
    joined: Mapping[tuple[str, int | None], ArmSet],
    textures: _TextureComparison,
) -> ArmOutcome:
    by_fold = [prepared.counts(planned, fold) for fold in prepared.folds]
    real = sum((counts for counts, _ in by_fold), Counter[str]())
    added = sum((counts for _, counts in by_fold), Counter[str]())
    number = len(by_fold)
    engines = {prepared.sets[key].engine for key in planned.set_keys} if planned.kind == "generated" else set()
    return ArmOutcome(
        name=planned.name,
        kind=planned.kind,
        controls=planned.controls,
        sets=planned.sets,
        curated=planned.curated,
        engines=tuple(sorted(engines)),
        share=planned.share,
        added={name: count / number for name, count in sorted(added.items())},
        real={name: count / number for name, count in sorted(real.items())},
        result=result,
        arm=arm,
        separability=textures.separability_of(planned, joined) if planned.sets else None,
        defects_only=planned.kind == "generated" and prepared.config.normal not in added,
    )


_Row = tuple[Path, str, str, str]
"""Path, class, SHA-256, and SHA-256 of the source, of one image."""


class _TextureComparison:
    """Compares the textures of added and real images; computes the texture of each file once."""

    def __init__(self, prepared: Prepared, *, progress: bool) -> None:
        self._prepared = prepared
        self._progress = progress
        self._textures: dict[str, Any] = {}

    def separability_of(self, arm: PlannedArm, joined: Mapping[tuple[str, int | None], ArmSet]) -> Separability:
        """How well an arm's added images can be distinguished from real training images, over all folds."""
        prepared = self._prepared
        # By hash: with folds the same image may be in several folders.
        added = {
            one.sha256: (one.path, one.label, one.sha256, one.source_sha256)
            for fold in prepared.folds
            for one in read_generated(joined[arm.name, fold.number].path).images
        }
        classes = {label for _, label, *_ in added.values()}
        sources = {key: path for fold in prepared.folds for key, path in fold.sources.items()}
        real = [(path, label, sha256, sha256) for (label, sha256), path in sources.items() if label in classes]
        chosen_real, chosen_added = _choose_rows(real), _choose_rows(added.values())
        rows = chosen_real + chosen_added
        features = []
        imgsz = prepared.config.train.imgsz
        bar = tqdm(rows, desc=f"look at {arm.name}", unit="image", disable=not self._progress, leave=False)
        for path, _, sha256, _ in bar:
            if sha256 not in self._textures:
                self._textures[sha256] = describe_texture(decode(path, imgsz))
            features.append(self._textures[sha256])
        is_added = [False] * len(chosen_real) + [True] * len(chosen_added)
        labels, origins = [row[1] for row in rows], [row[3] for row in rows]
        return separability(np.stack(features), is_added, labels, origins, seed=prepared.config.seed)


def _choose_rows(rows: Iterable[_Row]) -> list[_Row]:
    """At most `_MOST_COMPARED` rows, chosen by the hash of their image's hash."""
    return sorted(rows, key=lambda row: hashlib.sha256(row[2].encode()).hexdigest())[:_MOST_COMPARED]


def _notes(prepared: Prepared, outcomes: Sequence[ArmOutcome]) -> list[Message]:
    notes = []
    for one in outcomes:
        notes += _notes_on_sets(prepared, one) if one.kind == "generated" else []
        if one.defects_only:
            area = one.separability.auroc if one.separability else None
            by_texture = () if area is None else (message("told_by_texture", area=area),)
            notes.append(message("defects_only", arm=one.name, told=by_texture))
        notes += [message("made_by", arm=one.name, engine=engine) for engine in one.engines]
    if prepared.config.folds:
        notes.append(message("folds_pooled", folds=prepared.config.folds))
    return notes


def _notes_on_sets(prepared: Prepared, arm: ArmOutcome) -> list[Message]:
    """The images of its sets that an arm could take, if a set is curated or the file says to take all."""
    notes = []
    for one in (prepared.sets[path, arm.curated] for path in arm.sets):
        count, path = len(one.images), one.path.as_posix()
        if not arm.curated:
            notes.append(message("draws_from_all", arm=arm.name, count=count, path=path))
        elif one.curated:
            every = count + len(one.left_out)
            notes.append(message("draws_from_accepted", arm=arm.name, count=count, all=every, path=path))
    return notes


def _describe_data(prepared: Prepared) -> dict[str, Any]:
    return {
        "path": prepared.config.data,
        "folds": [
            {
                "fold": fold.number,
                **{part: len(fold.dataset.part(part)) for part in PARTS},
                "fingerprint": fold.fingerprint,
            }
            for fold in prepared.folds
        ],
        "sets": [
            {
                **one.summary(),
                "accepted_only": accepted_only,
                "fingerprint": hashlib.sha256("\n".join(image.sha256 for image in one.images).encode()).hexdigest(),
            }
            for (_, accepted_only), one in prepared.sets.items()
        ],
    }
