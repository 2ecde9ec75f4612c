"""Runs with answers as a report takes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from sdclient.manifest import ImageRecord, Manifest
from trainer.evaluation.arms import Arm, load_arm
from trainer.evaluation.compare import compare
from trainer.evaluation.history import EpochRecord, write_history
from trainer.models.decision_threshold import DecisionThreshold, write_operating_point
from trainer.models.predictions import Predictions, make_predictions
from trainer.report import ReportInputs, collect_inputs

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


def draw(path: Path, kind: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 8, (64, 64, 1))
    image = Image.fromarray(np.clip(np.array([52, 96, 70]) + noise, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 24, 64, 40), fill=(196, 140, 62))
    if kind:
        x = int(rng.integers(16, 44))
        pen.ellipse((x, 24 - 4 * kind, x + 6 * kind, 34), fill=(30 + 60 * kind, 40, 36))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def generate(output: Path, sources: Path, engine: str) -> None:
    output.mkdir(parents=True)
    records = []
    for kind, name in enumerate(CLASSES[1:], start=1):
        draw(sources / name / "1.png", kind, kind)
        for k in range(1, 5):
            file = f"{name}/1_{k}.png"
            draw(output / file, kind, 10 * kind + k)
            records.append(
                ImageRecord(
                    file=file, class_name=name, source=f"{name}/1.png", source_sha256="0" * 64, k=k, seed=1000 + k,
                    key=f"{kind}{k}", sha256="1" * 64, width=64, height=64, server="http://127.0.0.1:7861",
                    model="m", engine=engine, asked={"denoising_strength": 0.25}, used={}, infotext="",
                    created_at="2026-01-01T00:00:00+00:00",
                )
            )  # fmt: skip
    with Manifest(output, create=True) as manifest:
        manifest.set_run(
            {
                "sources": str(sources),
                "parameters": {"denoising_strength": 0.25, "sampler": "DPM++ SDE Karras", "steps": 20, "prompt": ""},
            }
        )
        manifest.add(records)


def build_case(root: Path) -> Case:
    truth = {}
    for kind, name in enumerate(CLASSES):
        for n in range((40, 16, 12, 8)[kind]):
            image = f"{name}/{n}.png"
            draw(root / "data" / "test" / image, kind, 1000 * kind + n)
            truth[image] = kind
    generate(root / "output", root / "sources", STAND_IN)
    return Case(root, root / "data", root / "output", truth)


def build_inputs(case: Case) -> ReportInputs:
    """What a report of three arms shows, one of them with chosen operating points."""
    arms = [
        case.arm("基线", seeds=3, skill=1.2, generated=False),
        case.arm("augmented", seeds=3, skill=2.6, generated=True),
        case.arm("control", seeds=2, skill=1.4, generated=False),
    ]
    for one in arms[1].seeds:
        assert one.run is not None
        write_operating_point(one.run, DecisionThreshold("Normal", 0.5, 0.05, 3, 60))
    return collect_inputs(
        compare(*arms, worth=0.05), arms, case.data, commands=["trainer compare a b <data> " + 40 * "--note drawn "]
    )
