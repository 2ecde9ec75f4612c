"""Photographs become crops, without loss and only once."""

from __future__ import annotations

import csv
import os
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from sdclient.errors import OutputError, SourceError
from sdclient.sources import crop as crop_module, discover
from sdclient.sources.crop import crop_boxes, crop_tiles, window_around
from sdclient.sources.numbering import number_images
from sdcore.annotations import Box
from sdcore.errors import AnnotationError
from sdcore.images.tiles import Window


def photo(path: Path, size: tuple[int, int] = (120, 80), mode: str = "RGB", seed: int = 0) -> Image.Image:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = len(Image.new(mode, (1, 1)).getbands())
    image = Image.frombytes(mode, size, random.Random(seed).randbytes(size[0] * size[1] * bands))
    image.save(path)
    return image


def labels(folder: Path, **lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("dirt\n脏污\n", encoding="utf-8")
    for stem, text in lines.items():
        (folder / f"{stem}.txt").write_text(text, encoding="utf-8")
    return folder


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "crops.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_crops_around_boxes_hold_the_photos_own_pixels(tmp_path: Path) -> None:
    image = photo(tmp_path / "photos/a.png")
    photo(tmp_path / "photos/b.png", seed=1)
    boxes = labels(tmp_path / "labels", a="0 0.25 0.5 0.1 0.2\n1 0.99 0.01 0.02 0.02\n", b="")
    result = crop_boxes(tmp_path / "photos", tmp_path / "out", boxes, margin=0.5, size_px=20)
    assert result.made == ("dirt/a_1.png", "脏污/a_2.png")
    assert (result.unchanged, result.left_out, result.unused_box_files) == ((), (), ())
    with Image.open(tmp_path / "out/dirt/a_1.png") as cut:
        # The box is 12 x 16 px at (24, 32); twice its longer side around the middle (30, 40).
        assert cut.size == (32, 32)
        assert cut.tobytes() == image.crop((14, 24, 46, 56)).tobytes()
    with Image.open(tmp_path / "out/脏污/a_2.png") as cut:
        assert cut.tobytes() == image.crop((100, 0, 120, 20)).tobytes()
    assert rows(tmp_path / "out")[0] == {
        "crop": "dirt/a_1.png",
        "class": "dirt",
        "photo": "a.png",
        "photo_sha256": rows(tmp_path / "out")[1]["photo_sha256"],
        "x": "14",
        "y": "24",
        "width": "32",
        "height": "32",
        "box_left": "10.0",
        "box_top": "8.0",
        "box_right": "22.0",
        "box_bottom": "24.0",
    }


def test_tiles_put_together_are_the_photo_and_keep_its_class(tmp_path: Path) -> None:
    image = photo(tmp_path / "photos/脏污/a.bmp", (130, 70))
    result = crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=50, overlap=0.1)
    assert len(result.made) == 6
    whole = Image.new("RGB", image.size)
    for row in rows(tmp_path / "out"):
        assert row["class"] == "脏污"
        assert row["photo"] == "脏污/a.bmp"
        assert row["box_left"] == ""
        with Image.open(tmp_path / "out" / row["crop"]) as tile:
            assert tile.size == (int(row["width"]), int(row["height"])) == (50, 50)
            whole.paste(tile, (int(row["x"]), int(row["y"])))
    assert whole.tobytes() == image.tobytes()


@pytest.mark.parametrize("mode", ["tiles", "boxes"])
def test_a_repeat_changes_nothing(tmp_path: Path, mode: str) -> None:
    photo(tmp_path / "photos/dirt/a.png")
    boxes = labels(tmp_path / "labels", a="0 0.5 0.5 0.33333 0.1\n")

    def run() -> tuple[int, int]:
        if mode == "tiles":
            result = crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=50)
        else:
            result = crop_boxes(tmp_path / "photos", tmp_path / "out", boxes)
        return len(result.made), len(result.unchanged)

    made, none = run()
    before = snapshot(tmp_path / "out")
    assert (made > 0, none) == (True, 0)
    assert run() == (0, made)
    assert snapshot(tmp_path / "out") == before
    (tmp_path / "out/crops.csv").unlink()
    assert run() == (0, made)
    assert {k: v[0] for k, v in snapshot(tmp_path / "out").items()} == {k: v[0] for k, v in before.items()}


def test_an_interrupted_run_ends_with_the_same_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "photos/dirt/a.png")
    crop_tiles(tmp_path / "photos", tmp_path / "whole", tile_px=50)
    calls = []
    write = crop_module.write_bytes_atomically

    def stop_at_the_third(path: Path, content: bytes) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(crop_module, "write_bytes_atomically", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=50)
    crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=50)
    assert {k: v[0] for k, v in snapshot(tmp_path / "out").items()} == {
        k: v[0] for k, v in snapshot(tmp_path / "whole").items()
    }


