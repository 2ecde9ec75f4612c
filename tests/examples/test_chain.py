from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import chain
import demo
import pytest
import steps
from chain import Recipe
from steps import StepFailed

TINY = Recipe(target=9, epochs=1, images_per_epoch=32, seeds=1, caveat="A toy.", native_size_px=64, imgsz=32)


def digests(folder: Path) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.png")}


def test_a_new_folder_is_made_and_taken_up_again_by_the_same_recipe(tmp_path: Path) -> None:
    for _ in range(2):
        chain.claim(tmp_path / "出" / "demo-out", TINY, "demo")
    assert json.loads((tmp_path / "出" / "demo-out" / "chain.json").read_text("utf-8"))["recipe"]["target"] == 9


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    chain.claim(tmp_path / "out", TINY, "demo")
    with pytest.raises(StepFailed, match="other settings"):
        chain.claim(tmp_path / "out", replace(TINY, seeds=2), "demo")


def test_a_folder_with_files_of_the_user_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(StepFailed, match="not empty"):
        chain.claim(tmp_path, TINY, "demo")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_command_that_fails_is_named_with_its_code(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StepFailed, match="'sdclient nonsense' ended with code 2"):
        steps.run("sdclient", "nonsense")
    assert capfd.readouterr().out == "$ sdclient nonsense\n"


def test_a_background_command_is_gone_after_stop(tmp_path: Path) -> None:
    process = steps.start(["http.server", "--bind", "127.0.0.1", "0"], tmp_path / "server.log")
    assert process.poll() is None
    steps.stop(process)
    assert process.returncode is not None


def test_a_training_that_fails_stops_the_chain_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"^training [^\n]*seed-0 failed: [^\n]+$"):
        chain.train_arms(tmp_path / "no data", tmp_path / "no images", tmp_path / "runs", TINY)


def test_a_script_that_is_interrupted_says_so_and_leaves_no_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def work() -> Path:
        recipe = replace(TINY, seeds=2)
        original = steps.start

        def start_and_interrupt(command: list[object], log: Path) -> subprocess.Popen[bytes]:
            if started:
                raise KeyboardInterrupt
            # Any process that would go on by itself.
            started.append(original(["http.server", "--bind", "127.0.0.1", "0"], log))
            return started[0]

        monkeypatch.setattr(chain, "start", start_and_interrupt)
        chain.train_arms(tmp_path, tmp_path, tmp_path / "runs", recipe)
        return tmp_path

    assert chain.run_script("demo", work, "") == 130
    assert "demo stopped; what was made is kept" in capsys.readouterr().err
    assert started[0].returncode is not None


def test_a_script_says_how_long_it_took_and_where_the_report_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert chain.run_script("demo", lambda: Path("report.html"), "What it means.") == 0
    assert capsys.readouterr().out == "\nWhat it means.\nTook 0 min 0 s. Report: report.html\n"


def test_the_last_line_with_words_is_found(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("one\ntwo 二\n\n  \n", encoding="utf-8")
    assert steps.last_line(log) == "two 二"
    log.write_bytes(b"")
    assert "no words" in steps.last_line(log)


@pytest.mark.chain
def test_the_server_answers_and_is_stopped_even_when_a_step_fails(tmp_path: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    addresses = []

    def use_it_and_fail() -> None:
        with steps.server(tmp_path / "server.log") as url:
            addresses.append(f"{url}/sdapi/v1/sd-models")
            with opener.open(addresses[0], timeout=10) as reply:
                assert reply.status == 200
            raise StepFailed("a step inside")

    with pytest.raises(StepFailed, match="a step inside"):
        use_it_and_fail()
    with pytest.raises(urllib.error.URLError):
        opener.open(addresses[0], timeout=10)


@pytest.mark.chain
def test_the_demo_runs_to_its_report_and_no_source_is_held_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every command for real on 56 images; a second 'generate' then keeps what the first has made."""
    out = tmp_path / "演示"
    report = demo.demo(out, TINY, counts={"Normal": 24, "scratch": 16, "pit": 16})
    assert report == out / "report.html"
    assert "<html" in report.read_text(encoding="utf-8")
    held_out = digests(out / "data" / "val") | digests(out / "data" / "test")
    assert len(held_out) > 20
    assert digests(out / "sources") == digests(out / "data" / "train")
    assert not digests(out / "sources") & held_out
    generated = {path: path.stat().st_mtime_ns for path in (out / "generated").rglob("*.png")}
    assert generated
    assert not digests(out / "generated") & (held_out | digests(out / "sources"))
    for arm in chain.ARMS:
        assert (out / "runs" / arm / "seed-0" / "best.pt").is_file()
    printed = capfd.readouterr().out
    assert f"$ trainer split {steps.as_typed([out / 'photos'])} " in printed
    with steps.server(out / "again.log") as url:
        steps.run("sdclient", "plan", out / "sources", "--target", TINY.target, "-o", out / "plan.csv")
        steps.run(
            *("sdclient", "generate", out / "sources", out / "generated", "--url", url, "--plan", out / "plan.csv"),
            *chain.generation_options(TINY),
        )
    assert {path: path.stat().st_mtime_ns for path in (out / "generated").rglob("*.png")} == generated


def test_the_demo_ends_with_one_line_and_code_one_on_a_folder_that_is_not_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["demo.py", str(tmp_path)])
    assert demo.main() == 1
    error = capsys.readouterr().err
    assert error.startswith("demo stopped: ")
    assert error.count("\n") == 1
