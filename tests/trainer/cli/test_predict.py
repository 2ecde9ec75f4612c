"""The command `explain`, and what it writes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from trainer.cli import cli
from trainer.report import overlays

Trained = tuple[Path, Path]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["explain", *(str(one) for one in arguments)], terminal_width=200)


def rows_of(output: Path) -> list[dict[str, str]]:
    with (output / "explain.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_explained_into_overlays_a_table_and_a_page(trained_run: Trained, tmp_path: Path) -> None:
    trained, data = trained_run
    output = tmp_path / "看"
    result = run(trained, data / "test", "-o", output, "--device", "cpu", "--class", "划痕")
    assert result.exit_code == 0, result.output
    rows = rows_of(output)
    assert [row["image"] for row in rows] == [f"{label}/{k}.png" for label in ("Normal", "划痕") for k in range(3)]
    assert {row["explained"] for row in rows} == {"划痕"}
    for row in rows:
        with Image.open(output / "overlays" / f"{row['image']}.png") as overlay:
            assert overlay.width > 2 * 256
        if row["x0"]:
            assert 0 <= int(row["x0"]) <= int(row["peak_x"]) < int(row["x1"]) <= 40
    page = (output / "index.html").read_text(encoding="utf-8")
    assert "predicted 划痕" in page or "predicted Normal" in page
    assert page.count("<img") == 2 * len(rows)
    assert str(output / "index.html") in result.stdout.replace("\n", "")


def test_json_is_one_document_of_the_tables_rows(trained_run: Trained, tmp_path: Path) -> None:
    trained, data = trained_run
    result = run(trained, data / "test", "-o", tmp_path / "o", "--limit", 4, "--even-normal", "--json")
    document = json.loads(result.stdout)
    table = rows_of(tmp_path / "o")
    assert [one["image"] for one in document] == [row["image"] for row in table]
    assert [str(one["x1"]) for one in document] == [row["x1"] for row in table]
    assert len(document) == 4


def test_images_predicted_normal_have_no_box_and_it_is_said(trained_run: Trained, tmp_path: Path) -> None:
    trained, data = trained_run
    # Whatever the short training says of them, that class is the one without defects.
    first = json.loads(run(trained, data / "test" / "Normal", "-o", tmp_path / "a", "--json").stdout)[0]["predicted"]
    result = run(trained, data / "test" / "Normal", "-o", tmp_path / "b", "--normal", first, "--limit", 1)
    assert "1 images, 0 with a box" in result.stdout
    (row,) = rows_of(tmp_path / "b")
    assert row["note"] == "predicted to be without a defect"
    assert row["x0"] == row["explained"] == ""
    with Image.open(tmp_path / "b" / "overlays" / "0.png.png") as overlay:
        assert overlay.width < 2 * 256


def test_names_no_font_can_write_are_explained_on_the_terminal(
    trained_run: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, data = trained_run
    monkeypatch.setattr(overlays, "can_write", str.isascii)
    result = run(trained, data / "test", "-o", tmp_path / "o", "--class", "划痕", "--limit", 2)
    assert "no font here can write 划痕; in the overlays it is 'class no. 1'" in result.stdout


def test_an_output_among_the_images_or_with_files_in_it_is_refused(trained_run: Trained, tmp_path: Path) -> None:
    trained, data = trained_run
    images = tmp_path / "images"
    shutil.copytree(data / "test", images)
    for output, words in ((images / "explained", "lies among the images"), (images, "holds files already")):
        result = run(trained, images, "-o", output)
        assert result.exit_code == 1
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert "is a file" in run(trained, images, "-o", tmp_path / "file").stderr
    assert not (images / "explained").exists()


def test_a_class_that_is_not_known_is_one_line(trained_run: Trained, tmp_path: Path) -> None:
    trained, data = trained_run
    result = run(trained, data / "test", "-o", tmp_path / "o", "--class", "nothing")
    assert result.exit_code == 1
    assert "'nothing' is not among the trained classes; expected one of Normal, 划痕" in result.stderr
    assert not (tmp_path / "o").exists()


def test_without_a_normal_class_it_is_said_that_the_predicted_one_is_explained(
    trained_run: Trained, tmp_path: Path
) -> None:
    trained, data = trained_run
    result = run(trained, data / "test", "-o", tmp_path / "o", "--normal", "good", "--limit", 2)
    assert "No class is named 'good', so the predicted class is explained" in result.stderr
    assert all(row["explained"] == row["predicted"] for row in rows_of(tmp_path / "o"))
    named = run(trained, data / "test", "-o", tmp_path / "p", "--class", "划痕", "--limit", 1)
    assert "No class is named" not in named.stderr


def test_a_long_page_says_what_it_leaves_out(
    trained_run: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, data = trained_run
    monkeypatch.setattr(overlays, "_SHOWN_A_CLASS", 1)
    run(trained, data / "test" / "Normal", "-o", tmp_path / "o", "--class", "划痕")
    rows = rows_of(tmp_path / "o")
    page = (tmp_path / "o" / "index.html").read_text(encoding="utf-8")
    classes = {row["predicted"] for row in rows}
    assert page.count("<img") == 2 * len(classes)
    assert ("more, not shown" in page) == (len(rows) > len(classes))


def test_help_shows_an_example() -> None:
    assert "trainer explain runs/baseline data/test -o explained" in run("--help").stdout
