"""Which images were generated, and from which others: by their own text chunk, or by a manifest or an export."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sdclient.manifest import MANIFEST_NAME, Manifest, ManifestError
from sdclient.manifest_exported import EXPORTED_NAME, read_exported

from .errors import GeneratedSetError

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_KEYWORD = b"sdclient"
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_MAX_TEXT_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RecordedImage:
    """One generated image, as a manifest or an export records it."""

    path: Path
    """Where it was written; it may be gone or changed since."""
    sha256: str
    parents: tuple[str, ...]
    """SHA-256 of the bytes of every image it was made from, its source first."""


def generated_parents_of(path: Path) -> tuple[str, ...] | None:
    """SHA-256 of every image that an image's text chunk `sdclient` names as its parent; no pixel is decoded.

    Returns:
        64 hexadecimal digits each, the source first; none for an image that carries the chunk, so was generated, but
        does not name its parents in full; None for one without the chunk: a real image, or a generated one that
        another program saved anew.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        for text in _own_texts(file):
            try:
                told = json.loads(text)
                parents = [told["source_sha256"], *told.get("parents_sha256", ())]
            except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
                return ()
            whole = all(isinstance(one, str) and _SHA256.fullmatch(one) for one in parents)
            return tuple(dict.fromkeys(parents)) if whole else ()
    return None


def record_folders(root: Path) -> list[Path]:
    """Folders at and below `root` that record generated images, as a manifest or as an export does; sorted."""
    return sorted(Path(place) for place, _, files in os.walk(root) if {MANIFEST_NAME, EXPORTED_NAME} & set(files))


def recorded_images(folder: Path) -> tuple[RecordedImage, ...]:
    """Every image that a folder's manifest records as made, or its export as put there; none of the files is read.

    Raises:
        GeneratedSetError: neither manifest nor export, or one that cannot be read.
    """
    found: list[RecordedImage] = []
    try:
        if (folder / EXPORTED_NAME).is_file():
            found += [RecordedImage(folder / row.file, row.sha256, row.parents_sha256) for row in read_exported(folder)]
        if not found or (folder / MANIFEST_NAME).is_file():
            with Manifest(folder) as manifest:
                found += [
                    RecordedImage(folder / record.file, record.sha256, record.parents_sha256)
                    for record in manifest.images()
                ]
    except ManifestError as error:
        raise GeneratedSetError(str(error)) from error
    except (sqlite3.Error, ValueError) as error:
        raise GeneratedSetError(f"{folder}: its manifest cannot be read: {error}; restore {MANIFEST_NAME}") from error
    return tuple(found)


def _own_texts(file: BinaryIO) -> Iterator[bytes]:
    """The texts under our keyword, decompressed; ends quietly where the file does."""
    if file.read(len(_PNG_MAGIC)) != _PNG_MAGIC:
        return
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind in _TEXT_CHUNKS and length <= _MAX_TEXT_BYTES:
            keyword, _, rest = file.read(length).partition(b"\0")
            if keyword == _KEYWORD:
                yield _decompressed(kind, rest)
            file.seek(4, os.SEEK_CUR)
        else:
            file.seek(length + 4, os.SEEK_CUR)


def _decompressed(kind: bytes, rest: bytes) -> bytes:
    """The text of a chunk, from what follows its keyword (PNG 3rd edition, 11.3.3); empty when damaged."""
    packed, text = kind == b"zTXt", rest
    if kind == b"zTXt":
        text = rest[1:]
    elif kind == b"iTXt":
        packed = rest[:1] == b"\1"
        text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if not packed:
        return text
    try:
        return zlib.decompressobj().decompress(text, _MAX_TEXT_BYTES)
    except zlib.error:
        return b""
