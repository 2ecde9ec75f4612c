"""Looking after an output: status, retry, verify and its repair, export."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
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
from sdclient.output import store
from sdclient.output.upkeep import ORPHANS_FOLDER
from sdclient.sources import discover
from sdclient.testing import WebUIServer, serve_webui
from tests.support.batch_runs import PLANNED as PLANNED_FILES, image_hashes, recorded, run, settings
from tests.support.masked_runs import add_source, board, check_masks, repaint


@pytest.fixture
def output(webui: WebUI, sources_folder: Path, tmp_path: Path) -> Path:
    run(webui, sources_folder, tmp_path / "out")
    return tmp_path / "out"


def command(*arguments: object) -> Any:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def mark(output: Path, file: str, status: str, reason: str = "") -> None:
    with Manifest(output, create=True) as manifest:
        manifest.mark([file], status, reason=reason, failures=3)


def test_an_undamaged_output_is_reported_as_such(output: Path) -> None:
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
    assert set(image_hashes(output)) - PLANNED_FILES == {"焊盘/99_1.png", "焊盘/.12-34.part"}  # looking changes nothing

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


def test_images_that_a_killed_run_left_running_are_planned_again(output: Path) -> None:
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


def test_failed_images_are_planned_again(webui: WebUI, sources_folder: Path, output: Path) -> None:
    mark(output, "焊盘/2_1.png", FAILED, "black picture")
    assert run(webui, sources_folder, output) == []
    assert "1 failed images are planned again" in command("retry", output).stdout
    assert [record.file for record in run(webui, sources_folder, output)] == ["焊盘/2_1.png"]
    assert "nothing to do" in command("retry", output).stdout


def test_upkeep_is_refused_while_a_run_works(webui: WebUI, sources_folder: Path, output: Path) -> None:
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
def test_a_folder_without_a_manifest_is_refused_and_left_alone(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    result = command(arguments[0], tmp_path / "empty", *arguments[1:])
    assert result.exit_code == 1
    assert "manifest.sqlite" in result.stderr
    assert list((tmp_path / "empty").iterdir()) == []
    assert command(arguments[0], tmp_path / "missing", *arguments[1:]).exit_code == 1


FILES = {f"pad/{number}_{k}.png" for number in (1, 2) for k in (1, 2)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    add_source(tmp_path, "pad/1.png", board((64, 64)), (20, 20, 40, 40))
    add_source(tmp_path, "pad/2.png", board((48, 64), "L"), (0, 0, 10, 10))
    return tmp_path


@pytest.fixture
def webui_server() -> Iterator[WebUIServer]:
    with serve_webui() as server:
        yield server


@pytest.fixture
def webui(webui_server: WebUIServer) -> Iterator[WebUI]:
    with webui_server.client() as client:
        yield client


def failing_at(number: int, real: Callable[..., None]) -> Callable[..., None]:
    """A way to write files that breaks down at the n-th, before or after it is in place."""
    calls = 0

    def write(path: Path, content: bytes, *, durable: bool = False) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            raise OSError(28, "No space left on device", str(path))
        real(path, content, durable=durable)

    return write


@pytest.mark.parametrize("number", range(1, 9))
def test_a_failure_at_any_file_loses_and_doubles_nothing(
    webui: WebUI, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """4 images and 4 masks are 8 files; the run breaks at each of them in turn, and goes on."""
    with monkeypatch.context() as broken:
        broken.setattr(store, "write_bytes_atomically", failing_at(number, store.write_bytes_atomically))
        with pytest.raises(OSError, match="No space left"):
            repaint(webui, folder)
    with Manifest(folder / "out") as manifest:
        done = {record.file: record.mask for record in manifest.images()}
    assert all((folder / "out" / file).is_file() for pair in done.items() for file in pair)
    made = repaint(webui, folder)
    assert {record.file for record in made} == FILES - set(done)
    check_masks(folder / "out")


def test_a_failure_of_the_manifest_leaves_files_that_are_made_again(
    webui: WebUI, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(Manifest, "add", add)
        with pytest.raises(OSError, match="Input/output"):
            repaint(webui, folder)
    assert {record.file for record in repaint(webui, folder)} == FILES
    check_masks(folder / "out")


def test_an_image_whose_mask_is_gone_is_made_again(webui: WebUI, folder: Path) -> None:
    repaint(webui, folder)
    (folder / "out" / "_masks" / "pad" / "1_2.png").unlink()
    assert [record.file for record in repaint(webui, folder)] == ["pad/1_2.png"]
    check_masks(folder / "out")


def test_temporary_files_among_the_masks_are_removed(webui: WebUI, folder: Path) -> None:
    repaint(webui, folder)
    half = folder / "out" / "_masks" / "pad" / ".1-2.part"
    half.write_bytes(b"half")
    repaint(webui, folder)
    assert not half.exists()


def verify(folder: Path, *options: str) -> Any:
    return CliRunner().invoke(cli, ["verify", str(folder / "out"), *options])


def test_an_undamaged_output_with_masks_is_reported_as_such(webui: WebUI, folder: Path) -> None:
    repaint(webui, folder)
    result = verify(folder)
    assert result.exit_code == 0, result.output
    assert "4 images read: 0 damaged, 0 files without a row" in result.stdout


def test_damaged_missing_and_orphaned_masks_are_found_and_repaired(webui: WebUI, folder: Path) -> None:
    repaint(webui, folder)
    masks = folder / "out" / "_masks" / "pad"
    (masks / "1_1.png").unlink()
    (masks / "1_2.png").write_bytes((masks / "1_2.png").read_bytes()[:-9])
    Image.new("L", (48, 64), 255).save(masks / "2_1.png")
    Image.new("L", (4, 4)).save(masks / "99_1.png")
    (masks / ".12-34.part").write_bytes(b"half")
    found = json.loads(verify(folder, "--json").stdout)
    assert {finding["file"]: finding["problem"] for finding in found["damaged"]} == {
        "pad/1_1.png": "its mask _masks/pad/1_1.png is missing",
        "pad/1_2.png": "its mask _masks/pad/1_2.png has other bytes than those recorded",
        "pad/2_1.png": "its mask _masks/pad/2_1.png has other bytes than those recorded",
    }
    assert {finding["file"]: finding["problem"] for finding in found["orphans"]} == {
        "_masks/pad/99_1.png": "a mask without a row that says done",
        "_masks/pad/.12-34.part": "a temporary file of a killed run",
    }
    assert verify(folder, "--repair").exit_code == 0
    assert (folder / "out" / ORPHANS_FOLDER / "_masks" / "pad" / "99_1.png").is_file()
    assert {record.file for record in repaint(webui, folder)} == {"pad/1_1.png", "pad/1_2.png", "pad/2_1.png"}
    check_masks(folder / "out")
    assert verify(folder).exit_code == 0


def test_a_mask_without_a_recorded_sha256_is_at_least_read(webui: WebUI, folder: Path) -> None:
    repaint(webui, folder)
    with Manifest(folder / "out", create=True) as manifest:
        manifest._db.execute("UPDATE images SET asked = '{}'")
    assert verify(folder).exit_code == 0
    Image.new("L", (3, 3), 255).save(folder / "out" / "_masks" / "pad" / "1_1.png")
    assert "pad/1_1.png: its mask cannot be used" in verify(folder).stdout


def test_an_image_that_is_planned_again_keeps_its_mask(webui: WebUI, webui_server: WebUIServer, folder: Path) -> None:
    repaint(webui, folder, check=lambda *_: "black picture")
    with Manifest(folder / "out") as manifest:
        assert {state.status for state in manifest.states()} == {FAILED}
    assert not (folder / "out" / "_masks").exists()
    assert CliRunner().invoke(cli, ["retry", str(folder / "out")]).exit_code == 0
    assert {record.file for record in repaint(webui, folder)} == FILES
    check_masks(folder / "out")


def generate(server: WebUIServer, folder: Path, *options: str) -> Any:
    common = ["--per-source", "2", "--native-size", "64", "--steps", "4", "--url", server.url]
    return CliRunner().invoke(cli, ["generate", str(folder / "sources"), str(folder / "out"), *common, *options])


def test_the_command_repaints_inside_masks(webui_server: WebUIServer, folder: Path) -> None:
    masks = str(folder / "masks")
    result = generate(webui_server, folder, "--masks", masks, "--inpaint-fill", "fill", "--mask-blur", "1", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["made"] == 4
    check_masks(folder / "out")
    again = generate(webui_server, folder, "--masks", masks, "--inpaint-fill", "fill", "--mask-blur", "1", "--json")
    assert json.loads(again.stdout)["already_there"] == 4
    with Manifest(folder / "out") as manifest:
        assert manifest.run()["masks"] == str((folder / "masks").resolve())


def test_the_command_names_what_is_wrong_with_masks(webui_server: WebUIServer, folder: Path) -> None:
    (folder / "masks" / "pad" / "2.png").unlink()
    masks = str(folder / "masks")
    for more in ([], ["--dry-run"]):
        result = generate(webui_server, folder, "--masks", masks, *more)
        assert result.exit_code == 1
        assert "2.png: no such mask; make them with 'sdclient mask', or add --unmasked skip" in result.stderr
    skipped = generate(webui_server, folder, "--masks", masks, "--unmasked", "skip")
    assert skipped.exit_code == 0
    assert "Without a mask: 1 (pad/2.png)" in skipped.stderr
    assert "2 images made" in skipped.stdout


def test_until_accepted_skips_sources_without_a_mask_too(webui_server: WebUIServer, folder: Path) -> None:
    (folder / "masks" / "pad" / "2.png").unlink()
    options = ["--masks", str(folder / "masks"), "--unmasked", "skip", "--until-accepted", "--budget", "1"]
    result = generate(webui_server, folder, *options)
    assert "Without a mask: 1 (pad/2.png)" in result.stderr, result.output
    with Manifest(folder / "out") as manifest:
        assert {record.file for record in manifest.images()} == {"pad/1_1.png", "pad/1_2.png"}
    check_masks(folder / "out")


def test_the_command_refuses_options_of_masks_without_any(webui_server: WebUIServer, folder: Path) -> None:
    result = generate(webui_server, folder, "--inpaint-fill", "fill")
    assert result.exit_code == 1
    assert "inpaint_fill is 'fill', but the run has no masks; add --masks DIR" in result.stderr
    assert generate(webui_server, folder, "--unmasked", "skip").exit_code == 2
    wrong = generate(webui_server, folder, "--masks", str(folder / "masks"), "--mask-blur", "-1")
    assert "mask-blur: -1" in wrong.stderr


def test_masks_that_keep_nothing_are_warned_of_and_large_sources_are_not(
    webui_server: WebUIServer, folder: Path
) -> None:
    add_source(folder, "pad/1.png", board((80, 80)), (0, 0, 80, 80))
    result = generate(webui_server, folder, "--masks", str(folder / "masks"))
    assert "Warning: masks that are nowhere black keep nothing of their source: 1 (pad/1.png)" in result.stderr
    assert "larger than the model's" not in result.stderr
    whole = generate(webui_server, folder, "--masks", str(folder / "masks"), "--inpaint-area", "whole", "--dry-run")
    assert "1 source is larger than the model's 64 x 64 px" in whole.stderr
