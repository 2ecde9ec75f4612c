"""The small diffusion model that the demo generates with: used where it can be, and ignorant of every test image."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import boards
import demo
import pytest
from chain import engine_options
from steps import run

MODEL = Path(demo.__file__).parent / demo.MODEL


def test_the_demo_generates_with_the_model_where_its_extra_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("diffusers", reason="the extra 'diffusion' is not installed")
    assert engine_options(demo.recipe_at_hand()) == ["--engine", "diffusion", "--model", MODEL]
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert engine_options(demo.recipe_at_hand()) == []


def test_without_the_model_the_demo_generates_with_the_classical_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "MODEL", "models/none")
    assert demo.recipe_at_hand() == demo.RECIPE


def test_the_model_was_trained_on_the_demos_training_images_alone(tmp_path: Path) -> None:
    boards.draw_boards(tmp_path / "photos", demo.RECIPE.seed)
    run(
        *("trainer", "split", tmp_path / "photos", tmp_path / "data", "--seed", demo.RECIPE.seed),
        *("--val", demo.VAL_SHARE, "--test", demo.TEST_SHARE),
    )
    train = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "data" / "train").glob("*/*.png")}
    learned_from = json.loads((MODEL / "generator.json").read_text(encoding="utf-8"))["data"]["learned_from"]
    assert {image["sha256"] for image in learned_from} == train


def test_the_model_takes_a_few_megabytes() -> None:
    assert sum(path.stat().st_size for path in MODEL.rglob("*") if path.is_file()) < 10e6
