"""How often `trainer diagnose` is right about curves of known truth, and how often it cries wolf.

    python bench/diagnosis_on_synthetic.py [--curves 200] [--seed 1000] [--json FILE]

Draws `--curves` curves for each truth, noise and length, in the shapes of bench/synthetic_curves.py in turn, and
prints a table of what was said of them. The rule's thresholds were chosen on seeds 0 to 9; report others.

A false alarm is "overfitting", "plateau" or "diverging" said of a training that learns or has finished, or one of
the three said where another is true. "inconclusive" is no alarm. A false stop is a learning training that
`--stop-on overfit` would have ended at any epoch.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from synthetic_curves import KINDS, SHAPES, Sample, sample
from tqdm import tqdm

from trainer.evaluation.diagnosis import DEFAULT_THRESHOLDS, DiagnosisThresholds, diagnose, should_stop

ALARMS = ("overfitting", "plateau", "diverging")
LENGTHS = (15, 30, 60, 100)
NOISES = ((0.05, 0.0), (0.05, 0.3), (0.05, 0.6), (0.02, 0.0), (0.1, 0.0))
"""Standard deviation and correlation of each curve's noise."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--curves", type=int, default=200, help="curves of each truth, noise and length")
    parser.add_argument("--stops", type=int, default=100, help="learning curves of each noise and length to replay")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="where to write all counts")
    arguments = parser.parse_args()
    began = time.perf_counter()
    cells = []
    for noise, correlation in tqdm(NOISES, desc="noises", disable=None):
        for epochs in LENGTHS:
            curves = draw(arguments.curves, epochs, noise, correlation, arguments.seed)
            counts = confusion(curves)
            stops = false_stops(arguments.stops, epochs, noise, correlation, arguments.seed + 1)
            cells.append(
                {
                    "noise": noise,
                    "correlation": correlation,
                    "epochs": epochs,
                    "said": {truth: dict(counter) for truth, counter in counts.items()},
                    "false_stops": stops,
                    "replayed": arguments.stops,
                }
            )
    print_table(cells)
    print(f"\nseed {arguments.seed}, Python {platform.python_version()}, {time.perf_counter() - began:.0f} s")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(cells, indent=2) + "\n", encoding="utf-8")


def draw(curves: int, epochs: int, noise: float, correlation: float, seed: int) -> Iterator[Sample]:
    """`curves` of each truth, its shapes in turn."""
    rng = np.random.default_rng([seed, epochs, round(1000 * noise), round(1000 * correlation)])
    for truth in KINDS:
        shapes = list(SHAPES[truth])
        for place in range(curves):
            yield sample(truth, shapes[place % len(shapes)], epochs, rng, noise=noise, correlation=correlation)


def confusion(
    curves: Iterator[Sample], thresholds: DiagnosisThresholds = DEFAULT_THRESHOLDS
) -> dict[str, Counter[str]]:
    """Truth -> what was said how often."""
    said: dict[str, Counter[str]] = {truth: Counter() for truth in KINDS}
    for one in curves:
        said[one.truth][diagnose(one.epochs, one.conditions, thresholds=thresholds).kind] += 1
    return said


def false_alarms(truth: str, said: Counter[str]) -> int:
    """Alarms that are not the truth."""
    return sum(count for kind, count in said.items() if kind in ALARMS and kind != truth)


def false_stops(curves: int, epochs: int, noise: float, correlation: float, seed: int) -> int:
    """How many learning trainings, diagnosed after each epoch, are stopped for overfitting."""
    rng = np.random.default_rng([seed, epochs, round(1000 * noise), round(1000 * correlation)])
    shapes = list(SHAPES["learning"])
    stopped = 0
    for place in range(curves):
        one = sample("learning", shapes[place % len(shapes)], epochs, rng, noise=noise, correlation=correlation)
        stopped += is_stopped(one) is not None
    return stopped


def is_stopped(one: Sample) -> int | None:
    """The epoch after which `--stop-on overfit` ends the training; None: never."""
    diagnoses = []
    for end in range(1, len(one.epochs) + 1):
        diagnoses.append(diagnose(one.epochs[:end], one.conditions))
        if should_stop(diagnoses):
            return end
    return None


def print_table(cells: list[dict[str, Any]]) -> None:
    """Rates in percent, one row a noise and length."""
    print("false alarms on each truth, and in brackets how often the truth was said, in %")
    print(
        f"{'noise':>6}{'corr.':>6}{'epochs':>7}" + "".join(f"{truth:>16}" for truth in KINDS) + f"{'false stops':>13}"
    )
    for cell in cells:
        row = f"{cell['noise']:>6.0%}{cell['correlation']:>6}{cell['epochs']:>7}"
        for truth in KINDS:
            said = Counter(cell["said"][truth])
            total = said.total()
            row += f"{100 * false_alarms(truth, said) / total:>8.1f} ({100 * said[truth] / total:>3.0f} )"
        print(row + f"{100 * cell['false_stops'] / max(1, cell['replayed']):>12.1f}")


if __name__ == "__main__":
    main()
