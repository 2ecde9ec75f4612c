"""An output of `sdclient compose` beside generated ones: joined, controlled, guarded, and an arm of an experiment."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sdclient.compose import Composer, ComposeSettings
from sdclient.masks.mask import write_mask
from sdclient.sources import discover
from tests.support.experiment_work import FakeWork
from trainer.cli import cli
from trainer.config import TrainingJob
from trainer.data.provenance import read_generated
from trainer.data.training_set import build_training_set
from trainer.errors import LeakageError
from trainer.experiment.config import ExperimentConfig
from trainer.experiment.prepare import prepare
from trainer.experiment.run import run_experiment

ENGINE = "transplant (classical, no generator)"


def job_on(data: Path, **sets: Any) -> TrainingJob:
    """A job on a DATA folder; where its run would go is not looked at."""
    return TrainingJob(data, Path("run"), **sets)


@pytest.fixture
def transplants(data: Path, tmp_path: Path) -> Callable[..., Path]:
    """Puts the dirt of three training pictures on pictures of a part's Normal, two of each."""

    def compose(part: str = "train", onto: str = "good") -> Path:
        sources = tmp_path / "sources"
        block = np.zeros((32, 32), dtype=np.uint8)
        block[8:16, 8:16] = 255
        for number in (1, 2, 3):
            target = sources / "dirt" / f"{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data / "train" / "dirt" / f"{number}.png", target)
            write_mask(tmp_path / "masks" / "dirt" / f"{number}.png", Image.fromarray(block))
        output = tmp_path / "transplants"
        settings = ComposeSettings.checked(
            {"right_angles": True, "scale": (1, 1), "match_limit": 2, "onto": onto, "grow_px": 0, "feather_px": 1}
        )
        composer = Composer(sources, tmp_path / "masks", data / part / "Normal", output, settings)
        assert len(list(composer.run([(source, 2) for source in discover(sources)]))) == 6
        return output

    return compose


def test_transplants_join_a_training_under_their_class(data: Path, transplants: Callable[..., Path]) -> None:
    output = transplants()
    found = build_training_set(job_on(data, generated=[output]))
    joined = [image for image in found.train if image.origin == "generated"]
    assert [image.label for image in joined] == ["dirt"] * 6
    (told,) = found.summary["generated_sets"]
    assert told["engine"] == ENGINE
    assert told["count"] == 6


def test_their_control_repeats_the_defects_sources(data: Path, transplants: Callable[..., Path]) -> None:
    found = build_training_set(job_on(data, control_for=[transplants()]))
    repeated = [image.path.name for image in found.train if image.origin == "repeated"]
    assert sorted(repeated) == ["1.png", "1.png", "2.png", "2.png", "3.png", "3.png"]


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_good_picture_of_val_or_test_is_refused(data: Path, transplants: Callable[..., Path], part: str) -> None:
    output = transplants(part)
    with pytest.raises(LeakageError, match="held out"):
        build_training_set(job_on(data, generated=[output]))
    with pytest.raises(LeakageError, match="held out"):
        build_training_set(job_on(data, control_for=[output]))


@pytest.mark.parametrize("part", ["val", "test"])
def test_one_that_lies_in_train_tells_itself_of_a_held_out_parent(
    data: Path, transplants: Callable[..., Path], part: str
) -> None:
    shutil.copyfile(transplants(part) / "dirt" / "1_1.png", data / "train" / "dirt" / "99.png")
    with pytest.raises(LeakageError, match="held out"):
        build_training_set(job_on(data))


def test_moved_on_their_own_pictures_they_have_one_parent(data: Path, transplants: Callable[..., Path]) -> None:
    output = transplants(onto="own")
    assert all(len(image.parents) == 1 for image in read_generated(output).images)
    assert len(build_training_set(job_on(data, generated=[output])).train) == 24 + 6


def test_transplants_are_an_arm_of_an_experiment_with_their_own_control(
    make: Callable[..., ExperimentConfig], fake: FakeWork, transplants: Callable[..., Path]
) -> None:
    transplants()
    arms = [
        {"kind": "baseline"},
        {"kind": "classical"},
        {"kind": "generated", "sets": ["output"]},
        {"kind": "generated", "name": "transplant", "sets": ["transplants"]},
    ]
    config = make(arm=arms, seeds=1)
    prepared = prepare(config)
    counts = {arm.name: len(prepared.joining.get((arm.name, None), ())) for arm in prepared.arms}
    assert counts["transplant"] == counts["classical transplant"] == 6
    run_experiment(config, processes=0, progress=False, work_cell=fake, resamples=50)
    assert any("transplant" in name and "classical" not in name for name in fake.worked)


def test_a_network_trains_on_them(data: Path, transplants: Callable[..., Path], tmp_path: Path) -> None:
    output = transplants()
    run = tmp_path / "run"
    words = ["train", str(data), "--generated", str(output), "-o", str(run), "--epochs", "1", "--imgsz", "32"]
    done = CliRunner().invoke(cli, [*words, "--batch-size", "8", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert ENGINE in (run / "data.json").read_text(encoding="utf-8")
