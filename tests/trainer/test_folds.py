from __future__ import annotations

import csv
import json
import os
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from trainer.cli import cli
from trainer.data.dataset import read_dataset
from trainer.data.source_images import GroupBy
from trainer.data.split import split_folds
from trainer.errors import SplitError


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def bytes_on_disk(folder: Path) -> int:
    files = {(path.stat().st_dev, path.stat().st_ino): path.stat().st_size for path in folder.rglob("*.png")}
    return sum(files.values())


def test_every_image_is_tested_once_and_every_fold_is_whole(photos: Path, tmp_path: Path) -> None:
    result = split_folds(photos, tmp_path / "折", folds=4, val_share=0.25)
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    tested: list[str] = []
    for number, fold in enumerate(result.folds):
        assert fold.path == tmp_path / "折" / f"fold-{number}"
        assert fold.counts() == {label: {"train": 6, "val": 3, "test": 3} for label in ("Normal", "dirt", "划痕")}
        rows = read_table(fold.path / "split.csv")
        assert sorted(row["source"] for row in rows) == names
        assert all((fold.path / row["file"]).read_bytes() == (photos / row["source"]).read_bytes() for row in rows)
        tested += [row["source"] for row in rows if row["split"] == "test"]
        assert [len(read_dataset(fold.path).part(part)) for part in ("train", "val", "test")] == [18, 9, 9]
    assert sorted(tested) == names
    table = read_table(tmp_path / "折" / "folds.csv")
    assert list(table[0]) == ["source", "class", "group", "fold", "sha256"]
    in_fold = {row["source"]: int(row["fold"]) for row in table}
    for number, fold in enumerate(result.folds):
        assert {row.source for row in fold.rows if row.part == "test"} == {n for n in names if in_fold[n] == number}


def test_validation_images_differ_from_fold_to_fold(photos: Path, tmp_path: Path) -> None:
    result = split_folds(photos, tmp_path / "folds", folds=5)
    chosen = Counter(row.source for fold in result.folds for row in fold.rows if row.part == "val")
    assert len(chosen) > len(result.folds[0].rows) * 0.15 * 2


def test_groups_stay_whole_in_every_fold(photos: Path, tmp_path: Path) -> None:
    for path in list(photos.rglob("*.png")):
        path.rename(path.with_name(f"板{int(path.stem) % 6}_{path.name}"))
    result = split_folds(photos, tmp_path / "folds", folds=3, group_by=GroupBy(pattern="^(板[0-9])"))
    for fold in result.folds:
        parts = defaultdict(set)
        for row in fold.rows:
            parts[row.group].add(row.part)
        assert len(parts) == 6
        assert all(len(found) == 1 for found in parts.values())


def test_folds_take_the_room_of_the_images_once_or_not_at_all(photos: Path, tmp_path: Path) -> None:
    once = bytes_on_disk(photos)
    shared = split_folds(photos, tmp_path / "shared", folds=3)
    assert (shared.placed.copied, shared.placed.linked) == (36, 72)
    assert bytes_on_disk(tmp_path / "shared") == once
    linked = split_folds(photos, tmp_path / "linked", folds=3, manner="link")
    assert (linked.placed.copied, linked.placed.linked) == (0, 108)
    copied = split_folds(photos, tmp_path / "copied", folds=3, manner="copy")
    assert (copied.placed.copied, copied.placed.linked) == (108, 0)
    assert bytes_on_disk(tmp_path / "copied") == 3 * once
    sources = {(path.stat().st_dev, path.stat().st_ino) for path in photos.rglob("*.png")}
    for name, expected in (("shared", False), ("linked", True), ("copied", False)):
        files = {(path.stat().st_dev, path.stat().st_ino) for path in (tmp_path / name).rglob("*.png")}
        assert bool(files & sources) is expected, name
    assert files_below(tmp_path / "shared") == files_below(tmp_path / "linked") == files_below(tmp_path / "copied")


@pytest.mark.parametrize("before", ["share", "link", "copy"])
@pytest.mark.parametrize("after", ["share", "link", "copy"])
def test_a_repeat_makes_of_it_what_is_asked(photos: Path, tmp_path: Path, before: str, after: str) -> None:
    split_folds(photos, tmp_path / "folds", folds=2, manner=before)  # type: ignore[arg-type]
    split_folds(photos, tmp_path / "fresh", folds=2, manner=after)  # type: ignore[arg-type]
    again = split_folds(photos, tmp_path / "folds", folds=2, manner=after)  # type: ignore[arg-type]
    assert (again.placed.copied + again.placed.linked == 0) is (before == after)
    assert files_below(tmp_path / "folds") == files_below(tmp_path / "fresh")
    assert bytes_on_disk(tmp_path / "folds") == bytes_on_disk(tmp_path / "fresh")
    assert split_folds(photos, tmp_path / "folds", folds=2, manner=after).placed.linked == 0  # type: ignore[arg-type]