def test_other_settings_do_not_mix_into_an_existing_folder(tmp_path: Path) -> None:
    photo(tmp_path / "photos/dirt/a.png")
    crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=50)
    before = snapshot(tmp_path / "out")
    with pytest.raises(OutputError, match=r"a_1\.png: is there already, cut 50 x 50 px .* now wanted 60 x 60 px"):
        crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=60)
    photo(tmp_path / "photos/dirt/a.png", seed=5)
    with pytest.raises(OutputError, match=r"whose file has changed"):
        crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=50)
    assert snapshot(tmp_path / "out") == before


def test_a_foreign_image_in_the_way_is_not_overwritten(tmp_path: Path) -> None:
    photo(tmp_path / "photos/dirt/a.png")
    photo(tmp_path / "out/dirt/a_2.png", seed=9)
    before = snapshot(tmp_path / "out")
    with pytest.raises(OutputError, match=r"a_2\.png: is there already and is another image"):
        crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=50)
    assert snapshot(tmp_path / "out")["dirt/a_2.png"] == before["dirt/a_2.png"]


def test_later_photos_are_added(tmp_path: Path) -> None:
    photo(tmp_path / "photos/dirt/a.png", (50, 50))
    crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=50)
    photo(tmp_path / "photos/dirt/b.png", (50, 50), seed=2)
    result = crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=50)
    assert (result.made, result.unchanged) == (("dirt/b_1.png",), ("dirt/a_1.png",))
    assert [row["crop"] for row in rows(tmp_path / "out")] == ["dirt/a_1.png", "dirt/b_1.png"]


def test_a_box_error_stops_before_anything_is_written(tmp_path: Path) -> None:
    photo(tmp_path / "photos/a.png")
    photo(tmp_path / "photos/b.png")
    boxes = labels(tmp_path / "labels", a="0 0.5 0.5 0.1 0.1\n", b="0 0.5 0.5 0.1\n")
    with pytest.raises(AnnotationError, match=r"b\.txt: line 1: 4 fields"):
        crop_boxes(tmp_path / "photos", tmp_path / "out", boxes)
    assert not (tmp_path / "out").exists()


def test_unreadable_photos_are_left_out_and_unused_box_files_told(tmp_path: Path) -> None:
    photo(tmp_path / "photos/a.png")
    (tmp_path / "photos/b.png").write_bytes(b"")
    photo(tmp_path / "photos/c.png")
    whole = (tmp_path / "photos/c.png").read_bytes()
    (tmp_path / "photos/c.png").write_bytes(whole[:5000])
    line = "0 0.5 0.5 0.1 0.1\n"
    boxes = labels(tmp_path / "labels", a=line, b=line, c=line, d=line)
    result = crop_boxes(tmp_path / "photos", tmp_path / "out", boxes)
    assert result.made == ("dirt/a_1.png",)
    assert [item.file for item in result.left_out] == ["b.png", "c.png"]
    assert result.left_out[0].reason.startswith("an empty file")
    assert result.unused_box_files == ("b.txt", "d.txt")
    assert [row["crop"] for row in rows(tmp_path / "out")] == ["dirt/a_1.png"]


def test_boxes_beside_the_photos_are_found(tmp_path: Path) -> None:
    photo(tmp_path / "photos/a.png")
    boxes = labels(tmp_path / "photos", a="0 0.5 0.5 0.1 0.1\n")
    assert crop_boxes(tmp_path / "photos", tmp_path / "out", boxes).made == ("dirt/a_1.png",)


def test_photos_of_one_name_in_two_class_folders_give_two_names(tmp_path: Path) -> None:
    line = "0 0.5 0.5 0.1 0.1\n"
    for folder in ("dirt", "mixed"):
        photo(tmp_path / "photos" / folder / "1.png")
        labels(tmp_path / "labels" / folder, **{"1": line})
    boxes = labels(tmp_path / "labels")
    result = crop_boxes(tmp_path / "photos", tmp_path / "out", boxes)
    assert result.made == ("dirt/1_1.png", "dirt/mixed-1_1.png")


@pytest.mark.parametrize("other", ["a.bmp", "A.png"])
def test_two_photos_that_would_give_one_name_are_refused(tmp_path: Path, other: str) -> None:
    photo(tmp_path / "photos/dirt/a.png")
    photo(tmp_path / "photos/dirt" / other)
    if len(list((tmp_path / "photos/dirt").iterdir())) == 1:
        pytest.skip("this file system does not tell upper from lower case")
    with pytest.raises(SourceError, match="rename one of the photos"):
        crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=50)


