"""How groups are assigned to parts and folds."""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from trainer.data.partition import assign_groups, count_group_labels, part_sizes, partition, partition_folds
from trainer.errors import SplitError

PROBLEMS = st.tuples(
    st.lists(st.tuples(st.integers(0, 19), st.sampled_from("abc")), min_size=60, max_size=150), st.integers(0, 3)
)


def held_by(part_of: dict[str, str], groups: Sequence[str], labels: Sequence[str]) -> Counter[tuple[str, str]]:
    return Counter((label, part_of[group]) for group, label in zip(groups, labels, strict=True))


def imbalance(labels: Sequence[str], fold_of: Sequence[int], folds: int) -> float:
    """Root mean square over classes and folds of (share of the class in the fold) - 1 / folds."""
    sizes, held = Counter(labels), Counter(zip(labels, fold_of, strict=True))
    return float(
        np.sqrt(
            np.mean([(held[label, fold] / sizes[label] - 1 / folds) ** 2 for label in sizes for fold in range(folds)])
        )
    )


@given(
    sizes=st.dictionaries(st.sampled_from("abcd"), st.integers(3, 60), min_size=1),
    val_share=st.sampled_from([0.05, 0.15, 0.3]),
    test_share=st.sampled_from([0.05, 0.25, 0.4]),
    seed=st.integers(0, 5),
)
def test_single_images_meet_their_shares_exactly(
    sizes: dict[str, int], val_share: float, test_share: float, seed: int
) -> None:
    labels = [label for label, count in sizes.items() for _ in range(count)]
    groups = [f"{label}{k}" for k, label in enumerate(labels)]
    held = held_by(partition(groups, labels, val_share=val_share, test_share=test_share, seed=seed), groups, labels)
    for label, count in sizes.items():
        assert held[label, "val"] == max(1, round(count * val_share))
        assert held[label, "test"] == max(1, round(count * test_share))


@given(sizes=st.dictionaries(st.sampled_from("abc划"), st.integers(9, 40), min_size=1), seed=st.integers(0, 5))
def test_single_images_meet_counts_exactly(sizes: dict[str, int], seed: int) -> None:
    labels = [label for label, count in sizes.items() for _ in range(count)]
    groups = [f"{label}{k}" for k, label in enumerate(labels)]
    held = held_by(partition(groups, labels, val_share=1, test_share=7, seed=seed), groups, labels)
    assert held == {
        (label, part): number
        for label, count in sizes.items()
        for part, number in (("train", count - 8), ("val", 1), ("test", 7))
    }


@given(PROBLEMS)
def test_mixed_groups_reach_every_part_or_are_refused(problem: tuple[list[tuple[int, str]], int]) -> None:
    images, seed = problem
    groups, labels = [f"g{group}" for group, _ in images], [label for _, label in images]
    try:
        part_of = partition(groups, labels, val_share=0.15, test_share=6, seed=seed)
    except SplitError:
        return
    held = held_by(part_of, groups, labels)
    assert all(held[label, part] for label in set(labels) for part in ("train", "val", "test"))
    assert set(part_of) == set(groups)


@settings(max_examples=40)
@given(PROBLEMS, st.integers(2, 4), st.sampled_from([0, 0.15, 2]))
def test_folds_test_every_group_once_and_have_every_class_in_every_part(
    problem: tuple[list[tuple[int, str]], int], folds: int, val: float
) -> None:
    images, seed = problem
    groups, labels = [f"g{group}" for group, _ in images], [label for _, label in images]
    try:
        found = partition_folds(groups, labels, folds=folds, val_share=val, seed=seed)
    except SplitError:
        return
    assert len(found) == folds
    assert all(set(part_of) == set(groups) for part_of in found)
    for group in set(groups):
        assert [part_of[group] for part_of in found].count("test") == 1
    parts = ("train", "val", "test") if val else ("train", "test")
    for part_of in found:
        held = held_by(part_of, groups, labels)
        assert {part for _, part in held} == set(parts)
        assert all(held[label, part] for label in set(labels) for part in parts)


