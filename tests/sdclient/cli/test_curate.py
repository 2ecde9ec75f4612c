"""`sdclient curate`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import webbrowser
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner, Result

from sdclient.cli import cli
from sdclient.manifest import Curation, Manifest
from sdclient.sources.source import read_photo
from sdcore.cli import Output, open_page
from tests.support.images import add_images, blurred, contents, sibling, surface, write_sources


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `sources` and an `output` that was never curated."""
    folder = tmp_path_factory.mktemp("made")
    write_sources(folder / "sources", {"pit": 6, "漏铜": 5})
    images = {
        "pit/1_1.png": sibling(surface(1), 1),
        "pit/2_1.png": surface(2),
        "pit/3_1.png": blurred(sibling(surface(3), 3), 2),
        "漏铜/1_1.png": sibling(surface(101), 1),
    }
    add_images(folder / "output", folder / "sources", images)
    return folder


@pytest.fixture
def output(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "output", tmp_path / "output")
    return tmp_path / "output"


def run(*arguments: str | Path) -> Result:
    return CliRunner(catch_exceptions=False).invoke(cli, ["curate", *map(str, arguments)])


def test_tables_show_limits_and_verdicts_in_both_languages(output: Path) -> None:
    result = run(output)
    assert result.exit_code == 0
    for words in ("accepted 接受", "too like its source 与源图过于相似", "blurred 模糊", "明暗", "漏铜"):
        assert words in result.stdout
    assert "other classes were used too" in result.stdout
    assert "4 images scored, 4 judged: 2 accepted, 2 rejected; next: sdclient review" in result.stdout
    again = run(output)
    assert "0 images scored, 4 judged: 2 accepted" in again.stdout


def test_json_holds_what_the_manifest_holds(output: Path) -> None:
    summary = json.loads(run(output, "--json").stdout)
    assert (summary["scored"], summary["judged"], summary["accepted"], summary["dry_run"]) == (4, 4, 2, False)
    with Manifest(output) as manifest:
        verdicts = {one.file: (one.verdict, list(one.reasons)) for one in Curation(manifest).verdicts()}
        scores = Curation(manifest).scores()
    assert {row["file"]: (row["verdict"], row["reasons"]) for row in summary["images"]} == verdicts
    assert {row["file"]: row["scores"] for row in summary["images"]} == scores
    assert set(summary["limits"]) == {"pit", "漏铜"}


def test_a_dry_run_leaves_the_output_as_it_was(output: Path) -> None:
    before = contents(output)
    result = run(output, "--dry-run")
    assert "2 accepted, 2 rejected; a dry run, nothing was written" in result.stdout
    assert contents(output) == before


def test_a_sheet_for_each_class_shows_groups_beside_their_sources(output: Path, tmp_path: Path) -> None:
    result = run(output, "--sheet", tmp_path / "sheets", "--dry-run")
    assert result.stdout.count("Sheet: ") == 2
    sheets = sorted((tmp_path / "sheets").iterdir())
    assert [path.name for path in sheets] == ["pit.png", "漏铜.png"]
    heights = [read_photo(path).height for path in sheets]
    assert heights[0] > 2 * heights[1]


def test_limits_can_be_given_and_filters_left_out(output: Path) -> None:
    summary = json.loads(run(output, "--json", "--skip-filter", "too_alike", "--min-sharpness", "0").stdout)
    assert {tuple(row["reasons"]) for row in summary["images"]} <= {(), ("oil_paint",), ("blurred",)}
    strict = json.loads(run(output, "--json", "--max-tone", "0").stdout)
    assert all("tone" in row["reasons"] for row in strict["images"] if row["scores"]["tone_distance"] > 0)
    assert strict["limits"]["pit"]["max_tone"] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--skip-filter", "faces"], "'faces': no such filter"),
        (["--real", "nowhere"], "nowhere: expected a folder"),
        (["--predictions", "none.csv"], "none.csv: no such file"),
        (["--features", "f.npz"], "give both --features and --real-features"),
    ],
)
def test_what_cannot_be_used_is_one_line(output: Path, arguments: list[str], words: str) -> None:
    result = run(output, *arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()[-1]) > 0
    assert "Traceback" not in result.output


@pytest.mark.parametrize("value", ["nan", "-2", "x"])
def test_a_limit_that_is_no_likeness_is_a_usage_error(output: Path, value: str) -> None:
    assert run(output, "--max-ssim", value).exit_code == 2


def test_a_folder_that_is_no_output_is_named(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "no manifest.sqlite here" in result.stderr


def test_a_changed_image_is_named(output: Path) -> None:
    (output / "pit" / "1_1.png").write_bytes(b"not an image")
    result = run(output)
    assert result.exit_code == 1
    assert "1_1.png: was changed since it was generated; run 'sdclient verify" in result.stderr


def test_review_tells_its_address_serves_and_says_at_the_end_what_was_decided(tmp_path: Path) -> None:
    Manifest(tmp_path, create=True).close()
    with subprocess.Popen(
        [sys.executable, "-m", "sdclient", "review", str(tmp_path), "--no-browser", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = json.loads(process.stdout.readline())["url"]
        with requests.Session() as session:
            assert "<title>Review" in session.get(url, timeout=20).text
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert json.loads(process.stdout.read()) == {"accepted": 0, "rejected": 0, "cleared": 0, "masks": 0}
        assert process.stderr.read() == ""


def test_review_of_a_folder_without_a_manifest_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["review", str(tmp_path), "--no-browser"])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "no manifest.sqlite here" in result.output


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    import socket

    Manifest(tmp_path, create=True).close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(cli, ["review", str(tmp_path), "--no-browser", "--port", str(port)])
    assert result.exit_code == 1
    assert f"port {port}" in result.output
    assert "another 'sdclient review'?" in result.output


def test_masks_without_sources_are_one_line(tmp_path: Path) -> None:
    Manifest(tmp_path, create=True).close()
    result = CliRunner().invoke(cli, ["review", str(tmp_path), "--no-browser", "--masks", str(tmp_path / "m")])
    assert result.exit_code == 1
    assert "give it with --sources" in result.output


def test_a_missing_extra_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.startswith("sdclient.review")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette.datastructures", None)
    result = CliRunner().invoke(cli, ["review", str(tmp_path)])
    assert result.exit_code == 1
    assert 'pip install "sd-defects[curate]"' in result.output


def test_the_browser_is_opened_unless_it_is_not_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("threading.Thread.start", lambda thread: thread.run())
    open_page(Output(), "sdclient review", open_browser=True)("http://127.0.0.1:1/?token=t")
    open_page(Output(json=True), "sdclient review", open_browser=False)("http://127.0.0.1:2/?token=t")
    assert opened == ["http://127.0.0.1:1/?token=t"]
    first, stop, as_json = capsys.readouterr().out.splitlines()
    assert first == "sdclient review: http://127.0.0.1:1/?token=t"
    assert "Ctrl-C" in stop
    assert json.loads(as_json) == {"url": "http://127.0.0.1:2/?token=t"}
