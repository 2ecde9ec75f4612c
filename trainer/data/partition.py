"""How many images each part gets, and which group goes into which part.

All sums are integers, so that every machine and Python version gives the same result.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from ..errors import SplitError
from .dataset import PARTS

_NAMED = 4


def partition(
    groups: Sequence[str], labels: Sequence[str], *, val_share: float, test_share: float, seed: int
) -> dict[str, str]:
    """Assign every group to "train", "val" or "test", with each class close to the wanted size in every part.

    `groups` and `labels` have the group and the class of each of N images; the shares are as in `part_sizes`.

    Returns:
        Group -> part. Every class has a group in every part of non-zero share.

    Raises:
        SplitError: as `part_sizes`; a class has fewer groups than there are parts, or its groups cannot be spread.
    """
    require_groups(groups, labels, val_share=val_share, test_share=test_share)
    sizes = part_sizes(labels, val_share=val_share, test_share=test_share)
    return assign_groups(count_group_labels(groups, labels), sizes, seed=str(seed))


def partition_folds(
    groups: Sequence[str], labels: Sequence[str], *, folds: int, val_share: float, seed: int
) -> list[dict[str, str]]:
    """Assign every group to the test part of one fold, and to "train" or "val" in the other folds.

    `val_share` is of all images of a class, but taken from those outside the fold's test part.

    Returns:
        For each fold, group -> part. Each class has a group in each part of each fold.

    Raises:
        SplitError: a class has too few groups, or its groups cannot be spread.
    """
    require_folds(groups, labels, folds=folds, val_share=val_share)
    names = [str(fold) for fold in range(folds)]
    content = count_group_labels(groups, labels)
    least = 2 if folds == 2 and val_share > 0 else 1
    test_fold = assign_groups(content, _even_sizes(labels, names), seed=f"{seed}/folds", least=least)
    found = []
    for name in names:
        rest = {group: counts for group, counts in content.items() if test_fold[group] != name}
        left = Counter(label for group, label in zip(groups, labels, strict=True) if group in rest)
        sizes = {}
        for label, wanted in val_sizes(labels, val_share=val_share).items():
            if left[label] <= wanted:
                if is_count(val_share):
                    raise SplitError(
                        f"class {label!r}: {left[label]} images are left beside the test part of fold {name}, but "
                        f"{wanted} for val leave none to train on; ask for fewer, or for a share such as 0.15"
                    )
                wanted = left[label] - 1
            sizes[label] = {"train": left[label] - wanted, "val": wanted}
        try:
            part_of = assign_groups(rest, sizes, seed=f"{seed}/val/{name}")
        except SplitError as error:
            raise SplitError(f"fold {name}: {error}") from error
        found.append({group: part_of.get(group, "test") for group in content})
    return found


def val_sizes(labels: Iterable[str], *, val_share: float) -> dict[str, int]:
    """Class -> wanted images in the val part of every fold; `val_share` as in `part_sizes`.

    Raises:
        SplitError: neither a share nor a count, or more than a class has.
    """
    check_amounts(val_share=val_share)
    return {label: _wanted(label, total, "val", val_share) for label, total in sorted(Counter(labels).items())}


def part_sizes(labels: Iterable[str], *, val_share: float, test_share: float) -> dict[str, dict[str, int]]:
    """Class -> part -> wanted images; whole groups may allow only something close.

    A share of each class is in [0, 1); an `int` of 1 or more is a number of images of each class instead. A share gives
    round(share x images), at least 1, but less where nothing would be left to train on; 0 leaves the part empty.

    Raises:
        SplitError: neither a share nor a count, nothing left to train on, or fewer images in a class than asked.
    """
    check_amounts(val_share=val_share, test_share=test_share)
    amounts = {"val": val_share, "test": test_share}
    sizes = {}
    for label, total in sorted(Counter(labels).items()):
        wanted = {part: _wanted(label, total, part, amount) for part, amount in amounts.items()}
        # Small classes with large shares: the held-out parts give back images that training needs.
        shares = [part for part in wanted if not is_count(amounts[part])]
        while sum(wanted.values()) >= total and any(wanted[part] > 1 for part in shares):
            wanted[max(shares, key=lambda part: wanted[part])] -= 1
        if sum(wanted.values()) >= total and any(is_count(amount) for amount in amounts.values()):
            asked = " and ".join(f"{count} for {part}" for part, count in wanted.items() if count)
            raise SplitError(
                f"class {label!r}: {total} images, but {asked} leave none to train on; "
                "ask for fewer, or for shares such as 0.15"
            )
        sizes[label] = {"train": total - sum(wanted.values()), **wanted}
    return sizes


def check_amounts(**amounts: float) -> None:
    """Refuse `<part>_share` that is neither a share in [0, 1) nor a count, and shares that leave nothing to train on.

    Raises:
        SplitError: names the part and what was found.
    """
    for name, amount in amounts.items():
        if is_count(amount) or (not isinstance(amount, bool) and 0 <= amount < 1):
            continue
        raise SplitError(
            f"{name.removesuffix('_share')}: found {amount}; expected a share from 0 to less than 1 (0.15 is 15 %), "
            "or a whole number without a point: images of each class"
        )
    shares = {name.removesuffix("_share"): amount for name, amount in amounts.items() if not is_count(amount)}
    if math.fsum(shares.values()) >= 1:
        named = " and ".join(f"{name} {share}" for name, share in shares.items())
        raise SplitError(f"{named} leave nothing to train on; expected less than 1 together")


def is_count(amount: float) -> bool:
    """Whether an amount is a number of images and not a share: 1 is one image of each class, 1.0 is invalid."""
    return isinstance(amount, int) and not isinstance(amount, bool) and amount >= 1


def require_groups(
    groups: Sequence[str], labels: Sequence[str], basis: str = "", *, val_share: float, test_share: float
) -> None:
    """Refuse classes with fewer groups than parts; `basis` names, for the message, what the groups come from.

    Raises:
        SplitError: as `part_sizes`; or names the classes, their groups and what to do.
    """
    part_sizes(labels, val_share=val_share, test_share=test_share)
    amounts = {"train": 1.0, "val": val_share, "test": test_share}
    parts = [part for part in PARTS if amounts[part] > 0]
    why = f"one each for {', '.join(parts)}"
    advice = "add images, leave the class out, use smaller groups, or set a share to 0"
    _require(groups, labels, len(parts), why, advice, basis)


def require_folds(
    groups: Sequence[str], labels: Sequence[str], basis: str = "", *, folds: int, val_share: float
) -> None:
    """Refuse classes with fewer groups than the folds need; `basis` as in `require_groups`.

    Raises:
        SplitError: fewer than 2 folds, as `val_sizes`; or names the classes, their groups and what to do.
    """
    if folds < 2:
        raise SplitError(f"folds: found {folds}; expected 2 or more, 5 as a rule")
    val_sizes(labels, val_share=val_share)
    if not is_count(val_share) and val_share >= 1 - 1 / folds:
        raise SplitError(
            f"val {val_share} and a test part of 1/{folds} leave nothing to train on; expected a val share of less "
            f"than {1 - 1 / folds:.2f}"
        )
    if folds == 2 and val_share > 0:
        # With two folds, each trains on the test part of the other, which so needs one group for train and one for val.
        why, needed = "two each for 2 folds, since train and val share what a fold does not test", 4
    else:
        why, needed = f"one each for the test parts of {folds} folds", folds
    fewest = min(_groups_of(groups, labels).values(), default=0)
    instead = f"--folds {fewest}, " if 3 <= fewest < needed else ""
    _require(groups, labels, needed, why, f"use {instead}smaller groups, add images, or leave the class out", basis)


def _require(groups: Sequence[str], labels: Sequence[str], needed: int, why: str, advice: str, basis: str) -> None:
    images, found = Counter(labels), _groups_of(groups, labels)
    short = [label for label in sorted(found) if found[label] < needed]
    if short:
        named = "; ".join(
            f"class {label!r}: {found[label]} group(s) of images ({images[label]} images)" for label in short[:_NAMED]
        )
        more = f"; and {len(short) - _NAMED} more" if len(short) > _NAMED else ""
        grouped = f" (groups: {basis})" if basis else ""
        raise SplitError(f"{named}{more}; {needed} needed, {why}{grouped}; {advice}")


def _groups_of(groups: Sequence[str], labels: Sequence[str]) -> Counter[str]:
    return Counter(label for _, label in set(zip(groups, labels, strict=True)))


def _wanted(label: str, total: int, part: str, amount: float) -> int:
    if not is_count(amount):
        return max(1, round(total * amount)) if amount > 0 else 0
    if amount >= total:
        raise SplitError(
            f"class {label!r}: {total} images, but {int(amount)} for {part} alone leave none to train on; "
            "ask for fewer, or for a share such as 0.15"
        )
    return int(amount)


def _even_sizes(labels: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Each class evenly over the bins. Remainders go to the next bins in turn, so that the bins stay equal in sum."""
    sizes, turn = {}, 0
    for label, total in sorted(Counter(labels).items()):
        each, over = divmod(total, len(names))
        extra = {(turn + k) % len(names) for k in range(over)}
        turn += over
        sizes[label] = {name: each + (place in extra) for place, name in enumerate(names)}
    return sizes


