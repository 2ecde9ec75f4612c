"""No generated image may know a validation or test image."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from .errors import LeakageError
from .generated import GeneratedSet

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# The chunk by which a generated PNG tells its origin: type, keyword, end of keyword.
_GENERATED_MARK = re.compile(rb"(?:tEXt|zTXt|iTXt)sdclient\x00")


def is_marked_generated(content: bytes) -> bool:
    """Whether a file's bytes are a PNG that carries the text chunk `sdclient`."""
    return content.startswith(_PNG_MAGIC) and _GENERATED_MARK.search(content) is not None


def hash_held_out(paths: Sequence[Path], *, progress: bool = False) -> dict[str, Path]:
    """SHA-256 of every validation and test file, each with one file that has it.

    Raises:
        LeakageError: one of the files was generated; judging by it would say nothing about real images.
    """
    known: dict[str, Path] = {}
    for path in tqdm(paths, desc="check leakage", unit="image", disable=not progress):
        content = path.read_bytes()
        if is_marked_generated(content):
            raise LeakageError(
                f"{path}: a generated image (it carries an sdclient text chunk) among validation or test images; "
                "move it out: generated images belong to training only, by --generated"
            )
        known.setdefault(hashlib.sha256(content).hexdigest(), path)
    return known


def refuse_known_sources(generated: Iterable[GeneratedSet], held_out: Mapping[str, Path]) -> None:
    """Refuse a generated set of which an image is, or descends from, a held-out file.

    Args:
        generated: the sets that would join training.
        held_out: SHA-256 -> file, of validation and test.

    Raises:
        LeakageError: names the first such image, its source and how many there are.
    """
    for generated_set in generated:
        leaks = [image for image in generated_set.images if {image.source_sha256, image.sha256} & held_out.keys()]
        if leaks:
            first = leaks[0]
            source = held_out.get(first.source_sha256) or held_out[first.sha256]
            raise LeakageError(
                f"{first.path}: made from {source}, which is held out for validation or test "
                f"({len(leaks)} of {len(generated_set.images)} images of {generated_set.path} are); "
                "number and generate from DATA/train only"
            )
