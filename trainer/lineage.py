"""Which images were generated, and from which source: by their own text chunk, and by a manifest beside them."""

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

from .errors import GeneratedSetError

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_KEYWORD = b"sdclient"
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_MAX_TEXT_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RecordedImage:
    """One generated image, as its manifest records it."""

    path: Path
    """Where it was written; it may be gone or changed since."""
    sha256: str
    source_sha256: str
    """Of the bytes of the real image it was made from."""


def generated_source_of(path: Path) -> str | None:
    """SHA-256 of the source that an image's text chunk `sdclient` names; no pixel is decoded.

    Returns:
        64 hexadecimal digits; "" for an image that carries the chunk, so was generated, but names no source in it;
        None for one without it: a real image, or a generated one that another program saved anew.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        for text in _own_texts(file):
            try:
                told = json.loads(text).get("source_sha256")
            except (ValueError, AttributeError, RecursionError):
                return ""
            return told if isinstance(told, str) and _SHA256.fullmatch(told) else ""
    return None


def manifest_folders(root: Path) -> list[Path]:
    """The output folders of `sdclient generate` at and below `root`: those with a manifest, sorted."""
    return sorted(Path(place) for place, _, files in os.walk(root) if MANIFEST_NAME in files)


def recorded_images(output: Path) -> tuple[RecordedImage, ...]:
    """Every image that the manifest of an output folder records as made; none of the files is read.

    Raises:
        GeneratedSetError: no manifest, or one that cannot be read.
    """
    try:
        with Manifest(output) as manifest:
            return tuple(
                RecordedImage(output / record.file, record.sha256, record.source_sha256) for record in manifest.images()
            )
    except ManifestError as error:
        raise GeneratedSetError(str(error)) from error
    except (sqlite3.Error, ValueError) as error:
        raise GeneratedSetError(f"{output}: its manifest cannot be read: {error}; restore {MANIFEST_NAME}") from error


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