_MAX_ROUNDS = 20
_MAX_REPAIRS = 1000
_MAX_TRIES = 10
_MAX_SWAPS = 100_000
"""Pairs of groups tried per round; up to about 450 groups these are all pairs."""


def count_group_labels(groups: Sequence[str], labels: Sequence[str]) -> dict[str, Counter[str]]:
    """Group -> class -> images, from the group and the class of each image."""
    content: dict[str, Counter[str]] = defaultdict(Counter)
    for group, label in zip(groups, labels, strict=True):
        content[group][label] += 1
    return dict(content)


def assign_groups(
    content: Mapping[str, Mapping[str, int]], targets: Mapping[str, Mapping[str, int]], *, seed: str, least: int = 1
) -> dict[str, str]:
    """Assign every group to a bin so that each class is in every bin.

    Groups are assigned one by one, rare classes and large groups first, each to the bin where it reduces the squared
    distance from the targets most (relative to the class sizes). Further rounds move single groups or swap two, until
    nothing improves. When every image is its own group the targets are met exactly.

    Args:
        content: group -> class -> images.
        targets: class -> bin -> images wanted; every class names the same bins. A bin of 0 gets no group.
        seed: chooses among equally good assignments.
        least: groups of each class that every bin needs.

    Returns:
        Group -> bin.

    Raises:
        SplitError: the groups cannot be spread so that every class is in each of its bins.
    """
    targets = {label: {place: size for place, size in wanted.items() if size} for label, wanted in targets.items()}
    gaps = []
    for salt in range(_MAX_TRIES):
        assignment = _Assignment(content, targets, seed if salt == 0 else f"{seed}/{salt}", least)
        assignment.assign_all()
        gap = assignment.fill_gaps()
        if gap is None:
            assignment.improve()
            return assignment.bin_of
        gaps.append(gap)
    label, place = gaps[0]
    raise SplitError(
        f"the groups cannot be spread over {', '.join(targets[label])} so that every class is in each of them"
        f" (class {label!r} in {place} is one that fails); use smaller groups, or fewer parts"
    )