@settings(max_examples=40)
@given(PROBLEMS, st.randoms(use_true_random=False))
def test_the_order_of_the_images_changes_nothing(
    problem: tuple[list[tuple[int, str]], int], rng: random.Random
) -> None:
    images, seed = problem
    shuffled = rng.sample(images, len(images))

    def parts(pairs: list[tuple[int, str]]) -> object:
        groups, labels = [f"g{group}" for group, _ in pairs], [label for _, label in pairs]
        try:
            return partition(groups, labels, val_share=0.2, test_share=0.2, seed=seed)
        except SplitError as error:
            return str(error)

    assert parts(images) == parts(shuffled)


def test_the_outcome_is_the_same_on_every_machine_and_python() -> None:
    groups = [f"板{k % 11}" for k in range(60)]
    labels = ["划痕" if k % 3 == 0 else "Normal" for k in range(60)]
    part_of = partition(groups, labels, val_share=0.15, test_share=0.25, seed=7)
    assert "".join(part_of[f"板{k}"][1] for k in range(11)) == "rrrrraereea"
    folds = partition_folds(groups, labels, folds=3, val_share=0.15, seed=7)
    assert ["".join(one[f"板{k}"][1] for k in range(11)) for one in folds] == [
        "rrrereeaera",
        "rrrreraeaee",
        "eeerrarrrra",
    ]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_few_groups_are_dealt_about_as_well_as_trying_all_ways(seed: int) -> None:
    rng = random.Random(seed)
    groups = [f"g{k}" for k in range(8) for _ in range(rng.randint(1, 9))]
    labels = [rng.choice("aab") for _ in groups]
    content = count_group_labels(groups, labels)
    targets = {label: {"x": (count + 1) // 2, "y": count // 2} for label, count in Counter(labels).items()}

    def distance(place_of: dict[str, str]) -> float:
        held = held_by(place_of, groups, labels)
        return sum(
            ((held[label, place] - wanted[place]) / sum(wanted.values())) ** 2
            for label, wanted in targets.items()
            for place in wanted
        )

    best = min(distance(dict(zip(content, places, strict=True))) for places in product("xy", repeat=len(content)))
    assert best <= distance(assign_groups(content, targets, seed=str(seed))) <= best + 0.002


def test_classes_are_spread_better_than_by_the_splitter_of_scikit_learn() -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    rng = np.random.default_rng(0)
    ours, theirs = [], []
    for _ in range(15):
        folds, classes = int(rng.integers(2, 6)), int(rng.integers(2, 6))
        labels, groups = [], []
        for group in range(int(rng.integers(8, 20)) * classes):
            own = int(rng.integers(0, classes))
            for _ in range(1 + int(rng.geometric(0.25))):
                labels.append(f"c{own if rng.random() < 0.7 else rng.integers(0, classes)}")
                groups.append(f"g{group}")
        found = partition_folds(groups, labels, folds=folds, val_share=0, seed=0)
        tested_in = [next(k for k, one in enumerate(found) if one[group] == "test") for group in groups]
        ours.append(imbalance(labels, tested_in, folds))
        peer = [0] * len(labels)
        splitter = selection.StratifiedGroupKFold(folds)
        for fold, (_, test) in enumerate(splitter.split(np.zeros(len(labels)), labels, groups)):
            for place in test:
                peer[place] = fold
        theirs.append(imbalance(labels, peer, folds))
    assert np.mean(ours) < 0.8 * np.mean(theirs)
    assert all(one <= other + 0.005 for one, other in zip(ours, theirs, strict=True))


def test_groups_of_real_boards_come_near_their_shares(deeppcb: Path) -> None:
    with (deeppcb / "split.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    labels, groups = [row["class"] for row in rows], [row["group"] for row in rows]
    held = held_by(partition(groups, labels, val_share=0.15, test_share=0.25, seed=0), groups, labels)
    for label, count in Counter(labels).items():
        assert held[label, "val"] / count == pytest.approx(0.15, abs=0.01)
        assert held[label, "test"] / count == pytest.approx(0.25, abs=0.01)
    for fold in partition_folds(groups, labels, folds=5, val_share=0.15, seed=0):
        held = held_by(fold, groups, labels)
        for label, count in Counter(labels).items():
            assert held[label, "val"] / count == pytest.approx(0.15, abs=0.015)
            assert held[label, "test"] / count == pytest.approx(0.2, abs=0.015)


@pytest.mark.parametrize("amount", [-1, -0.1, 1.0, 20.0, 1.5, float("nan"), float("inf"), True])
def test_what_is_neither_a_share_nor_a_count_is_refused(amount: float) -> None:
    with pytest.raises(
        SplitError, match=r"^val: found .*; expected a share from 0 to less than 1 .* or a whole number"
    ):
        part_sizes(["a"] * 9, val_share=amount, test_share=0.25)


def test_one_is_one_image_of_each_class() -> None:
    assert part_sizes(["a"] * 9 + ["b"] * 5, val_share=1, test_share=0) == {
        "a": {"train": 8, "val": 1, "test": 0},
        "b": {"train": 4, "val": 1, "test": 0},
    }


def test_shares_of_a_small_class_leave_one_to_train_on_and_counts_are_refused() -> None:
    labels = ["划痕"] * 4 + ["Normal"] * 40
    assert part_sizes(labels, val_share=0.4, test_share=0.55)["划痕"] == {"train": 1, "val": 1, "test": 2}
    assert part_sizes(labels, val_share=2, test_share=0.55)["划痕"] == {"train": 1, "val": 2, "test": 1}
    with pytest.raises(SplitError, match="class '划痕': 4 images, but 4 for val alone leave none to train on"):
        part_sizes(labels, val_share=4, test_share=0.1)
    with pytest.raises(SplitError, match="class '划痕': 4 images, but 3 for val and 1 for test leave none to train on"):
        part_sizes(labels, val_share=3, test_share=0.1)
    with pytest.raises(SplitError, match=r"val 0\.5 and test 0\.5 leave nothing"):
        part_sizes(labels, val_share=0.5, test_share=0.5)


def test_classes_with_too_few_groups_are_named_with_what_to_do() -> None:
    groups = [f"板{k // 3}" for k in range(6)] + [f"n{k}" for k in range(9)]
    labels = ["划痕"] * 6 + ["Normal"] * 9
    words = r"^class '划痕': 2 group\(s\) of images \(6 images\); 3 needed, one each for train, val, test; add images, "
    with pytest.raises(SplitError, match=words):
        partition(groups, labels, val_share=0.2, test_share=0.2, seed=0)
    assert partition(groups, labels, val_share=0.2, test_share=0, seed=0)
    with pytest.raises(SplitError, match=r"4 needed, two each for 2 folds, .*; use smaller groups"):
        partition_folds(groups, labels, folds=2, val_share=0.2, seed=0)
    assert len(partition_folds(groups, labels, folds=2, val_share=0, seed=0)) == 2
    with pytest.raises(SplitError, match=r"class 'd': 1 group\(s\) .*; and 2 more; 3 needed"):
        partition(list("123456"), list("abcdef"), val_share=0.2, test_share=0.2, seed=0)


def test_groups_that_cannot_be_spread_are_refused() -> None:
    # Three groups a class must all lie apart; four groups of which each two share a class find no three parts.
    groups, labels = list("wxywxzwyz"), list("aaabbbccc")
    with pytest.raises(SplitError, match="cannot be spread over train, val, test so that every class is in each"):
        partition(groups, labels, val_share=0.3, test_share=0.3, seed=0)
    assert partition(groups[:6], labels[:6], val_share=0.3, test_share=0.3, seed=0)


def test_a_split_of_few_groups_is_refused_only_where_there_is_none() -> None:
    rng = random.Random(1)
    outcomes = Counter[bool]()
    for _ in range(40):
        groups, labels = [], []
        for group in range(rng.randint(4, 7)):
            for label in rng.sample("abc", rng.randint(1, 3)):
                number = rng.randint(1, 4)
                groups += [f"g{group}"] * number
                labels += [label] * number
        classes = [set(counts) for counts in count_group_labels(groups, labels).values()]
        possible = any(
            all(
                set().union(*(found for found, part in zip(classes, parts, strict=True) if part == k)) == set(labels)
                for k in range(3)
            )
            for parts in product(range(3), repeat=len(classes))
        )
        outcomes[possible] += 1
        if possible:
            partition(groups, labels, val_share=0.2, test_share=0.2, seed=0)
        else:
            with pytest.raises(SplitError, match=r"needed, one each|cannot be spread"):
                partition(groups, labels, val_share=0.2, test_share=0.2, seed=0)
    assert min(outcomes[True], outcomes[False]) > 10
