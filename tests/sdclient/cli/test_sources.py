"""`sdclient number` from the command line."""

from __future__ import annotations

import csv
import errno
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from rich.cells import cell_len

from sdclient.cli import cli


@pytest.fixture
def number_photos(tmp_path: Path) -> Path:
    folder = tmp_path / "照片" / "脏污"
    folder.mkdir(parents=True)
    for name in ("IMG 10.png", "IMG 9.png"):
        Image.new("L", (8, 8)).save(folder / name)
    return folder.parent


def number(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, ["number", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_it_copies_and_says_how_many(number_photos: Path, tmp_path: Path) -> None:
    code, out, _ = number(number_photos, tmp_path / "源")
    assert code == 0
    assert out.startswith("2 copied, 0 unchanged, 0 left out; old names are in ")
    assert (tmp_path / "源/脏污/1.png").read_bytes() == (number_photos / "脏污/IMG 9.png").read_bytes()
    assert number(number_photos, tmp_path / "源")[1].startswith("0 copied, 2 unchanged")


def test_what_is_left_out_is_listed_on_stderr_and_is_no_failure(number_photos: Path, tmp_path: Path) -> None:
    (number_photos / "脏污/bad.png").write_bytes(b"")
    code, out, err = number(number_photos, tmp_path / "out")
    assert code == 0
    assert "1 left out" in out
    assert "left out: 脏污/bad.png: an empty file" in err


def test_nothing_usable_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "photos/dirt").mkdir(parents=True)
    (tmp_path / "photos/dirt/bad.png").write_bytes(b"x")
    code, _, err = number(tmp_path / "photos", tmp_path / "out")
    assert code == 1
    assert "left out: dirt/bad.png: not an image" in err
    assert err.splitlines()[-1].startswith("Error: ")
    assert "no usable photograph" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("number_of_error", "words"),
    [(errno.EROFS, "choose another folder"), (errno.ENOSPC, "the disk is full"), (errno.EACCES, "choose another")],
)
def test_a_destination_that_cannot_be_written_is_reported_in_one_line(
    number_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number_of_error: int, words: str
) -> None:
    write = Path.write_bytes

    def refuse(path: Path, content: bytes) -> int:
        if "out" in path.parts:
            raise OSError(number_of_error, "refused by the system", str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", refuse)
    code, _, err = number(number_photos, tmp_path / "out")
    assert code == 1
    last = err.splitlines()[-1]
    assert words in last
    assert "mapping.csv" in last
    assert ".part" not in last
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", ["file", "inside", "missing source"])
def test_impossible_folders_end_in_one_line(number_photos: Path, tmp_path: Path, kind: str) -> None:
    source, destination = number_photos, tmp_path / "out"
    if kind == "file":
        destination.write_bytes(b"")
    elif kind == "inside":
        destination = number_photos / "out"
    else:
        source = tmp_path / "nowhere"
    code, out, err = number(source, destination)
    assert code == 1
    assert out == ""
    assert err.startswith("Error: ")
    assert len(err.splitlines()) == 1


def test_a_missing_argument_is_a_usage_error() -> None:
    assert number("photos")[0] == 2


def crop(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, ["crop", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "照片/脏污").mkdir(parents=True)
    Image.new("RGB", (1000, 600)).save(tmp_path / "照片/脏污/a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/classes.txt").write_text("脏污\n", encoding="utf-8")
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.01 0.01\n", encoding="utf-8")
    return tmp_path / "照片"


def test_boxes_give_crops_and_the_next_command(photos: Path, tmp_path: Path) -> None:
    code, out, _ = crop(photos, tmp_path / "out", "--boxes", tmp_path / "labels")
    assert code == 0
    assert "脏污: 1 new crops" in out
    assert "1 crops made, 0 unchanged" in out
    assert f"sdclient number {tmp_path / 'out'} sources" in out
    with Image.open(tmp_path / "out/脏污/a_1.png") as image:
        assert image.size == (256, 256)
    assert "0 crops made, 1 unchanged" in crop(photos, tmp_path / "out", "--boxes", tmp_path / "labels")[1]


def test_margin_and_size_set_the_side(photos: Path, tmp_path: Path) -> None:
    # The box is 10 x 6 px.
    options = ("--boxes", tmp_path / "labels", "--margin", 2, "--size", 20)
    assert crop(photos, tmp_path / "out", *options)[0] == 0
    with Image.open(tmp_path / "out/脏污/a_1.png") as image:
        assert image.size == (50, 50)


def test_tiles_overlap_by_a_fifth_by_default(photos: Path, tmp_path: Path) -> None:
    assert "6 crops made" in crop(photos, tmp_path / "a", "--tile", 512)[1]
    assert "4 crops made" in crop(photos, tmp_path / "b", "--tile", 512, "--overlap", 0)[1]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--boxes", "labels", "--tile", "512"],
        ["--tile", "512", "--margin", "1"],
        ["--tile", "512", "--size", "100"],
        ["--boxes", "labels", "--overlap", "0.1"],
        ["--tile", "0"],
        ["--tile", "512", "--overlap", "1"],
        ["--boxes", "labels", "--margin", "-1"],
        ["--boxes", "labels", "--margin", "inf"],
        ["--tile", "512", "--overlap", "nan"],
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(photos: Path, tmp_path: Path, options: list[str]) -> None:
    assert crop(photos, tmp_path / "out", *options)[0] == 2
    assert not (tmp_path / "out").exists()


def test_a_box_mistake_is_one_line_with_file_and_line(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.01 0.01\n7 0.5 0.5 0.1 0.1\n", encoding="utf-8")
    code, _, err = crop(photos, tmp_path / "out", "--boxes", tmp_path / "labels")
    assert code == 1
    assert "a.txt: line 2: class 7; expected a number from 0 to 0" in err.splitlines()[-1]


def test_no_crop_at_all_is_a_failure_and_says_what_was_left_out(photos: Path, tmp_path: Path) -> None:
    (photos / "脏污/a.jpg").write_bytes(b"")
    code, _, err = crop(photos, tmp_path / "out", "--boxes", tmp_path / "labels")
    assert code == 1
    assert "left out: 脏污/a.jpg: an empty file" in err
    assert "1 box file belongs to no photo: a.txt" in err
    assert "no crop was made" in err.splitlines()[-1]


PADS = {
    "1 可移动异物": 38,
    "2 异物": 62,
    "3 异色": 111,
    "4 损伤": 567,
    "5 氧化": 357,
    "6 漏铜": 80,
    "7 焊盘凹凸": 78,
    "8 脏污": 506,
}


def make_sources(folder: Path, counts: dict[str, int], size: tuple[int, int] = (2, 2)) -> Path:
    Image.new("L", size).save(folder / "pixel.png")
    content = (folder / "pixel.png").read_bytes()
    for class_name, count in counts.items():
        (folder / "sources" / class_name).mkdir(parents=True)
        for n in range(1, count + 1):
            (folder / "sources" / class_name / f"{n}.png").write_bytes(content)
    return folder / "sources"


@pytest.fixture(scope="module")
def pads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sources(tmp_path_factory.mktemp("pads"), PADS)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def plan(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["plan", *map(str, arguments)])


def owed() -> dict[tuple[str, str], int]:
    with Path("plan.csv").open(encoding="utf-8-sig", newline="") as file:
        return {(row["class"], row["source"]): int(row["count"]) for row in csv.DictReader(file)}


def test_the_worked_example_prints_its_table_and_writes_the_plan(pads: Path) -> None:
    result = plan(pads, "--target", 300)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.replace("│", " ").splitlines() if line.strip().endswith("%")]
    assert [line[-4:] for line in lines] == [
        ["38", "262", "300", "87.33%"],
        ["62", "238", "300", "79.33%"],
        ["111", "189", "300", "63.00%"],
        ["567", "0", "567", "0.00%"],
        ["357", "0", "357", "0.00%"],
        ["80", "220", "300", "73.33%"],
        ["78", "222", "300", "74.00%"],
        ["506", "0", "506", "0.00%"],
        ["1799", "1131", "2930", "38.60%"],
    ]
    assert lines[-1][0] == "all"
    assert all(word in result.stdout for word in ("generated share", "生成占比", "待生成", *PADS))
    assert result.stderr == ""
    by_class: dict[str, list[int]] = {}
    for (class_name, _), count in owed().items():
        by_class.setdefault(class_name, []).append(count)
    assert {name: sum(counts) for name, counts in by_class.items()} == {
        "1 可移动异物": 262,
        "2 异物": 238,
        "3 异色": 189,
        "6 漏铜": 220,
        "7 焊盘凹凸": 222,
    }
    assert all(max(counts) - min(counts) <= 1 for counts in by_class.values())


def test_names_and_numbers_are_whole_in_a_terminal_of_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = make_sources(tmp_path, {"movable foreign matter 可移动异物": 2, "Normal": 1})
    monkeypatch.setenv("COLUMNS", "80")
    result = plan(sources, "--target", 1000000)
    widths = [cell_len(line) for line in result.stdout.splitlines()]
    assert len(widths) > 6
    assert max(widths) <= 80
    for text in ("movable foreign matter", "可移动异物", "999998", "1000000", "100.00%", "planned classes"):
        assert text in result.stdout


def test_json_is_one_document_and_nothing_else(pads: Path) -> None:
    result = plan(pads, "--target", 300, "--json", "-o", "计划.csv")
    document = json.loads(result.stdout)
    assert [row["to_generate"] for row in document["classes"]] == [262, 238, 189, 0, 0, 220, 222, 0]
    assert document["classes"][0]["generated_share"] == pytest.approx(262 / 300)
    assert document["all"] == {
        "class": "all",
        "original": 1799,
        "to_generate": 1131,
        "total": 2930,
        "generated_share": pytest.approx(1131 / 2930),
        "planned": True,
        "short_of_target": 0,
    }
    assert (document["target"], document["target_asked"], document["plan"]) == (300, 300, "计划.csv")
    assert Path("计划.csv").is_file()
    assert not Path("plan.csv").exists()


def test_normal_stands_in_the_table_as_not_planned(tmp_path: Path) -> None:
    sources = make_sources(tmp_path, {"Normal": 5, "dirt": 2})
    result = plan(sources, "--target", 4)
    rows = {
        line.split()[0]: line.split()[1:]
        for line in result.stdout.replace("│", " ").splitlines()
        if line.strip().endswith("%")
    }
    assert rows["Normal"] == ["5", "not", "planned", "5", "0.00%"]
    assert rows["dirt"] == ["2", "2", "4", "50.00%"]
    assert rows["planned"][-4:] == ["2", "2", "4", "50.00%"]
    assert rows["all"][-4:] == ["7", "2", "9", "22.22%"]
    assert owed() == {("dirt", "1.png"): 1, ("dirt", "2.png"): 1}


def test_no_class_below_the_target_says_so_and_writes_an_empty_plan(tmp_path: Path) -> None:
    result = plan(make_sources(tmp_path, {"dirt": 4}), "--target", 3)
    assert result.exit_code == 0
    assert "no planned class is below 3 images; there is nothing to generate" in result.stdout
    assert owed() == {}


def test_classes_that_the_cap_leaves_short_are_named(tmp_path: Path) -> None:
    result = plan(make_sources(tmp_path, {"a": 3, "b": 8}), "--target", 10, "--max-per-source", 1)
    assert "a stays 4 below the target: 6 of 10 images" in result.stdout
    assert "b stays" not in result.stdout


def test_a_raised_target_is_reported(tmp_path: Path) -> None:
    result = plan(make_sources(tmp_path, {"a": 4}), "--target", 4, "--min-share", "0.2")
    assert "the target is 5 (from 4) for a generated share of 0.2" in result.stdout
    assert owed() == {("a", "1.png"): 1}


def test_a_number_per_source(tmp_path: Path) -> None:
    result = plan(make_sources(tmp_path, {"Normal": 1, "a": 2}), "--per-source", 3)
    assert result.exit_code == 0
    assert owed() == {("a", "1.png"): 3, ("a", "2.png"): 3}


def test_excluding_nothing_plans_normal_too(tmp_path: Path) -> None:
    assert plan(make_sources(tmp_path, {"Normal": 1, "a": 2}), "--target", 2, "--exclude", "").exit_code == 0
    assert owed() == {("Normal", "1.png"): 1}


def test_an_excluded_class_that_is_not_there_is_an_error_only_when_typed(tmp_path: Path) -> None:
    sources = make_sources(tmp_path, {"a": 2})
    assert plan(sources, "--target", 2).exit_code == 0
    result = plan(sources, "--target", 2, "--exclude", "Normal")
    assert result.exit_code == 1
    assert "'Normal' is not among the sources; expected one of a" in result.stderr


def test_large_sources_are_warned_of_on_stderr_also_beside_json(tmp_path: Path) -> None:
    sources = make_sources(tmp_path, {"a": 2}, (600, 600))
    result = plan(sources, "--target", 3, "--json")
    assert result.exit_code == 0
    json.loads(result.stdout)
    assert "Warning: 2 sources are larger than the model's 512 x 512 px" in result.stderr
    assert "sdclient crop" in result.stderr
    assert plan(sources, "--target", 3, "--native-size", 1024).stderr == ""


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--max-per-source", "3"],
        ["--per-source", "3", "--target", "9"],
        ["--per-source", "3", "--min-share", "0.2"],
        ["--per-source", "3", "--max-per-source", "4"],
        ["--target", "0"],
        ["--target", "many"],
        ["--target", "5", "--min-share", "1"],
        ["--target", "5", "--min-share", "-0.1"],
        ["--target", "5", "--min-share", "nan"],
    ],
)
def test_options_that_make_no_sense_are_usage_errors(tmp_path: Path, options: list[str]) -> None:
    result = plan(make_sources(tmp_path, {"a": 2}), *options)
    assert result.exit_code == 2, result.output
    assert not Path("plan.csv").exists()


def test_an_empty_class_ends_in_one_line(tmp_path: Path) -> None:
    sources = make_sources(tmp_path, {"a": 2, "空": 0})
    result = plan(sources, "--target", 3)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "空: no image in this class folder" in result.stderr


def test_a_class_name_with_brackets_is_printed_as_it_is(tmp_path: Path) -> None:
    result = plan(make_sources(tmp_path, {"[red]dirt": 1}), "--target", 2)
    assert "[red]dirt" in result.stdout


def test_a_plan_that_cannot_be_written_ends_in_one_line(tmp_path: Path) -> None:
    sources = make_sources(tmp_path, {"a": 1})
    result: Any = plan(sources, "--target", 2, "-o", tmp_path / "sources")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert str(tmp_path / "sources") in result.stderr
