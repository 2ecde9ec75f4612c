from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from sdclient.output.store import encode_png
from trainer.data.provenance import read_parents, record_folders, recorded_images
from trainer.errors import GeneratedSetError

SOURCE = "5e" * 32


def chunked_png(path: Path, kind: bytes, content: bytes, *, last: bool = False) -> Path:
    """A PNG with one text chunk, before its pixels or after them."""
    Image.new("RGB", (4, 4), "red").save(path, "PNG")
    whole = path.read_bytes()
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    place = len(whole) - 12 if last else 33
    path.write_bytes(whole[:place] + chunk + whole[place:])
    Image.open(path).close()
    return path


def test_an_image_of_the_batch_runner_names_its_source(tmp_path: Path) -> None:
    path = tmp_path / "图.png"
    picture = Image.new("RGB", (4, 4), "red")
    path.write_bytes(encode_png(picture, infotext="a, b", lineage={"class": "划痕", "source_sha256": SOURCE}))
    assert read_parents(path) == (SOURCE,)


def test_every_parent_is_named_and_each_once(tmp_path: Path) -> None:
    other = "07" * 32
    lineage = {"source_sha256": SOURCE, "parents_sha256": [SOURCE, other]}
    path = tmp_path / "moved.png"
    path.write_bytes(encode_png(Image.new("RGB", (4, 4)), infotext="", lineage=lineage))
    assert read_parents(path) == (SOURCE, other)


@pytest.mark.parametrize("last", [False, True], ids=["before the pixels", "after them"])
@pytest.mark.parametrize(
    ("kind", "wrap"),
    [
        (b"tEXt", lambda text: b"sdclient\0" + text),
        (b"zTXt", lambda text: b"sdclient\0\0" + zlib.compress(text)),
        (b"iTXt", lambda text: b"sdclient\0\0\0zh\0\xe6\xba\x90\0" + text),
        (b"iTXt", lambda text: b"sdclient\0\1\0\0\0" + zlib.compress(text)),
    ],
    ids=["tEXt", "zTXt", "iTXt", "packed iTXt"],
)
def test_every_kind_of_text_chunk_is_read(
    tmp_path: Path, kind: bytes, wrap: Callable[[bytes], bytes], last: bool
) -> None:
    path = chunked_png(tmp_path / "a.png", kind, wrap(json.dumps({"source_sha256": SOURCE}).encode()), last=last)
    assert read_parents(path) == (SOURCE,)
    with Image.open(path) as picture:
        picture.load()
        assert json.loads(picture.info["sdclient"])["source_sha256"] == SOURCE  # Pillow agrees that this is a chunk


@pytest.mark.parametrize(
    "content",
    [
        b"sdclient\0not json",
        b"sdclient\0[1, 2]",
        b'sdclient\0{"source_sha256": 7}',
        b'sdclient\0{"source_sha256": "short"}',
        b'sdclient\0{"parents_sha256": []}',
        b'sdclient\0{"source_sha256": "' + SOURCE.encode() + b'", "parents_sha256": 7}',
        b'sdclient\0{"source_sha256": "' + SOURCE.encode() + b'", "parents_sha256": ["half"]}',
        b"sdclient\0{}",
        b"sdclient\0",
        b"sdclient",
        b"sdclient\0\xff\xfe\xff",
    ],
)
def test_a_mark_without_a_source_still_says_generated(tmp_path: Path, content: bytes) -> None:
    assert read_parents(chunked_png(tmp_path / "a.png", b"tEXt", content)) == ()


def test_a_damaged_packed_text_still_says_generated(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    content = b"sdclient\0\0no zlib"
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(content)) + b"zTXt" + content + b"\0\0\0\0"
    path.write_bytes(head)
    assert read_parents(path) == ()


def test_real_images_and_other_files_name_no_source(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Comment", f'sdclient {{"source_sha256": "{SOURCE}"}}')
    Image.new("RGB", (4, 4)).save(tmp_path / "speaks of it.png", pnginfo=chunks)
    for path in tmp_path.iterdir():
        assert read_parents(path) is None, path.name
    with pytest.raises(FileNotFoundError):
        read_parents(tmp_path / "gone.png")


def test_a_manifest_names_images_and_sources_even_of_files_that_are_gone(
    photos: Path, make_generated: Callable[..., Path]
) -> None:
    source = photos / "划痕" / "1.png"
    output = make_generated([("划痕", source)], count=2)
    (output / "划痕" / "1_1.png").unlink()
    recorded = recorded_images(output)
    assert [one.path for one in recorded] == [output / "划痕" / "1_1.png", output / "划痕" / "1_2.png"]
    assert {one.parents for one in recorded} == {(hashlib.sha256(source.read_bytes()).hexdigest(),)}
    assert recorded[1].sha256 == hashlib.sha256(recorded[1].path.read_bytes()).hexdigest()
    assert read_parents(recorded[1].path) == recorded[1].parents


def test_manifests_are_found_wherever_they_lie(photos: Path, make_generated: Callable[..., Path]) -> None:
    assert record_folders(photos) == []
    output = make_generated([("dirt", photos / "dirt" / "1.png")], name="照片/dirt/output")
    assert record_folders(photos) == [output]
    assert record_folders(output) == [output]


@pytest.mark.parametrize("content", [None, b"", b"no database at all" * 100])
def test_a_manifest_that_cannot_be_read_is_refused_in_words(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "manifest.sqlite").write_bytes(content)
    with pytest.raises(GeneratedSetError, match=r"manifest\.sqlite"):
        recorded_images(tmp_path)
