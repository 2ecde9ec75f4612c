"""`sdclient mask` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sdclient.cli import cli
from sdclient.contact_sheets import MOST_PER_CLASS, outlined, write_mask_sheet
from sdclient.masks.mask import write_mask
from sdclient.sources import discover


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("漏铜/1", "漏铜/2", "pad/1"):
        path = tmp_path / "sources" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 30), 30).save(path)
    labels = tmp_path / "labels"
    (labels / "漏铜").mkdir(parents=True)
    (labels / "classes.txt").write_text("漏铜\npad\n", encoding="utf-8")
    (labels / "漏铜" / "1.txt").write_text("0 0.5 0.5 0.5 0.2\n1 0.1 0.1 0.1 0.1", encoding="utf-8")
    (labels / "漏铜" / "2.txt").write_text("", encoding="utf-8")
    return tmp_path


def mask(project: Path, *options: object) -> Any:
    folders = [str(project / "sources"), str(project / "masks")]
    return CliRunner().invoke(cli, ["mask", *folders, *(str(option) for option in options)])


def test_it_says_what_was_made_and_what_was_not(project: Path) -> None:
    result = mask(project, "--boxes", project / "labels")
    assert result.exit_code == 0, result.output
    assert "漏铜: 1 new masks" in result.stdout
    assert "1 masks made, 0 unchanged, 2 sources without; next: sdclient generate" in result.stdout
    assert "its box file says that there is no defect" in result.stdout
    assert "no box file" in result.stdout
    assert "boxes of other classes than their source's were skipped: pad (1)" in result.stderr
    again = mask(project, "--boxes", project / "labels", "--grow", "5")
    assert "1 other masks that were there stayed as they are; --overwrite replaces them" in again.stdout
    assert "1 masks made" in mask(project, "--boxes", project / "labels", "--grow", "5", "--overwrite").stdout


def test_json_and_a_class_of_its_own(project: Path) -> None:
    sheet = project / "sheet.png"
    result = mask(project, "--boxes", project / "labels", "--class", "漏铜", "--json", "--sheet", sheet)
    found = json.loads(result.stdout)
    assert found["made"] == ["漏铜/1.png"]
    assert [item["file"] for item in found["left_out"]] == ["漏铜/2.png"]
    assert found["sheet"] == str(sheet)
    with Image.open(sheet) as image:
        assert image.format == "PNG"
    unknown = mask(project, "--boxes", project / "labels", "--class", "dirt")
    assert "no class 'dirt' among the sources; expected one of pad, 漏铜" in unknown.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "give one of --boxes, --from-masks, --good and --draw"),
        (("--boxes", "a", "--good", "b"), "give one of --boxes, --from-masks, --good and --draw"),
        (("--good", "a", "--any-class"), "--any-class belongs to --boxes"),
        (("--boxes", "a", "--inverted"), "--label and --inverted belong to --from-masks"),
        (("--boxes", "a", "--label", "3"), "--label and --inverted belong to --from-masks"),
        (("--boxes", "a", "--max-shift", "3"), "--max-shift belongs to --good"),
        (("--boxes", "a", "--draw"), "give one of --boxes, --from-masks, --good and --draw"),
        (("--boxes", "a", "--port", "1"), "--port, --lang and --no-browser belong to --draw"),
        (("--draw", "--overwrite"), "--overwrite and --sheet do not go with --draw"),
        (("--boxes", "a", "--grow", "-1"), "-1 is not in the range"),
    ],
)
def test_options_that_do_not_go_together(project: Path, options: tuple[str, ...], words: str) -> None:
    result = mask(project, *options)
    assert result.exit_code == 2
    assert words in result.stderr


def test_nothing_made_is_a_failure(project: Path) -> None:
    result = mask(project, "--boxes", project / "labels", "--class", "pad")
    assert result.exit_code == 1
    assert "no source got a mask" in result.stderr
    broken = mask(project, "--boxes", project / "nowhere")
    assert broken.exit_code == 1
    assert "not there; expected the folder with the box files" in broken.stderr


def test_masks_and_good_images_from_the_command_line(project: Path) -> None:
    annotation = Image.new("RGB", (40, 30), "red")
    annotation.paste("blue", (5, 5, 9, 9))
    (project / "annotations").mkdir()
    annotation.save(project / "annotations" / "2.png")
    made = mask(project, "--from-masks", project / "annotations", "--label", "#0000ff", "--class", "漏铜", "--json")
    assert json.loads(made.stdout)["made"] == ["漏铜/2.png"]
    good = project / "good.png"
    Image.new("L", (40, 30), 128).save(good)
    refused = mask(project, "--good", good, "--max-shift", "4", "--json")
    assert refused.exit_code == 1
    assert {item["file"] for item in json.loads(refused.stdout)["left_out"]} == {
        "漏铜/1.png",
        "漏铜/2.png",
        "pad/1.png",
    }


def test_an_outline_is_drawn_around_both_ends_of_the_feather() -> None:
    drawn = Image.new("L", (192, 192))
    drawn.paste(90, (40, 40, 120, 120))
    drawn.paste(255, (60, 60, 100, 100))
    pixels = np.asarray(outlined(Image.new("L", (192, 192), 10), drawn))
    assert tuple(pixels[80, 39]) == (255, 210, 0)
    assert tuple(pixels[80, 59]) == (255, 40, 40)
    assert tuple(pixels[80, 80]) == (10, 10, 10)


def test_a_sheet_shows_a_part_of_a_large_class(tmp_path: Path) -> None:
    for number in range(1, MOST_PER_CLASS + 20):
        path = tmp_path / "sources" / "pad" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(path)
        if number != 2:
            write_mask(tmp_path / "masks" / "pad" / f"{number}.png", Image.new("L", (8, 8), 255))
    write_mask_sheet(tmp_path / "sheet.png", discover(tmp_path / "sources"), tmp_path / "masks")
    with Image.open(tmp_path / "sheet.png") as image:
        assert 4 * 192 < image.height < 6 * 192


def test_drawing_by_hand_is_a_page(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def serve(sources: Path, masks: Path, *, on_ready: Any, **options: Any) -> int:
        asked.update(options, folders=(sources, masks))
        on_ready("http://127.0.0.1:5/?token=t")
        return 2

    monkeypatch.setattr("sdclient.review.serving.serve_drawing", serve)
    result = mask(project, "--draw", "--no-browser", "--lang", "zh", "--class", "pad", "--grow", "6")
    assert result.exit_code == 0, result.output
    assert asked == {
        "folders": (project / "sources", project / "masks"),
        "port": 0,
        "language": "zh",
        "classes": ("pad",),
        "grow_px": 6,
        "feather_px": 3,
    }
    assert result.stdout.startswith("sdclient mask: http://127.0.0.1:5/?token=t\n")
    assert "2 masks drawn; next: sdclient generate" in result.stdout
    as_json = mask(project, "--draw", "--no-browser", "--json").stdout.splitlines()
    assert [json.loads(line) for line in as_json] == [{"url": "http://127.0.0.1:5/?token=t"}, {"drawn": 2}]
