"""Which group of images goes to which part (pure)."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

from .dataset import PARTS
from .errors import SplitError

_MAX_REPAIRS = 1000
_MAX_ROUNDS = 20


def partition(
    groups: Sequence[str], labels: Sequence[str], *, val_share: float, test_share: float, seed: int
) -> dict[str, str]:
    """Assign every group to "train", "val" or "test", each class near its shares in every part.

    Groups are dealt out one by one, those of rare classes and large ones first, each to the part whose
    squared distance from its targets, relative to the class sizes, it lessens most; further rounds deal each
    again until none moves. Where every image is its
    own group the targets are met exactly: round(share x images), at least 1, the rest to train.

    Args:
        groups: (N,) name of each image's group.
        labels: (N,) class of each image.
        val_share: in [0, 1); 0 leaves the part empty.
        test_share: in [0, 1).
        seed: which of the possible assignments.

    Returns:
        Group name -> part. Every class has a group in every part whose share is over 0.

    Raises:
        SplitError: a class has fewer groups than there are parts, or its groups cannot be spread over them.
    """
    shares = {"train": 1.0 - val_share - test_share, "val": val_share, "test": test_share}
    parts = [part for part in PARTS if shares[part] > 0]
    content: dict[str, Counter[str]] = defaultdict(Counter)
    for group, label in zip(groups, labels, strict=True):
        content[group][label] += 1
    sizes = Counter(labels)
    groups_of = Counter(label for counts in content.values() for label in counts)
    for label in sorted(sizes):
        if groups_of[label] < len(parts):
            raise SplitError(
                f"class {label!r}: {groups_of[label]} group(s) of images ({sizes[label]} images), "
                f"{len(parts)} needed, one each for {', '.join(parts)}; add images, leave the class out, "
                "or set a share to 0"
            )
    targets = {label: _targets(count, shares, parts) for label, count in sizes.items()}
    held: dict[str, Counter[str]] = {part: Counter() for part in parts}
    part_of: dict[str, str] = {}

    def gain(group: str, part: str) -> float:
        # How much the squared distance from the targets falls when the group joins the part.
        return sum(
            count * (2 * (targets[label][part] - held[part][label]) - count) / sizes[label] ** 2
            for label, count in content[group].items()
        )

    def urgency(group: str) -> tuple[int, int, str]:
        rarest = min(groups_of[label] for label in content[group])
        return (rarest, -sum(content[group].values()), _chance(group, seed))

    in_order = sorted(content, key=urgency)
    for _ in range(_MAX_ROUNDS):
        moved = False
        for group in in_order:
            former = part_of.get(group)
            if former is not None:
                held[former].subtract(content[group])
            # A tie stays where it is, so that rounds come to an end.
            best = max(parts, key=lambda part: (gain(group, part), part == former))
            held[best].update(content[group])
            moved |= best != former
            part_of[group] = best
        if not moved:
            break
    _fill_gaps(part_of, content, parts, seed)
    return part_of


def _targets(count: int, shares: dict[str, float], parts: Sequence[str]) -> dict[str, int]:
    targets = {part: max(1, round(count * shares[part])) for part in parts if part != "train"}
    # Small classes with large shares: the held-out parts give back what training must have.
    while count - sum(targets.values()) < 1 and max(targets.values(), default=0) > 1:
        targets[max(targets, key=lambda part: targets[part])] -= 1
    return {**targets, "train": count - sum(targets.values())}


def _fill_gaps(part_of: dict[str, str], content: dict[str, Counter[str]], parts: Sequence[str], seed: int) -> None:
    """Move groups until every class has one in every part; changes `part_of`."""
    tally = Counter((label, part_of[group]) for group, counts in content.items() for label in counts)
    labels = sorted({label for counts in content.values() for label in counts})
    for _ in range(_MAX_REPAIRS):
        gap = next(((label, part) for label in labels for part in parts if not tally[label, part]), None)
        if gap is None:
            return
        label, part = gap
        movable = [
            (sum(counts.values()), _chance(group, seed), group)
            for group, counts in content.items()
            if label in counts and all(tally[other, part_of[group]] > 1 for other in counts)
        ]
        if not movable:
            break
        group = min(movable)[2]
        for other in content[group]:
            tally[other, part_of[group]] -= 1
            tally[other, part] += 1
        part_of[group] = part
    raise SplitError(
        f"the groups cannot be spread over {', '.join(parts)} so that every class is in each of them"
        f" (class {label!r} in {part} is one that fails); use smaller groups, or set a share to 0"
    )


def _chance(group: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\0{group}".encode()).hexdigest()
