"""Pictures that are there more than once: the same pixels, or the same look; within a split and across."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from sdcore.images.hashes import HashIndex

from .findings import Finding, Seen
from .grids import Grids

LEAST_CONTRAST = 2.0
"""Grey levels; a flatter picture's perceptual hash means nothing."""

_BLOCK = 256

_Places = npt.NDArray[np.int64]


def find_copies(pictures: Sequence[Seen]) -> list[Finding]:
    """Groups of equal pixels: across splits, within one, and under two labels.

    A test set that names no defects has words of its own ("Abnormal"), which contradict no class; labels count
    as contradicting when both are among those of training, or both stand in one split.
    """
    groups: defaultdict[str, list[Seen]] = defaultdict(list)
    for picture in pictures:
        groups[picture.print.pixel_sha256].append(picture)
    known = {picture.label for picture in pictures if picture.part in ("train", "all")}
    findings = []
    for group in groups.values():
        if len(group) < 2:
            continue
        files = tuple(one.file for one in group)
        same_bytes = len({one.print.sha256 for one in group}) == 1
        words = f"{len(group)} files of {'equal bytes' if same_bytes else 'equal pixels'}"
        words += ", nearly blank" if group[0].print.contrast < LEAST_CONTRAST else ""
        parts = _listed(one.part for one in group)
        findings.append(
            Finding("copy_across", f"{words}, in {', '.join(parts)}", files)
            if len(parts) > 1
            else Finding("copy", words, files)
        )
        if _contradict(group, known):
            labels = _listed(one.label for one in group)
            findings.append(Finding("contradiction", f"{words}, in {', '.join(labels)}", files))
    return findings


def find_look_alikes(pictures: Sequence[Seen], *, max_distance: int) -> list[Finding]:
    """Groups of pictures that look alike but are no copies, and held-out pictures that look like a training one.

    Two look alike when their perceptual hashes differ in at most `max_distance` bits and their 16 x 16 colour means
    on average by at most a quarter of what these vary within the plainer of the two, from 2 to 12 grey levels.
    Each group gathers around its first picture, so that no chain of small steps joins what is far apart. Of copies
    the first of each split stands for all; blank pictures take no part.

    No pair is compared that an index does not suggest (`sdcore.images.hashes`); memory grows with the number of
    pictures.
    """
    seen: set[tuple[str, str]] = set()
    kept = []
    for picture in pictures:
        key = (picture.part, picture.print.pixel_sha256)
        if picture.print.contrast >= LEAST_CONTRAST and key not in seen:
            seen.add(key)
            kept.append(picture)
    if len(kept) < 2:
        return []
    search = _Search(kept, max_distance)
    held_out, train = (
        np.array([place for place, one in enumerate(kept) if one.part in parts], dtype=np.int64)
        for parts in (("val", "test"), ("train",))
    )
    findings = [
        Finding("near_across", _bits(bits), (kept[place].file, kept[other].file), ("held out", "training"))
        for place, other, bits in search.nearest(held_out, train)
    ]
    for part in _listed(one.part for one in kept):
        places = np.array([place for place, one in enumerate(kept) if one.part == part], dtype=np.int64)
        for members, distances in search.groups(places):
            labels = _listed(kept[place].label for place in members)
            words = f"{len(members)} look-alikes" + (f" in {part}" if part not in ("all", "") else "")
            words += f", in {len(labels)} classes: {', '.join(labels)}" if len(labels) > 1 else ""
            findings.append(
                Finding(
                    "near",
                    words,
                    tuple(kept[place].file for place in members),
                    ("first", *(_bits(bits) for bits in distances)),
                )
            )
    return findings


class _Search:
    """Looks for look-alikes among pictures; places are theirs in the list given."""

    def __init__(self, pictures: Sequence[Seen], max_distance: int) -> None:
        self._hashes = np.array([[one.print.perceptual_hash] for one in pictures], dtype=np.uint64)
        self._grids = Grids([one.print.grid for one in pictures])
        self._pixels = [one.print.pixel_sha256 for one in pictures]
        self._max_distance = max_distance

    def nearest(self, places: _Places, among: _Places) -> Iterator[tuple[int, int, int]]:
        """(place, its look-alike of fewest bits, the first of equals, its bits), where there is one and no copy."""
        index = HashIndex(self._hashes[among], radius=self._max_distance)
        for place, (near, bits) in zip(places.tolist(), index.near(self._hashes[places]), strict=True):
            order = np.argsort(bits, kind="stable")
            for start in range(0, len(order), _BLOCK):
                block = order[start : start + _BLOCK]
                alike = block[self._grids.agree(place, among[near[block]])]
                if alike.size:
                    other = int(among[near[alike[0]]])
                    if self._pixels[other] != self._pixels[place]:
                        yield place, other, int(bits[alike[0]])
                    break

    def groups(self, places: _Places) -> Iterator[tuple[list[int], list[int]]]:
        """Members of each group of two or more, its first in front, and the bits of the others."""
        hashes = self._hashes[places]
        index = HashIndex(hashes, radius=self._max_distance)
        is_free = np.ones(len(places), dtype=np.bool_)
        while (firsts := np.flatnonzero(is_free)[:_BLOCK]).size:
            for first, (near, bits) in zip(firsts.tolist(), index.near(hashes[firsts]), strict=True):
                if not is_free[first]:
                    continue
                is_free[first] = False
                left = is_free[near]
                if not left.any():  # as for most: nothing near it but itself
                    continue
                near, bits = near[left], bits[left]
                agree = self._grids.agree(int(places[first]), places[near])
                near, bits = near[agree], bits[agree]
                if near.size:
                    yield [int(places[first]), *places[near].tolist()], bits.tolist()
                    is_free[near] = False


def _contradict(group: Sequence[Seen], known: set[str]) -> bool:
    labelled = [one for one in group if one.label]
    if len({one.label for one in labelled if one.label in known}) > 1:
        return True
    return any(len({one.label for one in labelled if one.part == part}) > 1 for part in {one.part for one in labelled})


def _listed(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _bits(bits: int) -> str:
    return f"{bits} bit{'' if bits == 1 else 's'} apart"