class _Assignment:
    """The bin of each group, and how far the bins are from their targets."""

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
        self._groups: Counter[tuple[str, str]] = Counter()
        self._tie_break = {group: hashlib.sha256(f"{seed}\0{group}".encode()).hexdigest() for group in content}
        groups_of = Counter(label for counts in content.values() for label in counts)
        self._order = sorted(
            content,
            key=lambda group: (
                min(groups_of[label] for label in content[group]),
                -sum(content[group].values()),
                self._tie_break[group],
            ),
        )
        self.bin_of: dict[str, str] = {}

    def assign_all(self) -> None:
        """Place every group, then improve."""
        for group in self._order:
            self._put(group, self._best(group, None))
        self.improve()

    def improve(self) -> None:
        """Move single groups and swap pairs while that helps; no bin loses a class's last group."""
        for _ in range(_MAX_ROUNDS):
            if not self._move_each() and not self._swap_pairs():
                return

    def _move_each(self) -> bool:
        moved = False
        for group in self._order:
            former = self.bin_of[group]
            if any(self._groups[label, former] <= self._least for label in self._content[group]):
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
        # Neighbours in this order are similar, so that swapping them makes small steps.
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
        """Whether swapping two groups reduces the squared distance, with no class missing in a bin afterwards."""
        here, there = self.bin_of[one], self.bin_of[other]
        mine, theirs = self._content[one], self._content[other]
        rise = 0
        for label in {**mine, **theirs}:
            less = mine.get(label, 0) - theirs.get(label, 0)
            rise += less * (less - self._excess(label, here) + self._excess(label, there)) * self._weight[label]
        return (
            rise < 0
            and all(label in theirs or self._groups[label, here] > self._least for label in mine)
            and all(label in mine or self._groups[label, there] > self._least for label in theirs)
        )

    def _excess(self, label: str, place: str) -> int:
        return self._held[label][place] - self._targets[label][place]

    def fill_gaps(self) -> tuple[str, str] | None:
        """Move groups until every class is in each of its bins; return a (class, bin) that stays empty, if any."""
        labels = sorted(self._targets)
        for _ in range(_MAX_REPAIRS):
            gap = next((pair for pair in product(labels, self._bins) if self._groups[pair] < self._least), None)
            if gap is None:
                return None
            label, place = gap
            movable = [
                (sum(counts.values()), self._tie_break[group], group)
                for group, counts in self._content.items()
                if label in counts and all(self._groups[other, self.bin_of[group]] > self._least for other in counts)
            ]
            if not movable:
                return gap
            group = min(movable)[2]
            self._take(group)
            self._put(group, place)
        return gap

    def _best(self, group: str, former: str | None) -> str:
        """The bin that gains most; on a tie the former bin, so that the rounds end."""
        gains = {place: self._gain(group, place) for place in self._bins}
        best = max(gains, key=lambda place: gains[place])
        return former if former is not None and gains[former] == gains[best] else best

    def _gain(self, group: str, place: str) -> int:
        """How much the squared distance from the targets falls if the group joins the bin."""
        return sum(
            count * (-2 * self._excess(label, place) - count) * self._weight[label]
            for label, count in self._content[group].items()
        )

    def _put(self, group: str, place: str) -> None:
        self.bin_of[group] = place
        for label, count in self._content[group].items():
            self._held[label][place] += count
            self._groups[label, place] += 1

    def _take(self, group: str) -> None:
        place = self.bin_of.pop(group)
        for label, count in self._content[group].items():
            self._held[label][place] -= count
            self._groups[label, place] -= 1
