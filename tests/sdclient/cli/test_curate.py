"""`sdclient curate`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sdclient.cli import cli
from sdclient.manifest import Curation, Manifest
from sdclient.sources.source import read_photo
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
    assert "other classes were asked too" in result.stdout
    assert "4 images scored, 4 judged: 2 accepted, 2 rejected; next: sdclient review" in result.stdout
    again = run(output)
    assert "0 images scored, 4 judged: 2 accepted" in again.stdout


def test_json_holds_what_the_manifest_holds(output: Path) -> None:
    told = json.loads(run(output, "--json").stdout)
    assert (told["scored"], told["judged"], told["accepted"], told["dry_run"]) == (4, 4, 2, False)
    with Manifest(output) as manifest:
        verdicts = {one.file: (one.verdict, list(one.reasons)) for one in Curation(manifest).verdicts()}
        scores = Curation(manifest).scores()
    assert {row["file"]: (row["verdict"], row["reasons"]) for row in told["images"]} == verdicts
    assert {row["file"]: row["scores"] for row in told["images"]} == scores
    assert set(told["limits"]) == {"pit", "漏铜"}


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
    told = json.loads(run(output, "--json", "--skip-filter", "too_alike", "--min-sharpness", "0").stdout)
    assert {tuple(row["reasons"]) for row in told["images"]} <= {(), ("oil_paint",), ("blurred",)}
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
