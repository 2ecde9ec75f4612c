"""How often does an experiment say "helped" when nothing helps, and how often when something does? No training.

    python bench/experiment_null.py [--experiments 1000] [--jobs 2]

Simulated classifiers with skill that varies from seed to seed, images of unequal difficulty in groups, and seeds
that disagree more on some groups than on others; the very `judge` of `trainer experiment` decides. Under the null
all arms are drawn alike. Prints the share of experiments in which any arm "helped" (to be at most 5 %), and the
share that finds real effects.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats as scipy_stats
from tqdm import tqdm

from trainer.evaluation.metrics import FloatArray
from trainer.evaluation.verdict import HELPED
from trainer.experiment.judge import JudgedArm, judge

CLASSES, NORMAL = 4, 0
RESAMPLES = 500
"""Fewer than the 2000 of an experiment, which costs its p-values precision, not size."""


@dataclass(frozen=True)
class World:
    """How the simulated tests and classifiers behave; spreads are standard deviations on the logit scale."""

    seeds: int = 5
    groups: int = 60
    images_a_group: int = 5
    generated_arms: int = 3
    skill: float = 1.2
    """Mean logit of calling an image rightly."""
    seed_spread: float = 0.3
    """Of a training's skill."""
    group_spread: float = 0.8
    """Of a group's difficulty, the same for all trainings."""
    interaction_spread: float = 0.5
    """Of what one training makes of one group."""
    gain: float = 0.0
    """Added to the skill of the generated arms."""
    control_gain: float = 0.0
    """Added to the skill of the classical controls."""


def simulate(world: World, rng: np.random.Generator) -> list[JudgedArm]:
    """One experiment's confusion counts: baseline, generated arms, their controls."""
    labels = rng.choice(CLASSES, (world.groups, world.images_a_group), p=[0.4, 0.3, 0.2, 0.1])
    difficulty = rng.normal(0, world.group_spread, world.groups)

    def counts(gain: float) -> FloatArray:
        skill = world.skill + gain + rng.normal(0, world.seed_spread, (world.seeds, 1, 1))
        own = rng.normal(0, world.interaction_spread, (world.seeds, world.groups, 1))
        chance = 1 / (1 + np.exp(-(skill + own - difficulty[None, :, None])))
        right = rng.random((world.seeds, *labels.shape)) < chance
        # A wrong answer is any other class.
        said = np.where(right, labels, (labels + rng.integers(1, CLASSES, right.shape)) % CLASSES)
        table = np.zeros((world.seeds, world.groups, CLASSES, CLASSES))
        seed, group, _ = np.indices(said.shape)
        np.add.at(table, (seed, group, np.broadcast_to(labels, said.shape), said), 1)
        return table

    arms = [JudgedArm("baseline", "baseline", "", counts(0.0))]
    for number in range(world.generated_arms):
        arms.append(JudgedArm(f"generated {number}", "generated", "", counts(world.gain)))
        arms.append(JudgedArm(f"classical {number}", "classical", f"generated {number}", counts(world.control_gain)))
    return arms


def helped_in(number: int, world: World, *, resamples: int = RESAMPLES) -> tuple[bool, bool]:
    """Whether any arm of experiment `number` helped, and whether the first one did."""
    rng = np.random.default_rng([7, number])
    arms = simulate(world, rng)
    found = judge(
        arms,
        primary="macro_f1",
        normal=NORMAL,
        classes=CLASSES,
        images=world.groups * world.images_a_group,
        resamples=resamples,
        seed=number,
    )
    words = [one.word == HELPED for one in found]
    return any(words), words[0]


def worlds() -> list[tuple[str, World, int]]:
    """What is simulated, the nulls first, and which part of the experiments asked for."""
    return [
        ("nothing helps: 5 seeds, 3 generated arms", World(), 1),
        ("nothing helps: 3 seeds, 1 generated arm", World(seeds=3, generated_arms=1), 1),
        ("nothing helps: 5 seeds that differ much, 5 arms", World(seed_spread=0.6, generated_arms=5), 1),
        ("no more than the control: both 1.0 logit better, 3 arms", World(gain=1.0, control_gain=1.0), 1),
        ("helps by 0.5 logit: 5 seeds, 1 arm", World(gain=0.5, generated_arms=1), 4),
        ("helps by 1.0 logit: 5 seeds, 1 arm", World(gain=1.0, generated_arms=1), 4),
        ("helps by 1.0 logit: 5 seeds, 3 arms", World(gain=1.0), 4),
        ("helps by 1.0 logit: 3 seeds, 1 arm", World(gain=1.0, seeds=3, generated_arms=1), 4),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--experiments", type=int, default=1000, help="of each null; of the effects a quarter")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args(arguments)
    began = time.perf_counter()
    print("| simulated | experiments | any arm helped | 95 % interval | first arm helped |\n|---|---|---|---|---|")
    with ProcessPoolExecutor(asked.jobs) as pool:
        for label, world, part in worlds():
            count = max(1, asked.experiments // part)
            work = pool.map(partial(helped_in, world=world), range(count), chunksize=10)
            found = list(tqdm(work, total=count, desc=label, unit="experiment"))
            any_helped, first = (sum(one[place] for one in found) for place in (0, 1))
            sure = scipy_stats.binomtest(any_helped, count).proportion_ci()
            print(
                f"| {label} | {count} | {100 * any_helped / count:.1f} % | {100 * sure.low:.1f} to "
                f"{100 * sure.high:.1f} % | {100 * first / count:.1f} % |",
                flush=True,
            )
    print(f"\n{RESAMPLES} resamples an experiment, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
