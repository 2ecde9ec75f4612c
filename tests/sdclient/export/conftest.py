"""Outputs with sources, masks and verdicts, written by hand; and the pixels that really changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.support.export_output import HEIGHT, WIDTH, MakeOutput, Output


@pytest.fixture
def make_output(tmp_path: Path) -> MakeOutput:
    """Makes an empty output folder of that name; all share their sources."""

    def make(name: str = "output") -> Output:
        root = tmp_path / name
        root.mkdir()
        return Output(root, tmp_path / "sources")

    return make


@pytest.fixture
def output(make_output: MakeOutput) -> Output:
    """Two accepted images of "漏铜", one of "dirt"; one rejected and one that nobody judged."""
    made = make_output()
    kept = [made.add("漏铜", 1, 1), made.add("漏铜", 2, 1), made.add("dirt", 1, 1)]
    rejected = made.add("漏铜", 1, 2)
    made.add("dirt", 1, 2)
    made.judge(accepted=kept, rejected=[rejected])
    return made


@pytest.fixture
def train(tmp_path: Path) -> Path:
    """DATASET/train with two real images of "漏铜" and one Normal; val and test hold one each."""
    for part, class_name, name in (
        ("train", "漏铜", "a.png"),
        ("train", "漏铜", "b.png"),
        ("train", "Normal", "n.png"),
        ("val", "Normal", "v.png"),
        ("test", "Normal", "t.png"),
    ):
        path = tmp_path / "data" / part / class_name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((WIDTH, HEIGHT), 50).save(path)
    return tmp_path / "data" / "train"
