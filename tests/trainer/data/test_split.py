"""Splits and folds in place."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from sdcore.errors import DataError
from trainer.cli import cli
from trainer.data.dataset import read_dataset
from trainer.data.source_images import GroupBy
from trainer.data.split import split, split_folds
from trainer.errors import SplitError


def split_read_table(dest: Path) -> list[dict[str, str]]:
    with (dest / "split.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_each_class_is_divided_by_its_shares(photos: Path, tmp_path: Path) -> None:
    result = split(photos, tmp_path / "data", val_share=0.15, test_share=0.25)
    assert result.counts() == {label: {"train": 7, "val": 2, "test": 3} for label in ("Normal", "dirt", "划痕")}
    assert result.placed.copied == 36
    dataset = read_dataset(tmp_path / "data")
    assert dataset.classes == ("Normal", "dirt", "划痕")
    assert [len(dataset.part(part)) for part in ("train", "val", "test")] == [21, 6, 9]


def test_every_file_is_copied_once_byte_for_byte_and_recorded(photos: Path, tmp_path: Path) -> None:
    before = snapshot(photos)
    split(photos, tmp_path / "data")
    rows = split_read_table(tmp_path / "data")
    assert list(rows[0]) == ["file", "class", "split", "group", "source", "sha256"]
    assert sorted(row["source"] for row in rows) == sorted(before)
    for row in rows:
        content = (tmp_path / "data" / row["file"]).read_bytes()
        assert content == before[row["source"]][0]
        assert hashlib.sha256(content).hexdigest() == row["sha256"]
        assert row["file"] == f"{row['split']}/{row['source']}"
        assert row["class"] == row["source"].split("/")[0]
    assert snapshot(photos) == before
    assert len(snapshot(tmp_path / "data")) == len(rows) + 1


def test_a_repeat_changes_nothing_and_a_lost_file_comes_back(photos: Path, tmp_path: Path) -> None:
    dest = tmp_path / "data"
    split(photos, dest)
    before = snapshot(dest)
    assert split(photos, dest).placed.copied == 0
    assert snapshot(dest) == before
    (dest / split_read_table(dest)[0]["file"]).unlink()
    assert split(photos, dest).placed.copied == 1
    assert {name: content for name, (content, _) in snapshot(dest).items()} == {
        name: content for name, (content, _) in before.items()
    }


def test_the_order_of_the_file_system_does_not_matter(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split(photos, tmp_path / "one")
    real_walk, real_iterdir = os.walk, Path.iterdir
    monkeypatch.setattr(os, "walk", lambda *a, **k: ((p, d[::-1], f[::-1]) for p, d, f in real_walk(*a, **k)))
    monkeypatch.setattr(Path, "iterdir", lambda self: reversed(list(real_iterdir(self))))
    split(photos, tmp_path / "two")
    assert (tmp_path / "one" / "split.csv").read_bytes() == (tmp_path / "two" / "split.csv").read_bytes()


def test_another_seed_gives_another_split(photos: Path, tmp_path: Path) -> None:
    split(photos, tmp_path / "zero", seed=0)
    split(photos, tmp_path / "one", seed=1)
    assert split_read_table(tmp_path / "zero") != split_read_table(tmp_path / "one")


def test_a_folder_that_holds_another_split_is_refused(photos: Path, tmp_path: Path) -> None:
    split(photos, tmp_path / "data", seed=0)
    before = snapshot(tmp_path / "data")
    with pytest.raises(SplitError, match="holds another split"):
        split(photos, tmp_path / "data", seed=1)
    assert snapshot(tmp_path / "data") == before


def test_a_folder_that_holds_something_else_is_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(SplitError, match="is there already"):
        split(photos, tmp_path / "data")
    (tmp_path / "empty").mkdir()
    assert split(photos, tmp_path / "empty").placed.copied == 36


@pytest.mark.parametrize("dest", ["照片", "照片/data", "."])
def test_source_and_destination_may_not_nest(photos: Path, tmp_path: Path, dest: str) -> None:
    with pytest.raises(SplitError, match="beside SRC"):
        split(photos, tmp_path / dest)


def test_an_interrupted_copy_leaves_no_half_split(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.data import split as module

    real, calls = module.write_bytes_atomically, []

    def full_disk(path: Path, content: bytes) -> None:
        calls.append(path)
        if len(calls) == 10:
            raise OSError(28, "No space left on device", str(path))
        real(path, content)

    monkeypatch.setattr(module, "write_bytes_atomically", full_disk)
    with pytest.raises(OSError, match="No space left"):
        split(photos, tmp_path / "data")
    assert [entry.name for entry in tmp_path.iterdir()] == ["照片"]


def test_groups_named_by_a_pattern_stay_whole(photos: Path, tmp_path: Path) -> None:
    for path in list(photos.rglob("*.png")):
        path.rename(path.with_name(f"board{int(path.stem) % 6}_{path.name}"))
    split(photos, tmp_path / "data", group_by=GroupBy(pattern=r"^(board\d+)_"))
    parts = defaultdict(set)
    for row in split_read_table(tmp_path / "data"):
        parts[row["group"]].add(row["split"])
    assert set(parts) == {f"board{k}" for k in range(6)}
    assert all(len(found) == 1 for found in parts.values())


def test_groups_named_by_a_table_stay_whole(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    lines = [f"{name},板{k % 9}" for k, name in enumerate(names)]
    table.write_text("\n".join(["file,group", *lines]), encoding="utf-8-sig")
    split(photos, tmp_path / "data", group_by=GroupBy(table=table))
    rows = split_read_table(tmp_path / "data")
    assert {row["source"]: row["group"] for row in rows} == dict(line.split(",") for line in lines)
    assert all(len({row["split"] for row in rows if row["group"] == f"板{k}"}) == 1 for k in range(9))


def test_another_column_may_name_the_groups(photos: Path, tmp_path: Path) -> None:
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    table = tmp_path / "boards.csv"
    table.write_text("\n".join(["file,board", *(f"{n},b{k % 9}" for k, n in enumerate(names))]), encoding="utf-8")
    command = ["split", str(photos), str(tmp_path / "data"), "--group-column", "board"]
    assert CliRunner().invoke(cli, command).exit_code == 2
    assert CliRunner().invoke(cli, [*command, "--groups", str(table)]).exit_code == 0
    assert {row["group"] for row in split_read_table(tmp_path / "data")} == {f"b{k}" for k in range(9)}


def test_links_share_the_file_and_give_the_same_split(photos: Path, tmp_path: Path) -> None:
    split(photos, tmp_path / "copies")
    split(photos, tmp_path / "links", mode="link")
    assert split_read_table(tmp_path / "copies") == split_read_table(tmp_path / "links")
    for row in split_read_table(tmp_path / "links"):
        assert (tmp_path / "links" / row["file"]).samefile(photos / row["source"])
        assert not (tmp_path / "copies" / row["file"]).samefile(photos / row["source"])


def test_where_links_are_not_possible_nothing_is_left(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_drive(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_drive)
    with pytest.raises(SplitError, match="leave out --link to copy"):
        split(photos, tmp_path / "data", mode="link")
    assert [entry.name for entry in tmp_path.iterdir()] == ["照片"]


def test_identical_files_are_one_group_whatever_their_names(photos: Path, tmp_path: Path) -> None:
    twins = [photos / "dirt" / f"{k}.png" for k in (1, 2, 3, 4)]
    for twin in twins[1:]:
        shutil.copy(twins[0], twin)
    shutil.copy(twins[0], photos / "Normal" / "twin.png")
    result = split(photos, tmp_path / "data")
    rows = [row for row in result.rows if row.sha256 == hashlib.sha256(twins[0].read_bytes()).hexdigest()]
    assert len(rows) == 5
    assert len({(row.part, row.group) for row in rows}) == 1
    assert {pair[0] for pair in result.contradictions} == {"Normal/twin.png"}
    assert len(result.contradictions) == 4


def test_the_same_pixels_in_another_format_are_one_group(photos: Path, tmp_path: Path) -> None:
    for number in range(1, 9):
        with Image.open(photos / "dirt" / f"{number}.png") as image:
            image.convert("RGB").save(photos / "dirt" / f"twin{number}.bmp")
    group_of = {row.source: (row.group, row.part) for row in split(photos, tmp_path / "data").rows}
    for number in range(1, 9):
        assert group_of[f"dirt/{number}.png"] == group_of[f"dirt/twin{number}.bmp"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"group_by": GroupBy(pattern="(")}, "not a regular expression"),
        ({"group_by": GroupBy(pattern="board")}, "parentheses"),
        ({"group_by": GroupBy(pattern="(board)")}, "does not match"),
        ({"val_share": -0.1}, "expected a share"),
        ({"val_share": float("nan")}, "expected a share"),
        ({"val_share": 0.5, "test_share": 0.5}, "leave nothing to train on"),
        ({"group_by": GroupBy(table=Path("nowhere.csv"))}, "no such file"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(
    photos: Path, tmp_path: Path, settings: dict[str, float | GroupBy], words: str
) -> None:
    with pytest.raises(SplitError, match=words):
        split(photos, tmp_path / "data", **settings)  # type: ignore[arg-type]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,group\nNormal/1.png,a\n", "no line for 'Normal/2.png'"),
        ("file,group\nNormal/1.png,\n", "line 2: 'file' or 'group' is empty"),
        ("file,group\nNormal/1.png,a\nNormal/1.png,b\n", "line 3: .* is in group 'a' already"),
        ("name,board\n1,2\n", "columns file and group"),
        ("", "columns file and group"),
    ],
)
def test_a_groups_table_that_cannot_be_used_is_refused(photos: Path, tmp_path: Path, text: str, words: str) -> None:
    table = tmp_path / "groups.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(SplitError, match=words):
        split(photos, tmp_path / "data", group_by=GroupBy(table=table))


def test_a_class_with_too_few_groups_is_refused(photos: Path, tmp_path: Path) -> None:
    for path in sorted((photos / "dirt").iterdir())[2:]:
        path.unlink()
    with pytest.raises(SplitError, match=r"class 'dirt': 2 group\(s\).*3 needed"):
        split(photos, tmp_path / "data")
    assert split(photos, tmp_path / "two", test_share=0).counts()["dirt"] == {"train": 1, "val": 1, "test": 0}


def test_an_unreadable_image_is_refused_with_the_command_that_lists_all(photos: Path, tmp_path: Path) -> None:
    (photos / "dirt" / "3.png").write_bytes(b"")
    with pytest.raises(SplitError, match=r"3\.png: zero bytes .*trainer check"):
        split(photos, tmp_path / "data")


def test_empty_class_folders_and_loose_images_are_refused(photos: Path, tmp_path: Path) -> None:
    (photos / "空").mkdir()
    with pytest.raises(DataError, match="空: no images in this class folder"):
        split(photos, tmp_path / "data")
    (photos / "空").rmdir()
    shutil.copy(photos / "dirt" / "1.png", photos / "loose.png")
    with pytest.raises(DataError, match=r"'loose\.png'; move each into the folder of its class"):
        split(photos, tmp_path / "data")


def test_the_command_prints_its_table_and_refuses_two_kinds_of_groups(photos: Path, tmp_path: Path) -> None:
    arguments = ["split", str(photos), str(tmp_path / "data")]
    first = CliRunner().invoke(cli, arguments)
    assert first.exit_code == 0, first.output
    assert "36 images copied" in first.stdout
    assert "nothing changed" in CliRunner().invoke(cli, arguments).stdout
    document = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert document["classes"]["划痕"] == {"train": 7, "val": 2, "test": 3}
    both = CliRunner().invoke(cli, [*arguments, "--group-by", "(.)", "--groups", "a.csv"])
    assert both.exit_code == 2


def test_links_take_the_place_of_copies_and_copies_that_of_links(photos: Path, tmp_path: Path) -> None:
    arguments = ["split", str(photos), str(tmp_path / "data")]
    split(photos, tmp_path / "data")
    linked = CliRunner().invoke(cli, [*arguments, "--link"])
    assert "36 images linked" in linked.stdout
    rows = split_read_table(tmp_path / "data")
    assert all((tmp_path / "data" / row["file"]).samefile(photos / row["source"]) for row in rows)
    assert "nothing changed" in CliRunner().invoke(cli, [*arguments, "--link"]).stdout
    document = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert (document["copied"], document["linked"]) == (36, 0)
    assert not any((tmp_path / "data" / row["file"]).samefile(photos / row["source"]) for row in rows)
    document = json.loads(CliRunner().invoke(cli, [*arguments, "--json", "--link"]).stdout)
    assert (document["copied"], document["linked"]) == (0, 36)
    assert sorted(path.name for path in (tmp_path / "data").rglob("*") if path.name.startswith(".")) == []


def test_the_help_says_that_links_share_their_content() -> None:
    words = " ".join(CliRunner().invoke(cli, ["split", "--help"], terminal_width=100).stdout.split())
    assert "SRC and DEST then share each file's content: editing one edits both" in words
    assert "crops.csv ('sdclient crop')" in words


def test_a_changed_image_in_the_split_is_refused_not_kept(photos: Path, tmp_path: Path) -> None:
    split(photos, tmp_path / "data")
    victim = tmp_path / "data" / split_read_table(tmp_path / "data")[0]["file"]
    victim.write_bytes(victim.read_bytes() + b"x")
    with pytest.raises(SplitError, match=r"\.png: is no longer the image that was put here; delete it"):
        split(photos, tmp_path / "data")
    victim.unlink()
    assert split(photos, tmp_path / "data").placed.copied == 1


def test_counts_are_images_of_each_class_and_the_table_says_what_groups_allowed(photos: Path, tmp_path: Path) -> None:
    command = ["split", str(photos), str(tmp_path / "single"), "--val", "1", "--test", "4"]
    single = CliRunner().invoke(cli, [*command, "--json"])
    assert json.loads(single.stdout)["classes"]["划痕"] == {"train": 7, "val": 1, "test": 4}
    assert "(of" not in CliRunner().invoke(cli, command).stdout
    for path in list(photos.rglob("*.png")):
        path.rename(path.with_name(f"b{int(path.stem) % 4}_{path.name}"))
    command = ["split", str(photos), str(tmp_path / "grouped"), "--val", "2", "--test", "4", "--group-by", "^(b[0-9])"]
    shown = CliRunner().invoke(cli, command).stdout
    assert "3 (of 2)" in shown
    assert "3 (of 4)" in shown
    assert "as near as they allow" in shown
    assert "groups: 4 (pattern '^(b[0-9])')" in shown
    document = json.loads(CliRunner().invoke(cli, [*command, "--json"]).stdout)
    assert document["asked"]["dirt"] == {"train": 6, "val": 2, "test": 4}
    assert document["classes"]["dirt"] == {"train": 6, "val": 3, "test": 3}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("1.0", "found 1.0; expected a share"),
        ("many", "found 'many'; expected a share such as 0.15"),
        ("12", "12 images"),
    ],
)
def test_amounts_that_cannot_be_are_refused_on_the_command_line(
    photos: Path, tmp_path: Path, value: str, words: str
) -> None:
    refused = CliRunner().invoke(cli, ["split", str(photos), str(tmp_path / "data"), "--val", value])
    assert refused.exit_code != 0
    assert words in " ".join(refused.stderr.split())
    assert not (tmp_path / "data").exists()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    boards=st.lists(st.integers(0, 9), min_size=36, max_size=36),
    val=st.sampled_from([0, 0.2, 2]),
    folds=st.sampled_from([2, 3]),
)
def test_no_group_is_torn_and_every_image_is_there_once(
    photos: Path, tmp_path: Path, boards: list[int], val: float, folds: int
) -> None:
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    board_of = dict(zip(names, boards, strict=True))
    table = tmp_path / "boards.csv"
    table.write_text("\n".join(["file,group", *(f"{n},板{b}" for n, b in board_of.items())]), encoding="utf-8")
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    by = GroupBy(table=table)
    try:
        one = split(photos, tmp_path / "out" / "data", val_share=val, group_by=by, mode="link")
        many = split_folds(photos, tmp_path / "out" / "folds", folds=folds, val_share=val, group_by=by, mode="link")
    except SplitError as error:
        assert "group(s) of images" in str(error) or "cannot be spread" in str(error)  # noqa: PT017 - either outcome is right
        return
    for rows in (one.rows, *(fold.rows for fold in many.folds)):
        assert sorted(row.source for row in rows) == names
        parts = defaultdict(set)
        for row in rows:
            parts[board_of[row.source]].add(row.part)
        assert all(len(found) == 1 for found in parts.values())
    tested = [row.source for fold in many.folds for row in fold.rows if row.part == "test"]
    assert sorted(tested) == names


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
    linked = split_folds(photos, tmp_path / "linked", folds=3, mode="link")
    assert (linked.placed.copied, linked.placed.linked) == (0, 108)
    copied = split_folds(photos, tmp_path / "copied", folds=3, mode="copy")
    assert (copied.placed.copied, copied.placed.linked) == (108, 0)
    assert bytes_on_disk(tmp_path / "copied") == 3 * once
    sources = {(path.stat().st_dev, path.stat().st_ino) for path in photos.rglob("*.png")}
    for name, expected in (("shared", False), ("linked", True), ("copied", False)):
        files = {(path.stat().st_dev, path.stat().st_ino) for path in (tmp_path / name).rglob("*.png")}
        assert bool(files & sources) is expected, name
    assert files_below(tmp_path / "shared") == files_below(tmp_path / "linked") == files_below(tmp_path / "copied")


@pytest.mark.parametrize("before", ["share", "link", "copy"])
@pytest.mark.parametrize("after", ["share", "link", "copy"])
def test_a_repeat_makes_what_is_wanted(photos: Path, tmp_path: Path, before: str, after: str) -> None:
    split_folds(photos, tmp_path / "folds", folds=2, mode=before)  # type: ignore[arg-type]
    split_folds(photos, tmp_path / "fresh", folds=2, mode=after)  # type: ignore[arg-type]
    again = split_folds(photos, tmp_path / "folds", folds=2, mode=after)  # type: ignore[arg-type]
    assert (again.placed.copied + again.placed.linked == 0) is (before == after)
    assert files_below(tmp_path / "folds") == files_below(tmp_path / "fresh")
    assert bytes_on_disk(tmp_path / "folds") == bytes_on_disk(tmp_path / "fresh")
    assert split_folds(photos, tmp_path / "folds", folds=2, mode=after).placed.linked == 0  # type: ignore[arg-type]


def test_other_folds_in_the_same_place_are_refused(photos: Path, tmp_path: Path) -> None:
    split_folds(photos, tmp_path / "folds", folds=3)
    before = files_below(tmp_path / "folds")
    for changed in ({"folds": 4}, {"folds": 3, "seed": 1}, {"folds": 3, "val_share": 0.3}):
        with pytest.raises(SplitError, match="holds another split"):
            split_folds(photos, tmp_path / "folds", **changed)  # type: ignore[arg-type]
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
    assert split_folds(photos, tmp_path / "folds", folds=2, mode="copy").placed.copied == 72


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
