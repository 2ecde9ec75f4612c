"""An arm of accepted images beside one of all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from sdclient.manifest import Curation, Manifest, Parent
from sdclient.manifest.curation import FilterVerdict
from sdcore.errors import SettingsError
from trainer.cli import cli
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