def test_other_folds_in_the_same_place_are_refused(photos: Path, tmp_path: Path) -> None:
    split_folds(photos, tmp_path / "folds", folds=3)
    before = files_below(tmp_path / "folds")
    for settings in ({"folds": 4}, {"folds": 3, "seed": 1}, {"folds": 3, "val_share": 0.3}):
        with pytest.raises(SplitError, match="holds another split"):
            split_folds(photos, tmp_path / "folds", **settings)  # type: ignore[arg-type]
    assert files_below(tmp_path / "folds") == before


def test_all_folds_appear_or_none(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.data import split as module

    real, made = module.write_bytes_atomically, []

    def full_disk(path: Path, content: bytes) -> None:
        made.append(path)
        if path.name == "folds.csv":
            raise OSError(28, "No space left on device", str(path))
        real(path, content)

    monkeypatch.setattr(module, "write_bytes_atomically", full_disk)
    with pytest.raises(OSError, match="No space left"):
        split_folds(photos, tmp_path / "folds", folds=2)
    assert len(made) > 36
    assert [entry.name for entry in tmp_path.iterdir()] == ["照片"]


def test_where_links_are_not_possible_the_way_out_is_named(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(SplitError, match=r"Operation not permitted; .* add --copy"):
        split_folds(photos, tmp_path / "folds", folds=2)
    assert split_folds(photos, tmp_path / "folds", folds=2, manner="copy").placed.copied == 72


def test_a_class_with_fewer_groups_than_folds_is_refused(photos: Path, tmp_path: Path) -> None:
    for path in sorted((photos / "划痕").iterdir())[4:]:
        path.unlink()
    with pytest.raises(
        SplitError, match=r"class '划痕': 4 group\(s\) of images \(4 images\); 5 needed, .* use --folds 4, "
    ):
        split_folds(photos, tmp_path / "folds", folds=5)
    assert len(split_folds(photos, tmp_path / "folds", folds=4).folds) == 4


@pytest.mark.parametrize("folds", [-1, 0, 1])
def test_fewer_than_two_folds_are_refused(photos: Path, tmp_path: Path, folds: int) -> None:
    with pytest.raises(SplitError, match=f"found {folds}; expected 2 or more"):
        split_folds(photos, tmp_path / "folds", folds=folds)


def test_a_val_share_that_leaves_nothing_to_train_on_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"val 0\.5 and a test part of 1/2 leave nothing .* less than 0\.50"):
        split_folds(photos, tmp_path / "folds", folds=2, val_share=0.5)
    with pytest.raises(SplitError, match="12 images, but 12 for val alone"):
        split_folds(photos, tmp_path / "folds", folds=2, val_share=12)
    with pytest.raises(SplitError, match="9 images are left beside the test part of fold 0, but 9 for val leave none"):
        split_folds(photos, tmp_path / "folds", folds=4, val_share=9)
    assert [entry.name for entry in tmp_path.iterdir()] == ["照片"]


def test_the_command_makes_folds_and_says_so(photos: Path, tmp_path: Path) -> None:
    arguments = ["split", str(photos), str(tmp_path / "folds"), "--folds", "4", "--val", "3"]
    first = CliRunner().invoke(cli, arguments)
    assert first.exit_code == 0, first.output
    assert "36 images copied, 108 files linked" in first.stdout
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in first.stdout.splitlines() if "│" in line]
    assert rows == [
        ["Normal", "6", "3", "3", "12"],
        ["dirt", "6", "3", "3", "12"],
        ["划痕", "6", "3", "3", "12"],
        ["all classes", "18", "9", "9", "36"],
    ]
    assert "nothing changed" in CliRunner().invoke(cli, arguments).stdout
    document = json.loads(CliRunner().invoke(cli, [*arguments, "--json", "--link"]).stdout)
    assert (document["copied"], document["linked"]) == (0, 144)
    assert [fold["classes"]["划痕"] for fold in document["folds"]] == [{"train": 6, "val": 3, "test": 3}] * 4
    refused = CliRunner().invoke(cli, [*arguments, "--test", "0.2"])
    assert refused.exit_code == 2
    assert "each image is tested once" in refused.stderr


def test_the_table_tells_fewest_and_most_and_what_val_was_to_have(photos: Path, tmp_path: Path) -> None:
    for path in list(photos.rglob("*.png")):
        path.rename(path.with_name(f"b{int(path.stem) // 5}_{path.name}"))  # 4, 5 and 3 of each class
    command = ["split", str(photos), str(tmp_path / "folds"), "--folds", "3", "--val", "2", "--group-by", "^(b[0-9])_"]
    shown = CliRunner().invoke(cli, command).stdout
    # Each group is tested once; the smaller of the two others is val.
    assert [line.split("│")[1:6] for line in shown.splitlines() if "dirt" in line] == [
        [" dirt        ", "   4-5 ", " 3-4 (of 2) ", "  3-5 ", "  12 "]
    ]
