"""Runs with answers as a report takes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.evaluation.arms import Arm, load_arm
from trainer.evaluation.history import EpochRecord, write_history
from trainer.models.predictions import Predictions, make_predictions

CLASSES = ("Normal", "mousebite", "open", "焊盘凹凸")


REAL = (60, 24, 14, 6)


STAND_IN = "classical, not Stable Diffusion"


@dataclass(frozen=True)
class Case:
    """A finished project: DATA, OUTPUT and runs, with a stand-in for the network."""

    root: Path
    data: Path
    output: Path
    truth: dict[str, int]

    def arm(self, name: str, *, seeds: int, skill: float, generated: bool, engine: str = STAND_IN) -> Arm:
        for seed in range(seeds):
            self.run(self.root / name / f"seed-{seed}", seed=seed, generated=generated, engine=engine)

        def predict(run: Path, images: Path) -> Predictions:
            rng = np.random.default_rng([int(run.name.removeprefix("seed-")), int(100 * skill)])
            true = np.array(list(self.truth.values()))
            logits = rng.normal(size=(len(true), len(CLASSES)))
            logits[np.arange(len(true)), true] += skill
            table = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            return make_predictions(list(self.truth), [CLASSES[k] for k in true], CLASSES, table)

        return load_arm(self.root / name, self.data, name=name, predict=predict)

    def run(self, run: Path, *, seed: int, generated: bool, engine: str) -> None:
        run.mkdir(parents=True)
        (run / "best.pt").write_bytes(b"never read here")
        config = {"model": "yolov5n-cls", "epochs": 12, "imgsz": 64, "seed": seed, "augment": {"flips": True}}
        (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
        made = (0, 6, 16, 24) if generated else (0, 0, 0, 0)
        summary = {
            "classes": list(CLASSES),
            "train": {
                name: {"real": real, "generated": extra, "repeated": 0}
                for name, real, extra in zip(CLASSES, REAL, made, strict=True)
            },
            "generated_sets": [
                {
                    "path": self.output.as_posix(),
                    "engine": engine,
                    "model": "classical-engine-not-stable-diffusion",
                    "count": sum(made),
                    "asked": {},
                }
            ]
            if generated
            else [],
        }
        (run / "data.json").write_text(json.dumps(summary, ensure_ascii=False), encoding="utf-8")
        rng = np.random.default_rng(seed + 50 * generated)
        epochs = np.arange(1, 13)
        train = 0.5 + 1.1 * np.exp(-epochs / 4) + rng.normal(0, 0.02, 12)
        val = 0.4 + 1.2 * np.exp(-epochs / 5) + rng.normal(0, 0.05, 12)
        write_history(
            run / "results.csv",
            [
                EpochRecord(int(e), float(t), float(v), 0.8, 0.7, 1e-3, 200.0, 1.5)
                for e, t, v in zip(epochs, train, val, strict=True)
            ],
        )
