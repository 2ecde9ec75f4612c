"""Looking after an output: status, retry, verify and its repair, export."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from sdclient.batch import BatchRunner
from sdclient.cli import cli
from sdclient.client import WebUI
from sdclient.manifest import Manifest
from sdclient.manifest.database import FAILED, PLANNED, RUNNING
from sdclient.output.upkeep import ORPHANS_FOLDER
from sdclient.sources import discover
from tests.support.batch_runs import PLANNED as PLANNED_FILES
from tests.support.batch_runs import pictures, recorded, run, settings


@pytest.fixture
def output(webui: WebUI, sources_folder: Path, tmp_path: Path) -> Path:
    run(webui, sources_folder, tmp_path / "out")
    return tmp_path / "out"


def command(*arguments: object) -> Any:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def mark(output: Path, file: str, status: str, reason: str = "") -> None:
    with Manifest(output, create=True) as manifest:
        manifest.mark([file], status, reason=reason, failures=3)


def test_a_sound_output_is_said_to_be_one(output: Path) -> None:
    result = command("verify", output)
    assert result.exit_code == 0
    assert "9 images read: 0 damaged, 0 files without a row" in result.stdout


def test_every_kind_of_damage_is_found_and_repaired(webui: WebUI, sources_folder: Path, output: Path) -> None:
    (output / "dirt" / "1_1.png").unlink()
    (output / "dirt" / "1_2.png").write_bytes((output / "dirt" / "1_2.png").read_bytes()[:-20])
    Image.new("L", (4, 4)).save(output / "焊盘" / "99_1.png")
    (output / "焊盘" / ".12-34.part").write_bytes(b"half")
    found = json.loads(command("verify", output, "--json").stdout)
    assert not found["sound"]
    assert {finding["file"] for finding in found["damaged"]} == {"dirt/1_1.png", "dirt/1_2.png"}
    assert {finding["file"] for finding in found["orphans"]} == {"焊盘/99_1.png", "焊盘/.12-34.part"}
    assert command("verify", output).exit_code == 1
    assert set(pictures(output)) - PLANNED_FILES == {"焊盘/99_1.png", "焊盘/.12-34.part"}  # looking changes nothing

    assert command("verify", output, "--repair").exit_code == 0
    assert (output / ORPHANS_FOLDER / "焊盘" / "99_1.png").is_file()
    assert len(recorded(output)) == 7
    made = run(webui, sources_folder, output)
    assert {record.file for record in made} == {"dirt/1_1.png", "dirt/1_2.png"}
    assert json.loads(command("verify", output, "--json").stdout)["sound"]


def test_another_infotext_or_size_than_recorded_is_damage(output: Path) -> None:
    with Manifest(output, create=True) as manifest:
        records = list(manifest.images())
        manifest._db.execute("UPDATE images SET infotext = 'other' WHERE file = ?", (records[0].file,))
        manifest._db.execute("UPDATE images SET width = 1 WHERE file = ?", (records[1].file,))
    result = command("verify", output)
    assert f"{records[0].file}: another infotext than recorded" in result.stdout
    assert f"{records[1].file}: {records[1].width} x {records[1].height} px, recorded 1 x" in result.stdout


def test_what_a_killed_run_left_running_is_planned_again(output: Path) -> None:
    mark(output, "dirt/1_1.png", RUNNING)
    assert command("verify", output, "--repair").exit_code == 0
    with Manifest(output) as manifest:
        assert {s.file: s.status for s in manifest.states()}["dirt/1_1.png"] == PLANNED


def test_status_counts_by_class_and_reason(output: Path) -> None:
    mark(output, "焊盘/2_1.png", FAILED, "black picture")
    mark(output, "焊盘/2_2.png", FAILED, "black picture")
    mark(output, "dirt/1_3.png", PLANNED)
    found = json.loads(command("status", output, "--json").stdout)
    assert found["classes"] == {
        "dirt": {"done": 2, "running": 0, "planned": 1, "failed": 0},
        "焊盘": {"done": 4, "running": 0, "planned": 0, "failed": 2},
    }
    assert found["all"] == {"done": 6, "running": 0, "planned": 1, "failed": 2}
    assert found["failures"] == [{"class": "焊盘", "reason": "black picture", "images": 2}]
    assert not found["complete"]
    words = command("status", output).stdout
    assert "2 x black picture" in words
    assert "sdclient retry" in words


def test_failed_images_get_another_chance(webui: WebUI, sources_folder: Path, output: Path) -> None:
    mark(output, "焊盘/2_1.png", FAILED, "black picture")
    assert run(webui, sources_folder, output) == []
    assert "1 failed images are planned again" in command("retry", output).stdout
    assert [record.file for record in run(webui, sources_folder, output)] == ["焊盘/2_1.png"]
    assert "nothing to do" in command("retry", output).stdout


def test_upkeep_waits_for_a_run_to_end(webui: WebUI, sources_folder: Path, output: Path) -> None:
    owed = [(source, 9) for source in discover(sources_folder)]
    running = BatchRunner(webui, sources_folder, output, settings()).run(owed)
    next(running)
    for arguments in (("retry", output), ("verify", output, "--repair")):
        result = command(*arguments)
        assert result.exit_code == 1
        assert "another run is at work there" in result.stderr
    assert command("status", output).exit_code == 0
    running.close()


def test_the_record_is_exported_for_spreadsheets_and_scripts(output: Path, tmp_path: Path) -> None:
    target = tmp_path / "images.csv"
    assert "9 images written" in command("manifest", output, "--csv", "-o", target).stdout
    assert target.read_bytes().startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8-sig"))))
    lines = [json.loads(line) for line in command("manifest", output).stdout.splitlines()]
    assert {row["file"] for row in rows} == {line["file"] for line in lines} == PLANNED_FILES
    assert json.loads(rows[0]["asked"]) == lines[0]["asked"]
    assert rows[0]["sha256"] == recorded(output)[rows[0]["file"]]


@pytest.mark.parametrize("arguments", [["status"], ["retry"], ["verify"], ["verify", "--repair"], ["manifest"]])
def test_a_folder_that_is_no_output_is_told_and_left_alone(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    result = command(arguments[0], tmp_path / "empty", *arguments[1:])
    assert result.exit_code == 1
    assert "manifest.sqlite" in result.stderr
    assert list((tmp_path / "empty").iterdir()) == []
    assert command(arguments[0], tmp_path / "missing", *arguments[1:]).exit_code == 1
