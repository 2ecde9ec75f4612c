from __future__ import annotations

import csv
import hashlib
import sys
from collections import Counter
from pathlib import Path

import deeppcb
import pytest
from PIL import Image
from steps import StepFailed

SHARED = Path(__file__).parents[3] / "shared" / "data" / "deeppcb"
HEADER = ["file", "class", "split", "train_longtail", "group"]


def small_folder(root: Path, *, header: list[str] = HEADER) -> Path:
    """20 images: 12 to train on (8 of them marked), 4 to validate, 4 to test, in groups of one side each."""
    rows = []
    for number in range(20):
        split = "train" if number < 12 else "val" if number < 16 else "test"
        name = "Normal" if number % 2 == 0 else "断路"
        file = f"{name}/{number}.png"
        (root / "images" / name).mkdir(parents=True, exist_ok=True)
        Image.new("L", (96, 96), 10 * number).save(root / "images" / file)
        rows.append([file, name, split, "1" if number < 8 else "0", f"g{number // 4}"])
    write_table(root, header, rows)
    return root


def write_table(root: Path, header: list[str], rows: list[list[str]]) -> None:
    with (root / "split.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.png")}


def test_training_takes_the_marked_rows_and_the_rest_is_taken_as_it_is(tmp_path: Path) -> None:
    layout = deeppcb.lay_out(small_folder(tmp_path / "in"), tmp_path / "data", "train_longtail")
    assert layout.counts == {
        "train": Counter({"Normal": 4, "断路": 4}),
        "val": Counter({"Normal": 2, "断路": 2}),
        "test": Counter({"Normal": 2, "断路": 2}),
    }
    assert sorted(path.name for path in (tmp_path / "data/train/断路").iterdir()) == [
        "1.png",
        "3.png",
        "5.png",
        "7.png",
    ]


def test_the_word_train_takes_every_training_row(tmp_path: Path) -> None:
    counts = deeppcb.lay_out(small_folder(tmp_path / "in"), tmp_path / "data", "train").counts
    assert {split: sum(of.values()) for split, of in counts.items()} == {"train": 12, "val": 4, "test": 4}


def test_the_split_table_names_each_image_with_its_group_and_digest(tmp_path: Path) -> None:
    deeppcb.lay_out(small_folder(tmp_path / "in"), tmp_path / "data", "train_longtail")
    rows = read_rows(tmp_path / "data" / "split.csv")
    assert list(rows[0]) == ["file", "class", "split", "group", "source", "sha256"]
    assert len(rows) == 16
    for row in rows:
        copied = (tmp_path / "data" / row["file"]).read_bytes()
        assert copied == (tmp_path / "in" / "images" / row["source"]).read_bytes()
        assert hashlib.sha256(copied).hexdigest() == row["sha256"]
        assert row["file"].split("/")[:2] == [row["split"], row["class"]]
    assert {row["group"] for row in rows if row["split"] == "test"} == {"g4"}


def test_training_images_that_are_held_out_too_are_counted(tmp_path: Path) -> None:
    source = small_folder(tmp_path / "in")
    held_out = (source / "images" / "Normal" / "18.png").read_bytes()
    for trained in ("0.png", "2.png", "10.png"):  # the last is not marked, so it is not trained on
        (source / "images" / "Normal" / trained).write_bytes(held_out)
    assert deeppcb.lay_out(source, tmp_path / "data", "train_longtail").repeated == {"Normal": 2}


def test_laying_out_again_changes_nothing(tmp_path: Path) -> None:
    source = small_folder(tmp_path / "in")
    first = deeppcb.lay_out(source, tmp_path / "data", "train_longtail")
    before = (tmp_path / "data" / "split.csv").read_bytes()
    assert deeppcb.lay_out(source, tmp_path / "data", "train_longtail") == first
    assert (tmp_path / "data" / "split.csv").read_bytes() == before


def test_a_folder_that_is_not_deeppcb_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"^[^\n]*expected a DeepPCB folder[^\n]*$"):
        deeppcb.lay_out(tmp_path, tmp_path / "data", "train_longtail")
    assert not (tmp_path / "data").exists()


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="no column rare"):
        deeppcb.lay_out(small_folder(tmp_path / "in"), tmp_path / "data", "rare")


def test_a_missing_file_is_named_with_its_line(tmp_path: Path) -> None:
    source = small_folder(tmp_path / "in")
    (source / "images" / "Normal" / "2.png").unlink()
    with pytest.raises(StepFailed, match=r"2\.png.*line 4"):
        deeppcb.lay_out(source, tmp_path / "data", "train_longtail")


def test_a_group_on_two_sides_is_refused(tmp_path: Path) -> None:
    source = small_folder(tmp_path / "in")
    rows = [list(row.values()) for row in read_rows(source / "split.csv")]
    rows[19][4] = "g0"
    write_table(source, HEADER, rows)
    with pytest.raises(StepFailed, match="line 21: group g0 is on two sides"):
        deeppcb.lay_out(source, tmp_path / "data", "train_longtail")


def test_a_table_without_test_rows_is_refused(tmp_path: Path) -> None:
    source = small_folder(tmp_path / "in")
    write_table(source, HEADER, [list(row.values()) for row in read_rows(source / "split.csv")[:16]])
    with pytest.raises(StepFailed, match=r"no images for test"):
        deeppcb.lay_out(source, tmp_path / "data", "train_longtail")


def test_the_script_ends_with_one_line_and_code_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["deeppcb.py", str(tmp_path / "nothing"), "--out", str(tmp_path / "out")])
    assert deeppcb.main() == 1
    assert capsys.readouterr().err.startswith("deeppcb stopped: ")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the DeepPCB crops are not beside this checkout")
def test_the_real_crops_keep_training_and_test_apart(tmp_path: Path) -> None:
    layout = deeppcb.lay_out(SHARED, tmp_path, "train_longtail")
    totals = {split: sum(of.values()) for split, of in layout.counts.items()}
    assert totals == {"train": 683, "val": 577, "test": 581}
    assert layout.counts["train"]["pinhole"] == 13
    assert set(layout.repeated) == {"Normal"}  # crops of nothing but copper or nothing but laminate
    rows = read_rows(tmp_path / "split.csv")
    groups = {split: {row["group"] for row in rows if row["split"] == split} for split in totals}
    assert not groups["train"] & (groups["val"] | groups["test"])
    for name in set(layout.counts["train"]) - {"Normal"}:
        held_out = contents(tmp_path / "val" / name) | contents(tmp_path / "test" / name)
        assert not contents(tmp_path / "train" / name) & held_out
