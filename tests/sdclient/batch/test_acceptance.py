"""Each class gets its planned number, from its own sources first, within its budget, and nothing is made in vain."""

from __future__ import annotations

from sdclient.batch.acceptance import EXHAUSTED_AFTER, Quotas, SourceTally


def certain(_: str, __: str) -> float:
    return 1.0


def doubtful(_: str, __: str) -> float:
    return 0.3


def take(quotas: Quotas, count: int = 100, acceptance: object = certain, most: int = 4) -> list[tuple[str, int]]:
    """What is asked for when nothing comes back."""
    asked = []
    for _ in range(count):
        found = quotas.next(acceptance, most)  # type: ignore[arg-type]
        if found is None:
            break
        tally, images = found
        tally.in_flight += images
        asked.append((tally.source, images))
    return asked


def judge(tally: SourceTally, *, accepted: int = 0, rejected: int = 0) -> None:
    tally.in_flight -= accepted + rejected
    tally.accepted += accepted
    tally.rejected += rejected


def test_each_source_makes_what_it_owes() -> None:
    assert take(Quotas([("pit", "1", 5), ("pit", "2", 2), ("dirt", "1", 1)], 4)) == [
        ("1", 4),
        ("2", 2),
        ("1", 1),
        ("1", 1),
    ]


def test_with_a_low_acceptance_images_are_made_one_by_one() -> None:
    assert take(Quotas([("pit", "1", 3)], 4), acceptance=doubtful) == [("1", 1)] * 3


def test_nothing_more_is_made_while_all_missing_images_are_in_flight() -> None:
    quotas = Quotas([("pit", "1", 2)], 4)
    take(quotas)
    assert quotas.next(certain, 4) is None
    judge(quotas.tally("pit", "1"), accepted=1, rejected=1)
    assert take(quotas) == [("1", 1)]


def test_the_budget_ends_a_class() -> None:
    quotas = Quotas([("pit", "1", 4)], 1.5)
    asked = 0
    while found := quotas.next(certain, 4):
        tally, images = found
        tally.in_flight += images
        asked += images
        judge(tally, rejected=images)
    assert asked == 6
    (pit,) = quotas.classes()
    assert (pit.planned, pit.budget, pit.budget_left, pit.is_complete) == (4, 6, 0, False)


def test_what_an_exhausted_source_owes_is_made_by_the_one_with_the_best_acceptance() -> None:
    quotas = Quotas([("pit", "1", 2), ("pit", "2", 1), ("pit", "3", 1)], 10)
    bad = quotas.tally("pit", "1")
    bad.rejected = EXHAUSTED_AFTER
    quotas.tally("pit", "2").accepted = quotas.tally("pit", "3").accepted = 1
    found = quotas.next(lambda _, source: {"2": 0.6, "3": 0.9}.get(source, 0.0), 4)
    assert found is not None
    assert (found[0].source, found[1]) == ("3", 1)


def test_when_all_sources_are_exhausted_the_rest_of_the_budget_is_shared() -> None:
    quotas = Quotas([("pit", "1", 2), ("pit", "2", 2)], 10)
    for source in ("1", "2"):
        quotas.tally("pit", source).rejected = EXHAUSTED_AFTER
    assert [source for source, _ in take(quotas, 4)] == ["1", "2", "1", "2"]


def test_failed_images_count_against_the_budget() -> None:
    quotas = Quotas([("pit", "1", 2)], 2)
    quotas.tally("pit", "1").failed = 4
    assert quotas.next(certain, 4) is None


def test_a_plan_that_owes_nothing_makes_nothing() -> None:
    quotas = Quotas([("pit", "1", 0)], 4)
    assert quotas.next(certain, 4) is None
    assert quotas.classes()[0].is_complete
