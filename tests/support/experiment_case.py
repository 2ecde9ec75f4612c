"""A finished experiment, with stand-ins for the trainings."""

from __future__ import annotations

from typing import Any

import numpy as np

from sdcore.messages import message
from tests.support.report_case import CLASSES, REAL, STAND_IN, Case
from trainer.evaluation.arms import confusion_by_group, number_groups, summarise_arm
from trainer.evaluation.diagnosis import describe_kind
from trainer.evaluation.evaluate import evaluate, label_images
from trainer.evaluation.stats import Interval
from trainer.evaluation.verdict import notes_on
from trainer.experiment.judge import JudgedArm, Kind, judge
from trainer.experiment.result import ArmOutcome, CellResult, ClassSeparability, ExperimentResult, Separability

PLANNED: tuple[tuple[str, Kind, str, float], ...] = (
    ("baseline", "baseline", "", 1.0),
    ("oversampling", "oversampling", "", 1.2),
    ("img2img 焊盘", "generated", "", 3.0),
    ("classical of img2img 焊盘", "classical", "img2img 焊盘", 1.3),
    ("img2img half", "generated", "", 1.1),
    ("classical of img2img half", "classical", "img2img half", 1.2),
)
ADDED = {"mousebite": 6.0, "open": 16.0, "焊盘凹凸": 24.0}
DIAGNOSIS = message(
    "diagnosis",
    kind=describe_kind("finished"),
    facts=message(
        "slopes",
        first=3,
        last=12,
        train=message("slope", slope=-2.0, low=-3.1, high=-1.0),
        val=message("slope", slope=-1.0, low=-2.0, high=0.5),
        more=(message("rate_spent", share=message("share", percent=2.0)),),
    ),
)


def make_experiment(case: Case, *, seeds: int = 2) -> ExperimentResult:
    """Six arms, two of them generated; the runs lie in the case's root."""
    arms = [case.arm(name, seeds=seeds, skill=skill, generated=kind == "generated") for name, kind, _, skill in PLANNED]
    reference = arms[0].seeds[0].predictions
    group_of, groups = number_groups(arms, reference)
    labelled = [[label_images(one.predictions) for one in arm.seeds] for arm in arms]
    truth = labelled[0][0]
    counts = [np.stack([confusion_by_group(one, group_of) for one in seeds]) for seeds in labelled]
    results = [
        summarise_arm(arm, [evaluate(one.predictions, resamples=50) for one in arm.seeds], table)
        for arm, table in zip(arms, counts, strict=True)
    ]
    summary: dict[str, Any] = {
        "path": case.output.as_posix(),
        "engine": STAND_IN,
        "model": "m",
        "count": 46,
        "classes": {},
        "asked": {"denoising_strength": 0.25},
        "fingerprint": "ab" * 32,
    }
    return ExperimentResult(
        primary="macro_f1",
        normal="Normal",
        images=len(reference.images),
        groups=groups,
        labels=truth.names,
        classes=truth.classes,
        seeds=tuple(range(seeds)),
        folds=0,
        steps=240,
        images_per_epoch=104,
        arms=tuple(
            ArmOutcome(
                name=name,
                kind=kind,
                controls=controls,
                sets=(case.output.as_posix(),) if kind in ("generated", "classical") else (),
                engines=(STAND_IN,) if kind == "generated" else (),
                share=0.3 if kind == "generated" else None,
                added=ADDED if kind in ("generated", "classical") else {},
                real=dict(zip(CLASSES, map(float, REAL), strict=True)),
                result=result,
                arm=arm,
                separability=_separability(told=name == "img2img 焊盘") if kind == "generated" else None,
                defects_only=kind == "generated",
            )
            for (name, kind, controls, _), arm, result in zip(PLANNED, arms, results, strict=True)
        ),
        judgements=judge(
            [
                JudgedArm(name, kind, controls, table)
                for (name, kind, controls, _), table in zip(PLANNED, counts, strict=True)
            ],
            primary="macro_f1",
            normal=truth.normal,
            classes=len(truth.classes),
            images=len(reference.images),
            resamples=400,
        ),
        notes=notes_on(truth, results, groups),
        cells=tuple(
            CellResult(
                arm=name,
                seed=seed,
                fold=None,
                folder=f"{name}/seed-{seed}",
                steps=240,
                best_epoch=7 + seed,
                val_macro_f1=0.8125,
                seconds=90.0,
                images_per_s=200.0,
                train={"Normal": {"real": 60, "generated": 0}},
                fingerprint="cd" * 32,
                predictions_sha256="ef" * 32,
                diagnosis=DIAGNOSIS,
            )
            for name, *_ in PLANNED
            for seed in range(seeds)
        ),
        config={"data": "data", "seeds": [0, 1], "train": {"epochs": 12}, "arm": [{"kind": "baseline"}]},
        declared={"primary": "macro_f1", "at": "2026-01-01T00:00:00+00:00", "sha256": "12" * 32},
        revisions=(),
        data={"path": case.data.as_posix(), "folds": [], "sets": [summary]},
        environment={"torch": "2.0", "machine": {"cores": 2}},
        resamples=400,
        bootstrap_seed=0,
    )


def _separability(*, told: bool) -> Separability:
    if not told:
        return Separability(None, None, 44, 46, (), message("too_few_of_a_class", real=20, generated=20))
    by_class = (ClassSeparability("open", 0.9, 14, 16), ClassSeparability("焊盘凹凸", 1.0, 6, 24))
    return Separability(0.9375, Interval(0.875, 1.0), 44, 46, by_class, None)
