"""Runs, a generated folder and test images on disk, small and made here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sdclient.manifest import ImageRecord, Manifest
from tests.support.report_case import CLASSES, STAND_IN, Case
from trainer.evaluation.compare import compare
from trainer.models.decision_threshold import DecisionThreshold, write_operating_point
from trainer.report import ReportInputs, collect_inputs


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


@pytest.fixture(scope="module")
def make_case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Case]:
    def make() -> Case:
        return build_case(tmp_path_factory.mktemp("报告"))

    return make


def build_case(root: Path) -> Case:
    truth = {}
    for kind, name in enumerate(CLASSES):
        for n in range((40, 16, 12, 8)[kind]):
            image = f"{name}/{n}.png"
            draw(root / "data" / "test" / image, kind, 1000 * kind + n)
            truth[image] = kind
    generate(root / "output", root / "sources", STAND_IN)
    return Case(root, root / "data", root / "output", truth)


@pytest.fixture(scope="module")
def inputs(make_case) -> ReportInputs:  # type: ignore[no-untyped-def]
    case = make_case()
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
