"""Who gives how many images, and on which good ones they go."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sdclient.compose import share_evenly
from sdclient.compose.plan import BackgroundOrder, is_on_own
from sdclient.sources import Source


def sources(**counts: int) -> list[Source]:
    return [Source(name, n, Path(f"{n}.png")) for name, count in counts.items() for n in range(1, count + 1)]


def test_a_class_is_shared_out_over_its_sources_and_normal_gives_none() -> None:
    owed = share_evenly(sources(pit=3, scratch=40, Normal=9), 10)
    counts = Counter()  # type: ignore[var-annotated]
    for source, count in owed:
        counts[source.class_name] += count
    assert counts == {"pit": 10, "scratch": 10}
    assert [count for source, count in owed if source.class_name == "pit"] == [4, 3, 3]
    assert max(count for source, count in owed if source.class_name == "scratch") == 1


def firsts(good: int, numbers: int, ks: int, **deck: object) -> list[int]:
    made = BackgroundOrder(good, **{"run_seed": 0, "class_name": "pit", **deck})  # type: ignore[arg-type]
    return [next(made.tries(n, k, 0, 1)) for n in range(1, numbers + 1) for k in range(1, ks + 1)]


def test_no_good_image_is_used_much_more_often_than_another() -> None:
    for good, numbers, ks in [(50, 20, 10), (100, 13, 23), (7, 40, 5), (300, 100, 3)]:
        for name in ("pit", "scratch"):
            uses = Counter(firsts(good, numbers, ks, class_name=name))
            even = numbers * ks / good
            assert max(uses.values()) <= even + 3
            assert min(uses[place] for place in range(good)) >= even - 3


def test_a_random_draw_would_have_favourites() -> None:
    import random

    draw = random.Random(0)
    random_uses = Counter(draw.randrange(100) for _ in range(300))
    even_uses = Counter(firsts(100, 100, 3))
    assert max(even_uses.values()) < max(random_uses.values())


def test_seeds_and_classes_have_orders_of_their_own() -> None:
    plain = firsts(50, 10, 2)
    assert plain == firsts(50, 10, 2)
    assert plain != firsts(50, 10, 2, run_seed=1)
    assert plain != firsts(50, 10, 2, class_name="scratch")


def test_more_images_or_sources_leave_the_first_ones_draws_as_they_are() -> None:
    assert firsts(50, 10, 2) == firsts(50, 12, 2)[:20]


def test_further_tries_are_other_images_up_to_all_there_are() -> None:
    deck = BackgroundOrder(5, run_seed=0, class_name="pit")
    assert sorted(deck.tries(1, 1, 3, 20)) == [0, 1, 2, 3, 4]
    assert list(deck.tries(1, 1, 3, 3)) == list(deck.tries(1, 1, 3, 20))[:3]


def test_both_means_by_turns() -> None:
    turns = [[is_on_own("both", number, k) for k in range(1, 5)] for number in (1, 2)]
    assert turns == [[False, True, False, True], [True, False, True, False]]
    assert is_on_own("own", 1, 1)
    assert not is_on_own("good", 1, 1)