def test_tiles_of_a_photo_without_a_class_are_refused(tmp_path: Path) -> None:
    photo(tmp_path / "photos/a.png")
    with pytest.raises(SourceError, match=r"a\.png: outside any class folder, so its tiles have no class"):
        crop_tiles(tmp_path / "photos", tmp_path / "out")


def test_no_photo_at_all_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "photos/dirt").mkdir(parents=True)
    with pytest.raises(SourceError, match="no photograph in it"):
        crop_tiles(tmp_path / "photos", tmp_path / "out")


def test_a_turned_photo_is_cut_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = photo(tmp_path / "x.png", (60, 40))
    (tmp_path / "photos").mkdir()
    image.save(tmp_path / "photos/a.png", exif=exif)
    boxes = labels(tmp_path / "labels", a="0 0.25 0.25 0.5 0.5\n")
    crop_boxes(tmp_path / "photos", tmp_path / "out", boxes, margin=0, size_px=10)
    upright = image.transpose(Image.Transpose.ROTATE_270)
    with Image.open(tmp_path / "out/dirt/a_1.png") as cut:
        assert cut.tobytes() == upright.crop((0, 0, 30, 30)).tobytes()
        assert not cut.getexif()


@pytest.mark.parametrize(
    ("mode", "suffix", "kept"),
    [("L", "png", "L"), ("LA", "png", "LA"), ("RGBA", "png", "RGBA"), ("I;16", "tif", "I;16"), ("P", "png", "RGB")],
)
def test_what_a_png_can_hold_is_kept_without_loss(tmp_path: Path, mode: str, suffix: str, kept: str) -> None:
    path = tmp_path / f"photos/dirt/a.{suffix}"
    path.parent.mkdir(parents=True)
    data = random.Random(3)
    if mode == "I;16":
        image = Image.frombytes("I;16", (40, 40), data.randbytes(3200))
    elif mode == "P":
        image = Image.frombytes("L", (40, 40), data.randbytes(1600)).convert("P")
        image.putpalette(data.randbytes(768))
    else:
        image = Image.frombytes(mode, (40, 40), data.randbytes(1600 * len(mode)))
    image.save(path)
    crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=40)
    with Image.open(tmp_path / "out/dirt/a_1.png") as cut:
        cut.load()
        assert cut.convert(kept).tobytes() == image.convert(kept).tobytes()
        if mode == "I;16":
            assert cut.mode.startswith("I")


def test_a_cmyk_photo_becomes_rgb(tmp_path: Path) -> None:
    (tmp_path / "photos/dirt").mkdir(parents=True)
    Image.new("CMYK", (20, 20), (0, 0, 0, 0)).save(tmp_path / "photos/dirt/a.jpg")
    crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=40)
    with Image.open(tmp_path / "out/dirt/a_1.png") as cut:
        assert (cut.mode, cut.getpixel((9, 9))) == ("RGB", (255, 255, 255))


@pytest.mark.parametrize("content", ["", "crop,class\n", None])
def test_a_broken_table_is_refused(tmp_path: Path, content: str | None) -> None:
    photo(tmp_path / "photos/dirt/a.png")
    crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=80)
    table = tmp_path / "out/crops.csv"
    table.write_text(table.read_text(encoding="utf-8") + "x,y\n" if content is None else content, encoding="utf-8")
    with pytest.raises(OutputError, match=r"crops\.csv: line \d: "):
        crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=80)


def test_crops_can_be_numbered_and_walked(tmp_path: Path) -> None:
    photo(tmp_path / "photos/脏污/a.png", (1200, 400))
    crop_tiles(tmp_path / "photos", tmp_path / "crops", tile_px=100, overlap=0)
    result = number_images(tmp_path / "crops", tmp_path / "sources")
    assert [item.file for item in result.left_out] == []
    found = discover(tmp_path / "sources")
    assert [source.number for source in found] == list(range(1, 49))
    last = (tmp_path / "crops/脏污/a_48.png").read_bytes()
    assert found[-1].path.read_bytes() == last


def test_a_whole_numbers_tiff_keeps_16_bits_and_a_float_one_becomes_grey(tmp_path: Path) -> None:
    (tmp_path / "photos/dirt").mkdir(parents=True)
    for stem, mode, value in (("a", "I", 40000), ("b", "I", 70000), ("c", "F", 0.5)):
        Image.new(mode, (20, 20), value).save(tmp_path / f"photos/dirt/{stem}.tif")
    crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=20)
    found = {}
    for stem in "abc":
        with Image.open(tmp_path / f"out/dirt/{stem}_1.png") as cut:
            found[stem] = (cut.mode[0], cut.getpixel((3, 3)))
    assert found == {"a": ("I", 40000), "b": ("L", 255), "c": ("L", 128)}


