"""Copies get numbers that stay, and the photographs are left alone."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest
from PIL import Image

from sdclient.errors import OutputError, SourceError
from sdclient.manifest.tables import ExportedImage, write_exported
from sdclient.sources import discover, numbering
from sdclient.sources.numbering import number_images


def put(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (8, 8), (sum(map(ord, name)) % 256, len(name), 7)).save(folder / name)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and modification time of every file."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "照片"
    put(folder / "脏污", "IMG 10.JPG", "IMG 9.png", "a.webp")
    put(folder / "Normal", "x.bmp")
    return folder


def test_copies_are_numbered_in_natural_order_with_bytes_and_endings_kept(photos: Path, tmp_path: Path) -> None:
    before = snapshot(photos)
    result = number_images(photos, tmp_path / "out")
    assert result.copied == ("Normal/1.bmp", "脏污/1.webp", "脏污/2.png", "脏污/3.JPG")
    assert result.unchanged == ()
    assert result.left_out == ()
    assert (tmp_path / "out/脏污/2.png").read_bytes() == (photos / "脏污/IMG 9.png").read_bytes()
    assert (tmp_path / "out/脏污/3.JPG").read_bytes() == (photos / "脏污/IMG 10.JPG").read_bytes()
    assert snapshot(photos) == before
    assert [source.relative for source in discover(tmp_path / "out")] == list(result.copied)


def test_the_mapping_tells_old_names_and_checksums_to_a_spreadsheet(photos: Path, tmp_path: Path) -> None:
    number_images(photos, tmp_path / "out")
    path = tmp_path / "out/mapping.csv"
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["class"], row["old_name"], row["new_name"]) for row in rows] == [
        ("Normal", "x.bmp", "1.bmp"),
        ("脏污", "a.webp", "1.webp"),
        ("脏污", "IMG 9.png", "2.png"),
        ("脏污", "IMG 10.JPG", "3.JPG"),
    ]
    for row in rows:
        old = photos / row["class"] / row["old_name"]
        assert row["sha256"] == hashlib.sha256(old.read_bytes()).hexdigest()


def test_a_repeat_changes_nothing(photos: Path, tmp_path: Path) -> None:
    number_images(photos, tmp_path / "out")
    before = snapshot(tmp_path / "out")
    result = number_images(photos, tmp_path / "out")
    assert result.copied == ()
    assert len(result.unchanged) == result.usable == 4
    assert snapshot(tmp_path / "out") == before


def test_later_photos_get_numbers_after_those_given(photos: Path, tmp_path: Path) -> None:
    number_images(photos, tmp_path / "out")
    before = snapshot(tmp_path / "out")
    put(photos / "脏污", "IMG 1.png")
    put(photos / "氧化", "new.png")
    result = number_images(photos, tmp_path / "out")
    assert result.copied == ("氧化/1.png", "脏污/4.png")
    after = snapshot(tmp_path / "out")
    assert {name: after[name] for name in before if name != "mapping.csv"} == {
        name: content for name, content in before.items() if name != "mapping.csv"
    }


def test_a_removed_photo_keeps_its_number_from_being_given_again(photos: Path, tmp_path: Path) -> None:
    number_images(photos, tmp_path / "out")
    (photos / "脏污/IMG 10.JPG").unlink()
    put(photos / "脏污", "z.png")
    assert number_images(photos, tmp_path / "out").copied == ("脏污/4.png",)
    assert (tmp_path / "out/脏污/3.JPG").is_file()


def test_a_numbered_file_of_someone_else_is_never_overwritten(photos: Path, tmp_path: Path) -> None:
    put(tmp_path / "out/Normal", "7.png")
    before = snapshot(tmp_path / "out")
    assert "Normal/8.bmp" in number_images(photos, tmp_path / "out").copied
    assert snapshot(tmp_path / "out")["Normal/7.png"] == before["Normal/7.png"]


def test_unusable_files_are_left_out_with_their_reasons(photos: Path, tmp_path: Path) -> None:
    (photos / "脏污/empty.png").write_bytes(b"")
    whole = (photos / "脏污/a.webp").read_bytes()
    (photos / "脏污/cut.webp").write_bytes(whole[: len(whole) // 2])
    (photos / "脏污/notes.txt").write_text("x", encoding="utf-8")
    (photos / "脏污/more").mkdir()
    (photos / "stray.png").write_bytes(b"x")
    (photos / "nothing").mkdir()
    (photos / "脏污/Thumbs.db").write_bytes(b"x")
    result = number_images(photos, tmp_path / "out")
    assert len(result.copied) == 4
    reasons = {item.file: item.reason for item in result.left_out}
    assert list(reasons) == ["nothing", "stray.png", "脏污/cut.webp", "脏污/empty.png", "脏污/more", "脏污/notes.txt"]
    assert "empty class folder" in reasons["nothing"]
    assert "outside any class folder" in reasons["stray.png"]
    assert reasons["脏污/empty.png"].startswith("an empty file")
    assert "does not end like an image" in reasons["脏污/notes.txt"]
    assert not (tmp_path / "out/nothing").exists()


def test_nothing_usable_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "photos/dirt").mkdir(parents=True)
    (tmp_path / "photos/dirt/1.png").write_bytes(b"")
    result = number_images(tmp_path / "photos", tmp_path / "out")
    assert result.usable == 0
    assert [item.file for item in result.left_out] == ["dirt/1.png"]
    assert not (tmp_path / "out").exists()


def test_a_folder_without_classes_is_an_error(tmp_path: Path) -> None:
    put(tmp_path / "photos", "1.png")
    with pytest.raises(SourceError, match="no class folder"):
        number_images(tmp_path / "photos", tmp_path / "out")


def test_an_interrupted_run_is_taken_up_and_ends_with_the_same_set(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number_images(photos, tmp_path / "whole")
    written: list[Path] = []

    def stop_after_two_copies(path: Path, content: bytes) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    with monkeypatch.context() as patched:
        patched.setattr(numbering, "write_bytes_atomically", stop_after_two_copies)
        with pytest.raises(KeyboardInterrupt):
            number_images(photos, tmp_path / "out")
    result = number_images(photos, tmp_path / "out")
    assert (len(result.copied), len(result.unchanged)) == (2, 2)
    contents = {name: content for name, (content, _) in snapshot(tmp_path / "out").items()}
    assert contents == {name: content for name, (content, _) in snapshot(tmp_path / "whole").items()}


def test_a_photo_that_changed_keeps_its_old_copy_and_is_listed(photos: Path, tmp_path: Path) -> None:
    number_images(photos, tmp_path / "out")
    before = snapshot(tmp_path / "out")
    Image.new("RGB", (9, 9)).save(photos / "Normal/x.bmp")
    result = number_images(photos, tmp_path / "out")
    assert [item.file for item in result.left_out] == ["Normal/x.bmp"]
    assert "changed since it became 1.bmp" in result.left_out[0].reason
    assert snapshot(tmp_path / "out") == before


def test_a_copy_that_someone_edited_is_not_taken_for_the_photo(photos: Path, tmp_path: Path) -> None:
    number_images(photos, tmp_path / "out")
    (tmp_path / "out/Normal/1.bmp").write_bytes(b"edited")
    with pytest.raises(OutputError, match=r"1\.bmp: no longer the copy"):
        number_images(photos, tmp_path / "out")
    (tmp_path / "out/Normal/1.bmp").unlink()
    assert number_images(photos, tmp_path / "out").copied == ("Normal/1.bmp",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "line 1: expected the columns class, old_name"),
        ("a,b\n", "line 1: expected the columns class, old_name"),
        ("class,old_name,new_name,sha256\nd,a.png,1.png\n", "line 2"),
        ("class,old_name,new_name,sha256\nd,a.png,../1.png,0\n", "line 2"),
    ],
)
def test_a_mapping_that_is_none_is_refused(photos: Path, tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mapping.csv").write_text(content, encoding="utf-8")
    with pytest.raises(SourceError, match=rf"mapping\.csv: {words}"):
        number_images(photos, tmp_path / "out")


def test_a_mapping_saved_in_another_encoding_is_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mapping.csv").write_bytes("class,old_name,new_name,sha256\n脏污,".encode("gbk"))
    with pytest.raises(SourceError, match=r"mapping\.csv: not a table that 'sdclient number' wrote"):
        number_images(photos, tmp_path / "out")


def test_progress_covers_every_photo(photos: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    def track(items, title):  # type: ignore[no-untyped-def]
        seen.append((title, len(items)))
        return items

    number_images(photos, tmp_path / "out", track=track)
    assert seen == [("checking", 4), ("copying", 4)]


def test_a_photo_that_changes_under_way_is_not_copied(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbering, "sha256_of", lambda path: "0" * 64)
    with pytest.raises(SourceError, match="changed while it was being copied"):
        number_images(photos, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["mapping.csv"]


def test_exported_images_do_not_become_sources(photos: Path, tmp_path: Path) -> None:
    class_folder = next(entry for entry in sorted(photos.iterdir()) if entry.is_dir())
    name = f"{class_folder.name}/generated-1_1-{'a' * 16}.png"
    Image.new("RGB", (8, 8)).save(photos / name)
    usable = number_images(photos, tmp_path / "all").usable
    digest = hashlib.sha256((photos / name).read_bytes()).hexdigest()
    row = ExportedImage(name, class_folder.name, digest, "", "", "/o", "x/1_1.png", "e", "x/1.png", digest)
    write_exported(photos, [row])
    result = number_images(photos, tmp_path / "real")
    assert result.usable == usable - 1
    reasons = [item.reason for item in result.left_out if item.file == "exported.csv"]
    assert reasons == ["lists 1 generated images here, which do not become sources"]
