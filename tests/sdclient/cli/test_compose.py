"""`sdclient compose` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from sdclient.cli import cli
from sdclient.masks.mask import write_mask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One dark spot on grey grain with its mask, and two good images."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:48, 0:48]
    spot = np.hypot(x - 24, y - 24) < 5
    for name, number in (("漏铜", 1), ("Normal", 1), ("Normal", 2)):
        levels = rng.normal(140, 3, (48, 48))
        levels[spot & (name != "Normal")] = 30
        path = tmp_path / "sources" / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels.astype(np.uint8)).save(path)
    write_mask(tmp_path / "masks" / "漏铜" / "1.png", Image.fromarray(spot.astype(np.uint8) * np.uint8(255)))
    return tmp_path


def run(folder: Path, *options: str) -> Result:
    names = [str(folder / name) for name in ("sources", "sources/Normal", "out")]
    return CliRunner().invoke(cli, ["compose", *names, "--masks", str(folder / "masks"), *options])


def test_it_makes_images_and_says_so(folder: Path) -> None:
    done = run(folder, "--per-class", "3", "--sheet", str(folder / "sheet.png"))
    assert done.exit_code == 0, done.output
    assert "3 images made, 0 were there already, 3 planned, 0 failed" in done.stdout
    assert sorted(path.name for path in (folder / "out" / "漏铜").iterdir()) == ["1_1.png", "1_2.png", "1_3.png"]
    assert (folder / "sheet.png").is_file()


def test_a_script_gets_one_json_object(folder: Path) -> None:
    run(folder, "--per-class", "1")
    summary = json.loads(run(folder, "--per-class", "3", "--json").stdout)
    assert (summary["planned"], summary["already_there"], summary["made"], summary["failed"]) == (3, 1, 2, 0)
    assert summary["failures"] == []
    assert summary["good_images"] == 2


def test_images_without_a_place_are_counted_and_end_with_code_1(folder: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (48, 48), dtype=np.uint8)
    for number in (1, 2):
        Image.fromarray(noise).save(folder / "sources" / "Normal" / f"{number}.png")
    done = run(folder, "--per-class", "2")
    assert done.exit_code == 1
    assert "no place on 2 good images: no surface fits" in done.stdout
    assert "0 images made, 0 were there already, 2 planned, 2 failed" in done.stdout
    summary = json.loads(run(folder, "--per-class", "2", "--json").stdout)
    assert (summary["made"], summary["already_there"], summary["failed"]) == (0, 0, 2)


def test_a_plan_says_which_source_gives_how_many(folder: Path) -> None:
    (folder / "plan.csv").write_text("class,source,count\n漏铜,1.png,2\n", encoding="utf-8")
    done = run(folder, "--plan", str(folder / "plan.csv"), "--onto", "both", "--right-angles", "--scale", "1")
    assert done.exit_code == 0, done.output
    assert "2 images made" in done.stdout


def test_a_plan_that_owes_nothing_makes_nothing(folder: Path) -> None:
    (folder / "plan.csv").write_text("class,source,count\n", encoding="utf-8")
    done = run(folder, "--plan", str(folder / "plan.csv"))
    assert done.exit_code == 0
    assert "nothing to do" in done.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "either --per-class N or --plan plan.csv"),
        (("--per-class", "1", "--scale", "a:b"), "expected LOW:HIGH or one number, as 0.9:1.1"),
        (("--per-class", "1", "--rotate", "nan"), "not a finite number"),
    ],
)
def test_usage_errors_name_what_was_expected(folder: Path, options: tuple[str, ...], words: str) -> None:
    done = run(folder, *options)
    assert done.exit_code == 2
    assert words in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--per-class", "1", "--scale", "2:1"), "scale: .* LOW:HIGH from 0.25 to 4"),
        (("--per-class", "1", "--copies", "0:1"), "copies: "),
        (("--per-class", "1", "--allowed", "nowhere"), "no allowed area for any"),
    ],
)
def test_what_cannot_be_used_is_one_line(folder: Path, options: tuple[str, ...], words: str) -> None:
    import re

    done = run(folder, *options)
    assert done.exit_code == 1
    assert re.search(words, done.stderr)
    assert "Traceback" not in done.output


def test_ctrl_c_keeps_what_was_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sdclient.compose.maker import TransplantMaker

    real, made = TransplantMaker.make, 0

    def make(self: TransplantMaker, planned: object) -> object:
        nonlocal made
        made += 1
        if made == 3:
            raise KeyboardInterrupt
        return real(self, planned)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(TransplantMaker, "make", make)
        done = run(folder, "--per-class", "4")
    assert done.exit_code == 130
    assert "what was made is kept" in done.stderr
    assert "2 images made, 2 were there already" in run(folder, "--per-class", "4").stdout


def test_help_has_an_example() -> None:
    done = CliRunner().invoke(cli, ["compose", "--help"])
    assert "sdclient compose sources sources/Normal transplants --masks masks --per-class 100" in done.stdout
