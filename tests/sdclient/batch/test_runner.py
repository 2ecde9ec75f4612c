"""A run makes exactly what is planned, keeps what it made, and goes on where it stopped."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from werkzeug import Response

from sdclient.batch import BatchRunner, GenerateOptions, GenerationSettings
from sdclient.client import WebUI
from sdclient.errors import (
    IncompleteReply,
    LossyFormat,
    OutputError,
    PlanError,
    RequestRejected,
    ServerLoading,
    SettingSubstituted,
)
from sdclient.manifest import Manifest
from sdclient.plan import Plan, make_plan
from sdclient.sources import discover
from tests.support.batch_runs import PLANNED, image_hashes, invoke, recorded, run, settings
from tests.support.fake_webui import FakeWebUI


def test_exactly_the_planned_files_are_made_and_recorded(webui: WebUI, sources_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    records = run(webui, sources_folder, output)
    assert {record.file for record in records} == set(image_hashes(output)) == PLANNED
    assert image_hashes(output) == recorded(output)


def test_a_second_run_requests_nothing(fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path) -> None:
    run(webui, sources_folder, tmp_path / "out")
    before = image_hashes(tmp_path / "out"), len(fake.requests)
    assert run(webui, sources_folder, tmp_path / "out", batch_size=4) == []
    assert (image_hashes(tmp_path / "out"), len(fake.requests)) == before


def test_a_larger_plan_makes_only_the_difference(webui: WebUI, sources_folder: Path, tmp_path: Path) -> None:
    run(webui, sources_folder, tmp_path / "out", per_source=1)
    more = run(webui, sources_folder, tmp_path / "out")
    assert {record.file for record in more} == {name for name in PLANNED if not name.endswith("_1.png")}


def test_images_return_to_their_sources_size_and_mode(webui: WebUI, sources_folder: Path, tmp_path: Path) -> None:
    run(webui, sources_folder, tmp_path / "out")
    forms = {}
    for name in ("焊盘/2_1.png", "焊盘/10_1.png", "dirt/1_1.png"):
        with Image.open(tmp_path / "out" / name) as image:
            forms[name] = (image.size, image.mode)
    assert forms == {
        "焊盘/2_1.png": ((96, 64), "L"),
        "焊盘/10_1.png": ((64, 64), "RGB"),
        "dirt/1_1.png": ((80, 80), "L"),
    }


def test_each_image_says_where_it_came_from(webui: WebUI, sources_folder: Path, tmp_path: Path) -> None:
    record = next(r for r in run(webui, sources_folder, tmp_path / "out", prompt="漏铜") if r.file == "焊盘/2_3.png")
    source_sha256 = hashlib.sha256((sources_folder / "焊盘" / "2.png").read_bytes()).hexdigest()
    with Image.open(tmp_path / "out" / record.file) as image:
        lineage = json.loads(image.text["sdclient"])  # type: ignore[attr-defined]
        assert image.text["parameters"] == record.infotext  # type: ignore[attr-defined]
    assert lineage == {
        "class": "焊盘",
        "source_sha256": source_sha256,
        "key": record.key,
        "engine": "Stable Diffusion WebUI",
    }
    assert (record.source, record.source_sha256, record.k) == ("焊盘/2.png", source_sha256, 3)
    assert record.infotext.endswith(f"Seed: {record.seed}")
    assert record.asked["seed"] == record.used["seed"] == record.seed
    assert record.asked["prompt"] == "漏铜"
    assert record.used["extra_generation_params"] == {"Schedule type": "Karras"}
    assert record.model == "model [abc123]"
    assert "init_images" not in record.asked


def test_requests_hold_consecutive_images_of_one_source(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    records = run(webui, sources_folder, tmp_path / "out")
    assert sorted(request["batch_size"] for request in fake.requests) == [1, 1, 1, 2, 2, 2]
    made = {
        seed for request in fake.requests for seed in range(request["seed"], request["seed"] + request["batch_size"])
    }
    assert made == {record.seed for record in records}


def test_the_next_request_waits_at_the_server_before_the_last_is_answered(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    both_there = threading.Barrier(2, timeout=10)

    def meet(number: int) -> None:
        if number <= 2:
            both_there.wait()

    fake.before_answer = meet
    run(webui, sources_folder, tmp_path / "out")
    assert not both_there.broken


def test_a_fault_that_passes_costs_no_image(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    fake.before_answer = lambda number: Response("{}", status=500) if number == 4 else None
    assert len(run(webui, sources_folder, tmp_path / "out")) == len(PLANNED)
    assert image_hashes(tmp_path / "out") == recorded(tmp_path / "out")
    assert set(image_hashes(tmp_path / "out")) == PLANNED


@pytest.mark.parametrize(("status", "error"), [(422, RequestRejected), (503, ServerLoading)])
def test_what_was_made_before_the_end_is_kept_and_the_rest_is_made_later(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path, status: int, error: type[Exception]
) -> None:
    """A request that is refused stops the run at once; a server that stays away, after some patience."""
    fake.before_answer = lambda number: Response("{}", status=status) if number >= 4 else None
    with pytest.raises(error):
        run(webui, sources_folder, tmp_path / "out", patience_s=0.0)
    kept = image_hashes(tmp_path / "out")
    assert 0 < len(kept) < len(PLANNED)
    assert kept == recorded(tmp_path / "out")
    fake.before_answer = lambda number: None
    run(webui, sources_folder, tmp_path / "out")
    whole = image_hashes(tmp_path / "out")
    assert set(whole) == PLANNED
    assert kept.items() <= whole.items()


def test_stopping_in_the_middle_keeps_what_the_server_was_making(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    running = BatchRunner(webui, sources_folder, tmp_path / "out", settings()).run(
        [(source, 20) for source in discover(sources_folder)]  # more than may wait to be written
    )
    next(running)
    with pytest.raises(KeyboardInterrupt):
        running.throw(KeyboardInterrupt())
    asked = sum(request["batch_size"] for request in fake.requests)
    assert len(image_hashes(tmp_path / "out")) == asked < 60
    assert image_hashes(tmp_path / "out") == recorded(tmp_path / "out")


def test_a_killed_run_ends_with_the_same_set_after_another_start(
    fake: FakeWebUI, sources_folder: Path, tmp_path: Path, webui: WebUI
) -> None:
    run(webui, sources_folder, tmp_path / "unbroken")
    output = tmp_path / "out"
    command = [sys.executable, "-m", "sdclient", "generate", str(sources_folder), str(output), "--per-source", "3"]
    command += ["--native-size", "64", "--batch-size", "1", "--url", fake.url]
    for kill_at in (2, 3, 5):
        fake.requests.clear()
        arrived = threading.Event()

        def kill_here(number: int, at: int = kill_at, arrived: threading.Event = arrived) -> Response | None:
            if number >= at:
                arrived.set()
                return Response("{}", status=500)
            return None

        fake.before_answer = kill_here
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            assert arrived.wait(30)
            process.kill()
        assert set(recorded(output)) <= set(image_hashes(output))
    fake.before_answer = lambda number: None
    (output / "焊盘").mkdir(exist_ok=True)
    (output / "焊盘" / ".1-2.part").write_bytes(b"half a image")
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert image_hashes(output) == recorded(output)
    assert set(image_hashes(output)) == PLANNED
    with Manifest(output) as manifest, Manifest(tmp_path / "unbroken") as unbroken:
        assert [(r.file, r.key, r.seed) for r in manifest.images()] == [
            (r.file, r.key, r.seed) for r in unbroken.images()
        ]


def test_what_a_killed_write_leaves_is_known_by_its_name(
    webui: WebUI, sources_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place = Path.replace

    def killed(temporary: Path, target: Path) -> Path:
        if target.suffix == ".png":
            raise KeyboardInterrupt
        return put_in_place(temporary, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)  # a killed process tidies nothing up
        with pytest.raises(KeyboardInterrupt):
            run(webui, sources_folder, tmp_path / "out")
    assert image_hashes(tmp_path / "out")
    run(webui, sources_folder, tmp_path / "out")
    assert set(image_hashes(tmp_path / "out")) == PLANNED


def test_rows_without_files_and_files_without_rows_are_made_again(
    webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    run(webui, sources_folder, tmp_path / "out")
    (tmp_path / "out" / "焊盘" / "2_2.png").unlink()
    with Manifest(tmp_path / "out", create=True) as manifest:
        manifest.forget(["dirt/1_1.png"])
    again = run(webui, sources_folder, tmp_path / "out")
    assert {record.file for record in again} == {"焊盘/2_2.png", "dirt/1_1.png"}
    assert image_hashes(tmp_path / "out") == recorded(tmp_path / "out")


def test_other_parameters_are_refused_naming_the_difference(webui: WebUI, sources_folder: Path, tmp_path: Path) -> None:
    run(webui, sources_folder, tmp_path / "out")
    with pytest.raises(OutputError, match=r"denoising_strength was 0\.25, now 0\.3"):
        run(webui, sources_folder, tmp_path / "out", denoising_strength=0.3)


def test_another_model_is_refused_but_its_hash_may_appear(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    fake.checkpoint = "model.safetensors"
    run(webui, sources_folder, tmp_path / "out")
    fake.checkpoint = "model.safetensors [0123abcdef]"
    assert run(webui, sources_folder, tmp_path / "out") == []
    fake.checkpoint = "other.safetensors"
    with pytest.raises(OutputError, match="model was 'model', now 'other'"):
        run(webui, sources_folder, tmp_path / "out")


def test_both_spellings_of_a_sampler_are_the_same_run(webui: WebUI, sources_folder: Path, tmp_path: Path) -> None:
    run(webui, sources_folder, tmp_path / "out", sampler="DPM++ SDE Karras")
    assert run(webui, sources_folder, tmp_path / "out", sampler="DPM++ SDE", scheduler="karras") == []


def test_a_source_that_changed_is_refused(webui: WebUI, sources_folder: Path, tmp_path: Path) -> None:
    run(webui, sources_folder, tmp_path / "out")
    Image.new("L", (96, 64), 9).save(sources_folder / "焊盘" / "2.png")
    with pytest.raises(OutputError, match=r"2_1\.png.*another picture"):
        run(webui, sources_folder, tmp_path / "out")


def test_a_lossy_server_is_refused_naming_the_setting(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    fake.samples_format = "jpg"
    with pytest.raises(LossyFormat, match="samples_format"):
        run(webui, sources_folder, tmp_path / "out")
    assert fake.requests == []
    assert not (tmp_path / "out").exists()


def test_a_lossy_image_is_refused_whatever_the_option_says(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    fake.image_format = "JPEG"
    with pytest.raises(LossyFormat, match="JPEG"):
        run(webui, sources_folder, tmp_path / "out")
    assert image_hashes(tmp_path / "out") == {}


def test_a_substituted_sampler_stops_the_run_and_writes_nothing(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    fake.info = {"sampler_name": "Euler"}
    with pytest.raises(SettingSubstituted, match="'Euler' instead of 'DPM\\+\\+ SDE'"):
        run(webui, sources_folder, tmp_path / "out")
    assert image_hashes(tmp_path / "out") == {}


def test_a_short_reply_stops_the_run_and_writes_nothing_of_it(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    fake.info = {"index_of_first_image": 1}
    with pytest.raises(IncompleteReply):
        run(webui, sources_folder, tmp_path / "out")
    assert image_hashes(tmp_path / "out") == {}


def test_a_stand_in_is_named_in_every_record(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    fake.info = {"extra_generation_params": {"Schedule type": "Karras", "Engine": "a toy, not Stable Diffusion"}}
    records = run(webui, sources_folder, tmp_path / "out")
    assert {record.engine for record in records} == {"a toy, not Stable Diffusion"}


@pytest.mark.parametrize("make", ["file", "folder with other files"])
def test_an_output_that_is_something_else_is_left_alone(
    webui: WebUI, sources_folder: Path, tmp_path: Path, make: str
) -> None:
    output = tmp_path / "out"
    if make == "file":
        output.write_text("mine")
    else:
        output.mkdir()
        (output / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="out"):
        run(webui, sources_folder, output)


def test_a_full_disk_is_one_line_and_loses_nothing(
    fake: FakeWebUI, sources_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes
    written: list[str] = []

    def fill_up(path: Path, data: bytes) -> int:
        if len(written) == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        written.append(path.name)
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fill_up)
        result = invoke(fake, str(sources_folder), str(tmp_path / "out"), "--per-source", "3", "--batch-size", "2")
    assert result.exit_code == 1
    assert "disk is full" in result.stderr
    assert "Traceback" not in result.output
    kept = recorded(tmp_path / "out")
    assert kept.items() <= image_hashes(tmp_path / "out").items()
    assert invoke(fake, str(sources_folder), str(tmp_path / "out"), "--per-source", "3").exit_code == 0
    assert image_hashes(tmp_path / "out") == recorded(tmp_path / "out")
    assert set(image_hashes(tmp_path / "out")) == PLANNED


def test_the_command_follows_a_plan_and_sums_up_in_json(fake: FakeWebUI, sources_folder: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.csv"
    plan.write_text("class,source,count\n焊盘,10.png,2\ndirt,1.png,1\n", encoding="utf-8-sig")
    result = invoke(fake, str(sources_folder), str(tmp_path / "out"), "--plan", str(plan), "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "output": str(tmp_path / "out"),
        "planned": 3,
        "already_there": 0,
        "made": 3,
        "failed": 0,
        "failures": [],
        "engines": ["Stable Diffusion WebUI"],
    }
    assert set(image_hashes(tmp_path / "out")) == {"焊盘/10_1.png", "焊盘/10_2.png", "dirt/1_1.png"}


def test_an_empty_plan_is_reported(fake: FakeWebUI, sources_folder: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.csv"
    plan.write_text("class,source,count\n", encoding="utf-8-sig")
    result = invoke(fake, str(sources_folder), str(tmp_path / "out"), "--plan", str(plan))
    assert result.exit_code == 0
    assert "nothing to do" in result.stdout


def test_sources_larger_than_the_model_are_warned_of(fake: FakeWebUI, sources_folder: Path, tmp_path: Path) -> None:
    result = invoke(fake, str(sources_folder), str(tmp_path / "out"), "--per-source", "1")
    assert result.exit_code == 0
    assert "sdclient crop" in result.stderr
    assert "80 x 80" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        ([], "either --plan", 2),
        (["--per-source", "1", "--plan", "x"], "either --plan", 2),
        (["--per-source", "0"], "per-source", 2),
        (["--plan", "missing.csv"], r"missing.csv", 1),
        (["--per-source", "1", "--denoising-strength", "2"], "denoising-strength", 1),
        (["--per-source", "1", "--sampler", "Nope"], "Nope", 1),
    ],
)
def test_wrong_use_is_one_line(
    fake: FakeWebUI, sources_folder: Path, tmp_path: Path, arguments: list[str], words: str, code: int
) -> None:
    result = invoke(fake, str(sources_folder), str(tmp_path / "out"), *arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert fake.requests == []


@pytest.fixture
def counted_sources(tmp_path: Path) -> Path:
    """Two numbered sources of "焊盘", one of "dirt"."""
    for name in ("焊盘/1.png", "焊盘/2.png", "dirt/1.jpg"):
        path = tmp_path / "counted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 64), 40).save(path)
    return tmp_path / "counted"


def runner(webui: WebUI, sources: Path, output: Path, **options: Any) -> BatchRunner:
    return BatchRunner(
        webui, sources, output, GenerationSettings(native_px=64, batch_size=1), GenerateOptions(**options)
    )


def test_a_plan_from_counts_makes_what_it_says(webui: WebUI, counted_sources: Path, tmp_path: Path) -> None:
    plan = Plan.from_counts({"焊盘": 2, "dirt": 1}, target=4)
    made = [record.file for record in runner(webui, counted_sources, tmp_path / "out").run(plan)]
    assert sorted(made) == sorted(["焊盘/1_1.png", "焊盘/2_1.png", "dirt/1_1.png", "dirt/1_2.png", "dirt/1_3.png"])


def test_results_come_one_by_one_and_the_rest_is_made_on_the_next_run(
    webui: WebUI, fake: FakeWebUI, counted_sources: Path, tmp_path: Path
) -> None:
    plan, output = Plan.from_counts({"焊盘": 2, "dirt": 1}, per_source=20), tmp_path / "out"
    results = runner(webui, counted_sources, output).run(plan)
    first = next(results)
    assert (output / first.file).is_file()
    assert len(fake.requests) < 60, "the first image waited for the last"
    results.close()  # type: ignore[attr-defined]
    with Manifest(output) as manifest:
        kept = {record.file for record in manifest.images()}
    rest = {record.file for record in runner(webui, counted_sources, output).run(plan)}
    assert not kept & rest
    assert len(kept | rest) == 60


def test_a_bar_is_shown_on_request_alone(
    webui: WebUI, counted_sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan.from_counts({"焊盘": 2, "dirt": 1}, per_source=1)
    list(runner(webui, counted_sources, tmp_path / "quiet").run(plan))
    assert capsys.readouterr().err == ""
    list(runner(webui, counted_sources, tmp_path / "shown").run(plan, progress=True))
    assert "generate: 100%" in capsys.readouterr().err


def test_a_plan_of_more_sources_than_there_are_is_refused_before_anything_is_asked(
    webui: WebUI, fake: FakeWebUI, counted_sources: Path, tmp_path: Path
) -> None:
    with pytest.raises(PlanError, match="names dirt/2, which is not among the sources"):
        next(runner(webui, counted_sources, tmp_path / "out").run(Plan.from_counts({"dirt": 2}, per_source=1)))
    assert fake.requests == []


def test_counts_and_names_give_the_same_plan() -> None:
    counts = {"Normal": 7, "dirt": 3, "short": 11}
    by_name = make_plan({name: [f"{n}.png" for n in range(1, count + 1)] for name, count in counts.items()}, target=9)
    by_count = Plan.from_counts(counts, target=9)
    assert by_count.rows == by_name.rows
    assert {(c, f"{s}.png"): n for (c, s), n in by_count.owed.items()} == by_name.owed


def test_a_count_below_nothing_is_refused() -> None:
    with pytest.raises(PlanError, match=r"'dirt' has -1 sources; expected 0 or more"):
        Plan.from_counts({"dirt": -1}, target=4)
