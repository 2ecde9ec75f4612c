"""The one experiment here that really trains, by the command line, in processes of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from trainer.cli import cli

FILE = """
data = "data"
output = "out"
primary = "accuracy"
seeds = 1

[train]
epochs = 1
imgsz = 32
batch_size = 8
device = "cpu"

[[arm]]
kind = "baseline"
[[arm]]
kind = "classical"
[[arm]]
kind = "generated"
sets = ["output"]
"""


@pytest.fixture
def file(tmp_path: Path, generated_folder: Path) -> Path:
    path = tmp_path / "experiment.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_an_experiment_trains_is_interrupted_and_goes_on(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.experiment import run

    runner = CliRunner()
    # Ctrl-C while the bar looks after the running cells, once one is done.
    real = run.run_jobs
    looks: list[int] = []

    def interrupted(*args: Any, look: Any, done: Any, **options: Any) -> None:
        def done_then_stop(job: Any) -> None:
            done(job)
            looks.append(1)
            if len(looks) == 1:
                raise KeyboardInterrupt

        real(*args, look=look, done=done_then_stop, **options)

    monkeypatch.setattr(run, "run_jobs", interrupted)
    stopped = runner.invoke(cli, ["experiment", str(file), "--processes", "1"])
    assert stopped.exit_code == 130
    assert "stopped; 1 of 3 cells are done" in stopped.stderr
    before = (file.parent / "out/cells/baseline/seed-0/best.pt").read_bytes()
    finished = runner.invoke(cli, ["experiment", str(file), "--processes", "0", "--json"])
    assert finished.exit_code == 0, finished.output
    content = json.loads(finished.stdout)
    assert (file.parent / "out/cells/baseline/seed-0/best.pt").read_bytes() == before
    assert (
        json.loads((file.parent / "out/experiment.json").read_text(encoding="utf-8"))["verdicts"] == content["verdicts"]
    )
    assert {one["steps"] for one in content["cells"]} == {6}
    assert content["cells"][1]["train"]["dirt"] == {"real": 8, "classical": 10}
    assert content["cells"][2]["train"]["dirt"] == {"real": 8, "generated": 10}
    assert content["environment"]["device"] == "cpu"
    assert content["verdicts"]["generated"]["provisional"]
    assert "On these 9 test images" in (file.parent / "out/report.html").read_text(encoding="utf-8")
    chinese = ["--report", str(file.parent / "报告.md"), "--lang", "zh"]
    shown = runner.invoke(cli, ["experiment", str(file), "--processes", "0", *chinese])
    assert "漏检率" in (file.parent / "报告.md").read_text(encoding="utf-8")
    assert "漏检率" in shown.stdout
    assert "On these 9 test images, generated against baseline" in " ".join(shown.stdout.split())


def test_a_dry_run_lists_the_cells_and_writes_nothing(file: Path) -> None:
    done = CliRunner().invoke(cli, ["experiment", str(file), "--dry-run", "--processes", "2", "--json"])
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert [one["folder"] for one in plan["cells"]][:3] == [
        "cells/baseline/seed-0",
        "cells/classical/seed-0",
        "cells/generated/seed-0",
    ]
    assert [(one["real"], one["added"]) for one in plan["cells"]][:3] == [(24, 0), (24, 20), (24, 20)]
    assert plan["to_train"] == 3
    assert {one["state"] for one in plan["cells"]} == {"to train"}
    assert plan["estimate"]["seconds"] > 0
    assert plan["estimate"]["processes"] == 2
    assert not (file.parent / "out").exists()


def test_a_report_of_no_known_kind_is_refused_before_anything_runs(file: Path) -> None:
    done = CliRunner().invoke(cli, ["experiment", str(file), "--report", "report.doc"])
    assert done.exit_code == 1
    assert "found the ending .doc" in done.stderr
    assert not (file.parent / "out").exists()


def test_a_mistake_in_the_file_is_one_line(file: Path) -> None:
    file.write_text(FILE.replace("accuracy", "auc"), encoding="utf-8")
    done = CliRunner().invoke(cli, ["experiment", str(file)])
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "primary: found 'auc'" in done.stderr
