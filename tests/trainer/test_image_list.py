from __future__ import annotations

import io
import os
import tracemalloc
from pathlib import Path

import pytest

from sdcore.errors import DataError, SettingsError
from trainer.models.image_list import list_files, list_named_images, read_paths


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty files, since listing reads none, in the working folder."""
    for name in ("线/a/10.png", "线/a/9.png", "线/b/深/1.BMP", "线/notes.txt", "线/._x.png", "线/0.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "空").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(listed: object) -> list[tuple[str, str]]:
    return [(image.name, image.label) for image in listed.images]  # type: ignore[attr-defined]


def test_a_single_folder_gives_relative_names_and_its_folders_as_labels(pictures: Path) -> None:
    assert rows(list_named_images([pictures / "线"])) == [
        ("0.png", ""),
        ("a/9.png", "a"),
        ("a/10.png", "a"),
        ("b/深/1.BMP", "b"),
    ]


@pytest.mark.parametrize(
    ("labels", "expected"), [("parent", ["线", "a", "a", "深"]), ("none", [""] * 4), ("auto", ["", "a", "a", "b"])]
)
def test_labels_come_from_where_it_is_said(pictures: Path, labels: str, expected: list[str]) -> None:
    assert [label for _, label in rows(list_named_images(["线"], labels=labels))] == expected  # type: ignore[arg-type]


def test_a_pattern_goes_to_any_depth_and_takes_images_alone(pictures: Path) -> None:
    assert rows(list_named_images(["线/**/*"])) == [
        ("线/0.png", ""),
        ("线/a/9.png", ""),
        ("线/a/10.png", ""),
        ("线/b/深/1.BMP", ""),
    ]
    assert [name for name, _ in rows(list_named_images(["线/[0-9].png"]))] == ["线/0.png"]


def test_several_things_are_named_as_written_and_each_image_once(pictures: Path) -> None:
    listed = list_named_images(["线/a/10.png", "线/a", "./线/a/*.png", str(pictures / "线/0.png")], labels="parent")
    assert rows(listed) == [("线/a/10.png", "a"), ("线/a/9.png", "a"), ((pictures / "线/0.png").as_posix(), "线")]
    assert listed.repeats == 3


def test_a_file_that_is_really_called_like_a_pattern_is_that_file(pictures: Path) -> None:
    (pictures / "x[1].png").write_bytes(b"")
    (pictures / "x1.png").write_bytes(b"")
    assert rows(list_named_images(["x[1].png"])) == [("x[1].png", "")]
    assert rows(list_files(["x[1].png", "x*.png"])) == [("x[1].png", ""), ("x*.png", "")]


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ([], "no images named"),
        (["空"], "空: no images in this folder"),
        (["空", "线"], "空: no images in this folder"),
        (["线/**/*.tif"], r"\*\.tif: this pattern finds no image"),
        (["线/1.png"], r"1\.png: no such file or folder; expected"),
        (["线", "x.png", "y.png"], r"x\.png: no such file or folder \(and 1 more of the 3 named"),
    ],
)
def test_what_names_no_image_is_refused(pictures: Path, named: list[str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        list_named_images(named)


def test_an_empty_list_and_an_unknown_word_are_refused(pictures: Path) -> None:
    with pytest.raises(DataError, match="standard input: no paths in it"):
        list_files([], source="standard input")
    for listing in (list_named_images, list_files):
        with pytest.raises(SettingsError, match="labels: found 'top'"):
            listing(["线"], labels="top")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        ("a.png\r\n\n图/b.png".encode("utf-8-sig"), ["a.png", "图/b.png"]),
        ("a\nb.png\0图.png\0".encode(), ["a\nb.png", "图.png"]),
        (b" a.png \n", [" a.png "]),
    ],
)
def test_a_list_is_one_path_a_line_or_ended_by_nul(content: bytes, expected: list[str]) -> None:
    assert read_paths(io.BytesIO(content)) == expected


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16"])
def test_a_list_in_another_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(DataError, match="not UTF-8"):
        read_paths(io.BytesIO("好.png\n图片.png\n".encode(encoding)))


def test_an_image_in_a_long_list_takes_little_memory() -> None:
    paths = [f"folder{os.sep}{number}.png" for number in range(5000)]
    tracemalloc.start()
    try:
        listed = list_files(paths)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(listed.images) == 5000
    assert used < 5000 * 1000
