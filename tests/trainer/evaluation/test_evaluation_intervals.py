"""How often intervals hold the truth, on few simulated test sets; `bench/interval_coverage.py` does it on thousands."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats as golden

from trainer.evaluation.evaluation_intervals import compute_intervals
from trainer.evaluation.metrics import macro_f1_of_confusion
from trainer.evaluation.stats import bootstrap_arms, clopper_pearson, percentile_interval

BENCH = Path(__file__).parents[3] / "bench" / "interval_coverage.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("interval_coverage", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("n", [5, 50, 120])
def test_clopper_pearson_covers_at_least_95_percent_at_every_rate(n: int) -> None:
    bounds = [clopper_pearson(count, n) for count in range(n + 1)]
    low, high = np.array([(one.low, one.high) for one in bounds if one is not None]).T
    for rate in np.linspace(0.0, 1.0, 401):
        inside = (low <= rate) & (rate <= high)
        assert golden.binom.pmf(np.flatnonzero(inside), n, rate).sum() >= 0.95 - 1e-9


@pytest.mark.parametrize(("images", "alike", "skill"), [(120, 0.4, 1.5), (120, 0.4, 3.0)])
def test_figures_that_are_no_shares_are_covered_with_groups_and_near_one(
    bench: ModuleType, images: int, alike: float, skill: float
) -> None:
    rng = np.random.default_rng(int(skill * 10))
    truth = bench._figures(*bench._predict(rng, 300_000, 0.0, skill)[:3])
    trials = 120
    covered = dict.fromkeys(truth, 0)
    for trial in range(trials):
        true, predicted, score, groups = bench._predict(rng, images, alike, skill)
        bounds = compute_intervals(
            true, predicted, score, normal=0, classes=4, groups=[str(one) for one in groups], resamples=200, seed=trial
        )
        for name, value in truth.items():
            found = bench._named(bounds, name)
            # None is given for an average precision of 1 alone: no interval claims nothing.
            covered[name] += found is None or found.low <= value <= found.high
    assert all(count / trials >= 0.89 for count in covered.values()), covered


def test_a_paired_difference_over_groups_and_seeds_is_covered(bench: ModuleType) -> None:
    rng = np.random.default_rng(8)
    trials, covered = 150, 0
    statistics = {"f1": macro_f1_of_confusion}
    for trial in range(trials):
        group_of = bench._draw_groups(rng, 120, 0.4)
        true, hard = rng.integers(0, 4, 120), bench._spread(rng, group_of, 0.4)
        arms = [bench._train(rng, true, hard, group_of, 5, 0.15) for _ in range(2)]
        draws = bootstrap_arms(arms, statistics, resamples=200, seed=trial)["f1"].values
        found = percentile_interval(draws[1] - draws[0])
        assert found is not None
        covered += found.low <= 0.0 <= found.high
    assert 0.9 <= covered / trials <= 0.99
