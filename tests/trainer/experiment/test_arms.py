"""An arm of accepted images beside one of all of them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sdclient.compose import Composer, ComposeSettings
from sdclient.manifest import Curation, Manifest, Parent
from sdclient.manifest.curation import FilterVerdict
from sdclient.masks.mask import write_mask
from sdclient.sources import discover
from sdcore.errors import SettingsError
from tests.support.experiment_work import FakeWork
from trainer.cli import cli
from trainer.config import TrainingJob
from trainer.data.provenance import read_generated
from trainer.data.training_set import build_training_set
from trainer.errors import LeakageError
from trainer.experiment.config import ExperimentConfig
from trainer.experiment.prepare import prepare
from trainer.experiment.records import as_declared
from trainer.experiment.result import experiment_as_json
from trainer.experiment.run import run_experiment
from trainer.messages import text
from trainer.report import write_experiment_report

MakeExperiment = Callable[..., ExperimentConfig]

PAIR = [
    {"kind": "baseline"},
    {"kind": "classical"},
    {"kind": "generated", "name": "kept", "sets": ["output"]},
    {"kind": "generated", "name": "all", "sets": ["output"], "curated": False},
]


@pytest.fixture
def judged(generated_folder: Path) -> Path:
    """Accepts the first image of each source, 10 of 20; the others are rejected."""
    with Manifest(generated_folder, create=True) as manifest:
        verdicts = [
            FilterVerdict(one.file, one.sha256, () if one.k == 1 else ("blurred",)) for one in manifest.images()
        ]
        Curation(manifest).set_filter_verdicts(verdicts)
    return generated_folder


def test_a_pair_of_arms_takes_accepted_images_and_all(make: MakeExperiment, judged: Path) -> None:
    prepared = prepare(make(arm=PAIR))
    counts = {arm.name: len(prepared.joining.get((arm.name, None), ())) for arm in prepared.arms}
    assert counts == {"baseline": 0, "classical kept": 10, "classical all": 20, "kept": 10, "all": 20}
    assert {image.path.stem[-1] for image in prepared.joining["kept", None]} == {"1"}


def test_rejected_images_may_be_gone_where_no_arm_takes_them(make: MakeExperiment, judged: Path) -> None:
    (judged / "dirt" / "1_2.png").unlink()
    assert len(prepare(make()).joining["generated", None]) == 10


def test_a_dry_run_says_how_many_are_accepted(make: MakeExperiment, judged: Path, tmp_path: Path) -> None:
    lines = ['data = "data"', 'output = "out"', 'primary = "macro_f1"', "seeds = 1", "[train]", "epochs = 1"]
    lines += ["imgsz = 32", "batch_size = 8", 'device = "cpu"']
    lines += [line for arm in PAIR for line in ("[[arm]]", *(f"{key} = {json.dumps(arm[key])}" for key in arm))]
    (tmp_path / "experiment.toml").write_text("\n".join(lines), encoding="utf-8")
    found = CliRunner().invoke(cli, ["experiment", str(tmp_path / "experiment.toml"), "--dry-run"])
    assert found.exit_code == 0, found.output
    words = " ".join(found.stdout.split())
    assert "the 10 accepted of 20 images, 0 undecided" in words
    assert "all 20 images" in words


def test_result_and_report_say_how_many_are_accepted(
    make: MakeExperiment, judged: Path, fake: Callable[..., None], tmp_path: Path
) -> None:
    result = run_experiment(make(arm=PAIR), processes=0, resamples=50, progress=False, work_cell=fake)
    told = experiment_as_json(result)
    assert {name: arm["curated"] for name, arm in told["arms"].items() if arm["kind"] == "generated"} == {
        "kept": True,
        "all": False,
    }
    assert [(one["accepted_only"], one["count"], one["recorded"]) for one in told["data"]["sets"]] == [
        (True, 10, 20),
        (False, 20, 20),
    ]
    assert any(text(note).startswith("kept: draws from the 10 accepted of 20 images of") for note in result.notes)
    assert any(text(note).startswith("all: draws from all 20 images of") for note in result.notes)
    for name, words in (("en.html", "accepted of"), ("zh.html", "已接受"), ("en.md", "accepted of")):
        language = "zh" if name.startswith("zh") else "en"
        write_experiment_report(tmp_path / name, result, output=tmp_path / "out", language=language)
        page = (tmp_path / name).read_text(encoding="utf-8")
        assert words in page
        assert "draws from" in page or "使用已接受的 10 张" in page


def test_a_file_without_the_key_is_declared_as_before(make: MakeExperiment) -> None:
    assert all("curated" not in arm for arm in as_declared(make())["arm"])
    (arm,) = [one for one in as_declared(make(arm=PAIR))["arm"] if one["name"] == "all"]
    assert arm["curated"] is False


def test_only_a_generated_arm_has_the_key(make: MakeExperiment) -> None:
    with pytest.raises(SettingsError, match=r"curated: only an arm of kind = \"generated\" has it"):
        make(arm=[{"kind": "baseline", "curated": False}, *PAIR[1:]])


def test_a_held_out_second_parent_is_refused(make: MakeExperiment, generated_folder: Path, data: Path) -> None:
    digest = hashlib.sha256((data / "test" / "Normal" / "12.png").read_bytes()).hexdigest()
    with Manifest(generated_folder, create=True) as manifest:
        record = next(manifest.images())
        manifest.forget([record.file])
        manifest.add([replace(record, other_parents=(Parent("Normal/1.png", digest),))])
    with pytest.raises(LeakageError, match="it is, or was made from, a validation or test image"):
        prepare(make())


ENGINE = "transplant (classical, no generator)"


def job_on(data: Path, **sets: Any) -> TrainingJob:
    """A job on a DATA folder; where its run would go is not looked at."""
    return TrainingJob(data, Path("run"), **sets)


@pytest.fixture
def transplants(data: Path, tmp_path: Path) -> Callable[..., Path]:
    """Puts the dirt of three training images on images of a part's Normal, two of each."""

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
def test_a_good_image_of_val_or_test_is_refused(data: Path, transplants: Callable[..., Path], part: str) -> None:
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


def test_moved_on_their_own_images_they_have_one_parent(data: Path, transplants: Callable[..., Path]) -> None:
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
