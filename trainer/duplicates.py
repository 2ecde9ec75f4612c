"""Pictures that are there more than once: the same pixels, or the same look; within a split and across."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from .findings import Finding, Seen
from .fingerprints import count_bits

LEAST_CONTRAST = 2.0
"""Grey levels; a flatter picture's perceptual hash means nothing."""
MOST_GRID_DIFFERENCE = 12.0
"""Grey levels that the 16 x 16 colour means of look-alikes may differ on average.

The hash alone takes simple pictures, such as one trace on a bare board, for others that are far from them.
"""
MOST_GRID_SHARE = 0.25
"""The same, as a share of what the means vary within the plainer of the two: a small spot on white must fit, too."""
LEAST_GRID_DIFFERENCE = 2.0
"""What compression and rounding may do to the plainest picture."""

_BLOCK = 256


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

    Time grows with the square of the number of pictures (20,000 take a few seconds), memory with the number.
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
    held_out = [place for place, one in enumerate(kept) if one.part in ("val", "test")]
    train = np.array([place for place, one in enumerate(kept) if one.part == "train"], dtype=np.int64)
    findings = []
    if train.size:
        for place in held_out:
            found = search.nearest(place, train)
            if found is not None:
                other, bits = found
                findings.append(
                    Finding("near_across", _bits(bits), (kept[place].file, kept[other].file), ("held out", "training"))
                )
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
        self._hashes = np.array([one.print.perceptual_hash for one in pictures], dtype=np.uint64)
        self._grids = np.stack([np.frombuffer(one.print.grid, dtype=np.uint8) for one in pictures])
        # One by one: all at once would take eight times their memory.
        cells = (grid.reshape(-1, 3) for grid in self._grids)
        varied = np.array([np.abs(one - one.mean(axis=0)).mean() for one in cells])
        self._most = np.clip(MOST_GRID_SHARE * varied, LEAST_GRID_DIFFERENCE, MOST_GRID_DIFFERENCE)
        self._pixels = [one.print.pixel_sha256 for one in pictures]
        self._max_distance = max_distance

    def nearest(self, place: int, among: npt.NDArray[np.int64]) -> tuple[int, int] | None:
        """The look-alike of fewest bits, the first of equals, and its bits; None when there is none or a copy."""
        bits = count_bits(self._hashes[among] ^ self._hashes[place])
        near = np.flatnonzero(bits <= self._max_distance)
        near = near[np.argsort(bits[near], kind="stable")]
        for start in range(0, len(near), _BLOCK):
            block = near[start : start + _BLOCK]
            alike = block[self._grids_agree(place, among[block])]
            if alike.size:
                other = int(among[alike[0]])
                return None if self._pixels[other] == self._pixels[place] else (other, int(bits[alike[0]]))
        return None

    def groups(self, places: npt.NDArray[np.int64]) -> Iterable[tuple[list[int], list[int]]]:
        """Members of each group of two or more, its first in front, and the bits of the others."""
        free = places
        while free.size > 1:
            first, free = int(free[0]), free[1:]
            bits = count_bits(self._hashes[free] ^ self._hashes[first])
            near = np.flatnonzero(bits <= self._max_distance)
            near = near[self._grids_agree(first, free[near])]
            if near.size:
                yield [first, *free[near].tolist()], bits[near].tolist()
                free = np.delete(free, near)

    def _grids_agree(self, place: int, others: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        difference = np.abs(self._grids[others].astype(np.int16) - self._grids[place])
        return np.asarray(difference.mean(axis=1) <= np.minimum(self._most[others], self._most[place]))


def _contradict(group: Sequence[Seen], known: set[str]) -> bool:
    labelled = [one for one in group if one.label]
    if len({one.label for one in labelled if one.label in known}) > 1:
        return True
    return any(len({one.label for one in labelled if one.part == part}) > 1 for part in {one.part for one in labelled})


def _listed(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _bits(bits: int) -> str:
    return f"{bits} bit{'' if bits == 1 else 's'} apart"