def test_a_folder_in_a_class_folder_is_told(tmp_path: Path) -> None:
    photo(tmp_path / "photos/dirt/a.png")
    photo(tmp_path / "photos/dirt/more/b.png")
    result = crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=80)
    assert [item.file for item in result.left_out] == ["dirt/more"]


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    photo(tmp_path / "photos/dirt/a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/crops.csv").write_bytes("脏污".encode("gbk"))
    with pytest.raises(OutputError, match=r"crops\.csv: not a table that 'sdclient crop' wrote"):
        crop_tiles(tmp_path / "photos", tmp_path / "out")


def test_a_header_that_contradicts_the_pixels_leaves_the_photo_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(tmp_path / "photos/dirt/a.png")
    monkeypatch.setattr(crop_module, "image_size", lambda path, **_: (60, 60))
    result = crop_tiles(tmp_path / "photos", tmp_path / "out", tile_px=50)
    assert result.made == ()
    assert "60 x 60 px by its header, but 120 x 80 decoded" in result.left_out[0].reason


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="these file systems hold Unicode names alone")
def test_names_from_another_encoding_are_left_out_in_words(tmp_path: Path) -> None:
    photo(tmp_path / "photos/dirt/a.png")
    odd = os.fsdecode("脏污.png".encode("gbk"))
    (tmp_path / "photos/dirt" / odd).write_bytes((tmp_path / "photos/dirt/a.png").read_bytes())
    (tmp_path / "photos" / odd).mkdir()
    tiles = crop_tiles(tmp_path / "photos", tmp_path / "crops", tile_px=80)
    numbered = number_images(tmp_path / "photos", tmp_path / "out")
    assert numbered.copied == ("dirt/1.png",)
    for left_out in (tiles.left_out, numbered.left_out):
        assert "not valid Unicode; rename it" in " ".join(item.reason for item in left_out)
        assert all(item.file.encode("utf-8") for item in left_out)
    (tmp_path / "out" / odd).mkdir()
    with pytest.raises(SourceError, match="not valid Unicode"):
        discover(tmp_path / "out")


def test_a_square_with_context_lies_around_a_box() -> None:
    box = Box("dirt", 100, 200, 160, 230)
    assert window_around(box, 4000, 3000, margin=0.5, size_px=10) == Window(70, 155, 120, 120)
    assert window_around(box, 4000, 3000, margin=0.5, size_px=256) == Window(2, 87, 256, 256)


def test_at_an_edge_the_square_is_moved_not_shrunk() -> None:
    assert window_around(Box("d", 0, 0, 10, 10), 500, 400, margin=0, size_px=100) == Window(0, 0, 100, 100)
    assert window_around(Box("d", 490, 390, 500, 400), 500, 400, margin=0, size_px=100) == Window(400, 300, 100, 100)


def test_a_photo_smaller_than_the_square_is_taken_whole() -> None:
    assert window_around(Box("d", 5, 5, 9, 9), 80, 60, margin=0.5, size_px=256) == Window(0, 0, 80, 60)


@settings(deadline=None)
@given(data=st.data(), width=st.integers(1, 900), height=st.integers(1, 900))
def test_a_cut_holds_its_box_and_lies_in_the_photo(data: st.DataObject, width: int, height: int) -> None:
    left = data.draw(st.floats(0, width - 0.5))
    top = data.draw(st.floats(0, height - 0.5))
    right = data.draw(st.floats(left, width))
    bottom = data.draw(st.floats(top, height))
    margin, size = data.draw(st.floats(0, 3)), data.draw(st.integers(1, 600))
    cut = window_around(Box("d", left, top, right, bottom), width, height, margin=margin, size_px=size)
    assert 0 <= cut.x <= left
    assert 0 <= cut.y <= top
    assert right <= cut.x + cut.width <= width
    assert bottom <= cut.y + cut.height <= height
    assert cut.width == width or cut.height == height or cut.width == cut.height
    assert cut.width >= min(size, width)


@pytest.mark.parametrize(("margin", "size"), [(-0.1, 9), (float("nan"), 9), (float("inf"), 9), (0.5, 0)])
def test_margins_that_make_no_sense_are_refused(margin: float, size: int) -> None:
    with pytest.raises(ValueError, match="expected a margin"):
        window_around(Box("d", 0, 0, 1, 1), 9, 9, margin=margin, size_px=size)
