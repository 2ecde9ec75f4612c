"""No generated image may know a validation or test image, and no picture may lie in two parts."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from .errors import LeakageError
from .fingerprints import fingerprint_files
from .generated import GeneratedSet

_NAMED = 3

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


def refuse_shared_pixels(parts: Mapping[str, Sequence[Path]], *, progress: bool = False) -> int:
    """Refuse a picture that lies in two parts, whatever its file names and formats.

    A picture of a single colour says nothing of the part it came from: such ones are counted, not refused.
    Files that cannot be decoded are passed over here; reading them refuses them.

    Args:
        parts: part -> its files.
        progress: show a bar on stderr.

    Returns:
        How many files are single-coloured pictures that lie in another part too.

    Raises:
        LeakageError: names the first pictures, each with its twin, and how many there are.
    """
    paths = [path for files in parts.values() for path in files]
    part_of = [part for part, files in parts.items() for _ in files]
    same: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    prints = fingerprint_files(paths, progress=progress, label="compare pixels")
    for part, one in zip(part_of, prints, strict=True):
        if one.error is None:
            same[one.pixel_sha256].append((part, one.path))
    flat, twins = 0, []
    for files in same.values():
        first_part, first = files[0]
        other = next((path for part, path in files if part != first_part), None)
        if other is None:
            continue
        if _is_single_coloured(first):
            flat += len(files)
        else:
            twins.append(f"{first} = {other}")
    if twins:
        named = "; ".join(twins[:_NAMED]) + ("; ..." if len(twins) > _NAMED else "")
        raise LeakageError(
            f"{named}: the same pixels in two of {', '.join(parts)} ({len(twins)} such picture(s)), so a network is "
            "judged by what it has seen; remove one of each two, or divide anew with 'trainer split'"
        )
    return flat


def _is_single_coloured(path: Path) -> bool:
    with Image.open(path) as picture:
        return len(picture.convert("RGB").getcolors(maxcolors=1) or ()) == 1
