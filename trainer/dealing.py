"""Deal groups of images out to bins so that each class comes near its target in every bin (pure).

Whole numbers only, so that every machine and every Python gives the same answer.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from .errors import SplitError

_MAX_ROUNDS = 20
_MAX_REPAIRS = 1000
_MAX_TRIES = 10
_MAX_SWAPS = 100_000
"""Pairs of groups looked at in a round; all there are up to about 450 groups."""


def contents(groups: Sequence[str], labels: Sequence[str]) -> dict[str, Counter[str]]:
    """Group -> class -> images, from the group and the class of each image."""
    content: dict[str, Counter[str]] = defaultdict(Counter)
    for group, label in zip(groups, labels, strict=True):
        content[group][label] += 1
    return dict(content)


def deal(
    content: Mapping[str, Mapping[str, int]], targets: Mapping[str, Mapping[str, int]], *, seed: str, least: int = 1
) -> dict[str, str]:
    """Assign every group to a bin, no class missing in a bin.

    Groups are dealt out one by one, those of rare classes and large ones first, each to the bin whose squared
    distance from its targets, relative to the class sizes, it lessens most; further rounds move single groups, or
    let two change places, until nothing gains. Where every image is its own group the targets are met exactly.

    Args:
        content: group -> class -> images.
        targets: class -> bin -> images wanted, 1 or more; every class names the same bins.
        seed: which of the assignments that are equally good.
        least: groups of each class that every bin must have.

    Returns:
        Group -> bin.

    Raises:
        SplitError: the groups cannot be spread so that every class is in each of its bins.
    """
    gaps = []
    for salt in range(_MAX_TRIES):
        table = _Table(content, targets, seed if salt == 0 else f"{seed}/{salt}", least)
        table.deal_out()
        gap = table.fill_gaps()
        if gap is None:
            table.improve()
            return table.bin_of
        gaps.append(gap)
    label, place = gaps[0]
    raise SplitError(
        f"the groups cannot be spread over {', '.join(targets[label])} so that every class is in each of them"
        f" (class {label!r} in {place} is one that fails); use smaller groups, or fewer parts"
    )


class _Table:
    """Which group lies in which bin, and how good that is."""

    def __init__(
        self, content: Mapping[str, Mapping[str, int]], targets: Mapping[str, Mapping[str, int]], seed: str, least: int
    ) -> None:
        sizes = {label: sum(wanted.values()) for label, wanted in targets.items()}
        common = math.lcm(*(size * size for size in sizes.values()))
        self._weight = {label: common // (size * size) for label, size in sizes.items()}
        self._targets = targets
        self._least = least
        self._bins = list(next(iter(targets.values()), {}))
        self._held = {label: dict.fromkeys(self._bins, 0) for label in targets}
        self._content = content
        self._tally: Counter[tuple[str, str]] = Counter()
        self._chance = {group: hashlib.sha256(f"{seed}\0{group}".encode()).hexdigest() for group in content}
        groups_of = Counter(label for counts in content.values() for label in counts)
        self._order = sorted(
            content,
            key=lambda group: (
                min(groups_of[label] for label in content[group]),
                -sum(content[group].values()),
                self._chance[group],
            ),
        )
        self.bin_of: dict[str, str] = {}

    def deal_out(self) -> None:
        """Place every group, then improve."""
        for group in self._order:
            self._put(group, self._best(group, None))
        self.improve()

    def improve(self) -> None:
        """Move single groups and swap pairs while that helps and takes no class's last group out of a bin."""
        for _ in range(_MAX_ROUNDS):
            if not self._move_each() and not self._swap_pairs():
                return

    def _move_each(self) -> bool:
        moved = False
        for group in self._order:
            former = self.bin_of[group]
            if any(self._tally[label, former] <= self._least for label in self._content[group]):
                continue
            self._take(group)
            best = self._best(group, former)
            self._put(group, best)
            moved |= best != former
        return moved

    def _swap_pairs(self) -> bool:
        if not any(self._excess(label, place) for label in self._targets for place in self._bins):
            return False
        swapped = False
        # Neighbours in this order are alike, so that swapping them makes small steps.
        reach = max(1, _MAX_SWAPS // max(1, len(self._order)))
        for position, one in enumerate(self._order):
            for other in self._order[position + 1 : position + 1 + reach]:
                if self.bin_of[one] != self.bin_of[other] and self._gains_by_swap(one, other):
                    here, there = self.bin_of[one], self.bin_of[other]
                    self._take(one)
                    self._take(other)
                    self._put(one, there)
                    self._put(other, here)
                    swapped = True
        return swapped

    def _gains_by_swap(self, one: str, other: str) -> bool:
        """Whether the squared distance falls when two groups change places, and no class goes missing."""
        here, there = self.bin_of[one], self.bin_of[other]
        mine, theirs = self._content[one], self._content[other]
        rise = 0
        for label in {**mine, **theirs}:
            less = mine.get(label, 0) - theirs.get(label, 0)
            rise += less * (less - self._excess(label, here) + self._excess(label, there)) * self._weight[label]
        return (
            rise < 0
            and all(label in theirs or self._tally[label, here] > self._least for label in mine)
            and all(label in mine or self._tally[label, there] > self._least for label in theirs)
        )

    def _excess(self, label: str, place: str) -> int:
        return self._held[label][place] - self._targets[label][place]

    def fill_gaps(self) -> tuple[str, str] | None:
        """Move groups until every class is in each of its bins; the (class, bin) that stays empty, if one does."""
        labels = sorted(self._targets)
        for _ in range(_MAX_REPAIRS):
            gap = next(
                ((label, place) for label in labels for place in self._bins if self._tally[label, place] < self._least),
                None,
            )
            if gap is None:
                return None
            label, place = gap
            movable = [
                (sum(counts.values()), self._chance[group], group)
                for group, counts in self._content.items()
                if label in counts and all(self._tally[other, self.bin_of[group]] > self._least for other in counts)
            ]
            if not movable:
                return gap
            group = min(movable)[2]
            self._take(group)
            self._put(group, place)
        return gap

    def _best(self, group: str, former: str | None) -> str:
        """The bin that gains most; a tie stays where it is, so that rounds come to an end."""
        gains = {place: self._gain(group, place) for place in self._bins}
        most = max(gains.values())
        if former is not None and gains[former] == most:
            return former
        return next(place for place, gain in gains.items() if gain == most)

    def _gain(self, group: str, place: str) -> int:
        """How much the squared distance from the targets falls when the group joins the bin."""
        total = 0
        for label, count in self._content[group].items():
            missing = self._targets[label][place] - self._held[label][place]
            total += count * (2 * missing - count) * self._weight[label]
        return total

    def _put(self, group: str, place: str) -> None:
        self.bin_of[group] = place
        for label, count in self._content[group].items():
            self._held[label][place] += count
            self._tally[label, place] += 1

    def _take(self, group: str) -> None:
        place = self.bin_of.pop(group)
        for label, count in self._content[group].items():
            self._held[label][place] -= count
            self._tally[label, place] -= 1
