"""Comparison -> plain data for `--json` and for the block inside the report."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .arm_result import ArmResult, MeanRate
from .compare import Comparison
from .contrast import Contrast
from .evaluate import evaluation_as_json
from .messages import text
from .stats import Interval
from .verdict import Verdict


def comparison_as_json(comparison: Comparison) -> dict[str, Any]:
    """Every figure of a comparison; undefined figures are null."""
    control, contrast = comparison.control, comparison.against_control
    return {
        "verdict": _verdict(comparison.verdict),
        "images": comparison.images,
        "groups": comparison.groups,
        "normal": comparison.normal,
        "labels": list(comparison.labels),
        "classes": list(comparison.classes),
        "arms": {
            "baseline": arm_result_as_json(comparison.baseline),
            "candidate": arm_result_as_json(comparison.candidate),
            "control": arm_result_as_json(control) if control else None,
        },
        "against_baseline": _contrast(comparison.against_baseline),
        "against_control": _contrast(contrast) if contrast else None,
        "gained": [asdict(flip) for flip in comparison.gained],
        "lost": [asdict(flip) for flip in comparison.lost],
        "notes": [text(note) for note in comparison.notes],
        "bootstrap": {"resamples": comparison.resamples, "seed": comparison.bootstrap_seed},
    }


def arm_result_as_json(result: ArmResult) -> dict[str, Any]:
    """Every figure of an arm, by seed and averaged."""
    return {
        "name": result.name,
        "seeds": {
            seed: evaluation_as_json(evaluation)
            for seed, evaluation in zip(result.seeds, result.evaluations, strict=True)
        },
        "rates": {key: _mean_rate(rate) for key, rate in result.rates.items()},
        "named_wrong": _mean_rate(result.named_wrong) if result.named_wrong else None,
        "macro_f1": asdict(result.macro_f1),
        "weighted_f1": asdict(result.weighted_f1),
        "auroc": asdict(result.auroc),
        "per_class": {one.name: asdict(one) for one in result.per_class},
        "confusion": [list(row) for row in result.confusion],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "word": verdict.word,
        "provisional": verdict.provisional,
        "primary": verdict.primary,
        "sentence": text(verdict.sentence),
        "chinese": text(verdict.sentence, "zh"),
    }


def _mean_rate(rate: MeanRate) -> dict[str, Any]:
    return {
        "value": rate.spread.mean,
        "count": rate.count,
        "of": rate.of,
        **_bounds(rate.interval),
        "least": rate.spread.least,
        "most": rate.spread.most,
        "sd": rate.spread.sd,
    }


def _contrast(contrast: Contrast) -> dict[str, Any]:
    return {
        "first": contrast.first,
        "second": contrast.second,
        "differences": {
            one.metric: {
                "first": one.first,
                "second": one.second,
                "value": one.value,
                **_bounds(one.interval),
            }
            for one in contrast.differences
        },
        "recalls": {
            one.name: {
                "first": one.first,
                "second": one.second,
                "value": one.value,
                **_bounds(one.interval),
                "support": one.support,
                "p_value": one.p_value,
                "p_holm": one.p_holm,
            }
            for one in contrast.recalls
        },
        "mcnemar": [asdict(test) for test in contrast.mcnemar],
        "worth": {**asdict(contrast.worth), "sentence": text(contrast.worth.sentence)} if contrast.worth else None,
    }


def _bounds(interval: Interval | None) -> dict[str, float | None]:
    return {"low": interval.low if interval else None, "high": interval.high if interval else None}
