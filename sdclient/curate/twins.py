"""Near duplicates: which pairs of images are worth comparing, and which of two alike is rejected. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from sdcore.images.folders import natural_key
from sdcore.images.hashes import close_pairs

from ..manifest_curation import ACCEPTED
from ..manifest_fingerprints import Fingerprint
from .ledger import ImageRow

HASH_RADIUS = 40
"""Bits of 256 that the hashes of near duplicates may differ by; a shift by one pixel alone changes 25, at times 40."""
MOST_TWINS = 16
"""Pairs compared for each image, the nearest by hash; among many copies of one picture that is enough to find one."""

Pair = tuple[str, str]
"""(file, file that was there before)."""


def pairs_to_compare(prints: Mapping[str, Fingerprint], class_of: Mapping[str, str]) -> list[Pair]:
    """Pairs within a class whose hashes are close and of which at least one was never compared.

    Args:
        prints: fingerprints by file.
        class_of: class by file; others are passed over.
    """
    by_class: dict[str, list[str]] = {}
    for file in prints:
        if file in class_of:
            by_class.setdefault(class_of[file], []).append(file)
    pairs: list[Pair] = []
    for files in by_class.values():
        former = [file for file in files if prints[file].twins is not None]
        ordered = [*former, *(file for file in files if prints[file].twins is None)]
        hashes = [prints[file].hash for file in ordered]
        close = close_pairs(hashes, radius=HASH_RADIUS, most=MOST_TWINS, first_new=len(former))
        pairs.extend((ordered[pair.later], ordered[pair.earlier]) for pair in close)
    return pairs


def duplicates(
    images: Sequence[ImageRow],
    rejected: Iterable[str],
    prints: Mapping[str, Fingerprint],
    limit_of: Callable[[str, str], float],
    by_person: Mapping[str, str],
) -> set[str]:
    """Files that look like one that is accepted and was made before, or that a person accepted.

    Args:
        images: of one class.
        rejected: files that have other reasons already; nobody's duplicate is measured against them.
        prints: fingerprints by file.
        limit_of: (file, file) -> the likeness from which on the two are duplicates.
        by_person: what a person decided, by file; goes first.
    """
    alike = _neighbours(images, prints)
    accepted = {file for file, verdict in by_person.items() if verdict == ACCEPTED}
    out = set(rejected)
    found = set()
    for one in sorted(images, key=lambda image: (image.created_at, natural_key(image.file))):
        if by_person.get(one.file) == ACCEPTED:
            continue
        near = alike.get(one.file, {}).items()
        if any(other in accepted and likeness >= limit_of(one.file, other) for other, likeness in near):
            found.add(one.file)
        elif one.file not in out and one.file not in by_person:
            accepted.add(one.file)
    return found


def _neighbours(images: Sequence[ImageRow], prints: Mapping[str, Fingerprint]) -> dict[str, dict[str, float]]:
    alike: dict[str, dict[str, float]] = {}
    for one in images:
        for twin in (prints[one.file].twins or ()) if one.file in prints else ():
            alike.setdefault(one.file, {})[twin.file] = twin.likeness
            alike.setdefault(twin.file, {})[one.file] = twin.likeness
    return alike
