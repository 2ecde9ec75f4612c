"""The guard against leakage as a training shows it: words, page, refusal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from trainer.cli import cli
from trainer.config import TrainingJob, make_config
from trainer.training.train import train

TINY = ["--epochs", "1", "--imgsz", "32", "--batch-size", "16", "--device", "cpu"]


@pytest.fixture
def look_alikes(data: Path) -> Path:
    """DATA with one test picture that differs from a training one in a single pixel."""
    with Image.open(data / "train" / "dirt" / "1.png") as picture:
        pixels = np.asarray(picture).copy()
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(data / "test" / "dirt" / "90.png")
    return data


def test_look_alikes_are_a_warning_on_stderr_and_a_page_in_the_run(look_alikes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = CliRunner().invoke(cli, ["train", str(look_alikes), "-o", str(run), *TINY, "--json"])
    assert done.exit_code == 0, done.output
    assert f"warning: {look_alikes}: 1 of 19 validation and test pictures look like one" in done.stderr
    assert len(json.loads(done.stdout)) == 1
    assert "test/dirt/90.png" in (run / "near_duplicates.html").read_text(encoding="utf-8")
    summary = json.loads((run / "data.json").read_text(encoding="utf-8"))
    assert summary["look_alikes_across_parts"] == 1
    assert len(summary["warnings"]) == 1

    # Replaced by a run without look-alikes, the page is gone.
    (look_alikes / "test" / "dirt" / "90.png").unlink()
    config = make_config(epochs=1, imgsz=32, batch_size=16, device="cpu")
    train(TrainingJob(look_alikes, run, config, strict=True, overwrite=True), progress=False)
    assert not (run / "near_duplicates.html").exists()


def test_strict_refuses_look_alikes_and_leaves_the_page_alone(look_alikes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = CliRunner().invoke(cli, ["train", str(look_alikes), "-o", str(run), *TINY, "--strict"])
    assert done.exit_code == 1
    assert f"see {run / 'near_duplicates.html'}, then" in done.stderr.splitlines()[-1]
    assert [path.name for path in run.iterdir()] == ["near_duplicates.html"]


def test_strict_writes_nothing_into_a_run_that_is_there(look_alikes: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}", encoding="utf-8")
    done = CliRunner().invoke(cli, ["train", str(look_alikes), "-o", str(tmp_path / "run"), *TINY, "--strict"])
    assert done.exit_code == 1
    assert "--sheet check.html" in done.stderr.splitlines()[-1]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]
