"""Which source gives how many images, and which good image is the next one's ground (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..batch.draws import draw_index
from ..batch.identity import seed_base
from ..plan import USUALLY_EXCLUDED, spread
from ..sources import Source
from .settings import Onto

# The plane's two irrational steps with the least gaps, after Roberts (2018): 1/p and 1/p^2 for p^3 = p + 1, in 2^-64.
_SOURCE_STEP = 0xC13FA9A902A6328F
_IMAGE_STEP = 0x91E10DA5C79E7B1D
_WHOLE = 2**64


def share_out(sources: Sequence[Source], per_class: int) -> list[tuple[Source, int]]:
    """So many images of each class, no source of a class with more than one more than another; Normal has none.

    Args:
        sources: all there are, in order.
        per_class: images of each class.
    """
    owed = []
    for name in dict.fromkeys(source.class_name for source in sources):
        if name not in USUALLY_EXCLUDED:
            own = [source for source in sources if source.class_name == name]
            owed += [(source, count) for source, count in zip(own, spread(per_class, len(own)), strict=True) if count]
    return owed


def is_on_own(onto: Onto, number: int, k: int) -> bool:
    """Whether an image is made on the defect's own picture; with "both" every other one of a source is."""
    return onto == "own" or (onto == "both" and (number + k) % 2 == 1)


def good_order(good: int, tries: int, *, run_seed: int, class_name: str, number: int, k: int) -> Iterator[int]:
    """Places in the list of good images to try for an image, the first one first.

    The first is spread evenly: the images of a class step through the list, in an order of the run's own, by a
    sequence that leaves no gap, so that no good image is used much more often than another. Any further ones are
    drawn. Each depends on the run's seed, the class, the source's number and k alone, besides the length of the list.

    Args:
        good: how many good images there are, at least 1.
        tries: how many to name at most.
        run_seed: seed of the run.
        class_name: of the defect.
        number: of the source.
        k: which image of the source.
    """
    seed = seed_base(run_seed, class_name, 0)
    offset = draw_index(seed, "first good image", _WHOLE)
    place = (offset + number * _SOURCE_STEP + k * _IMAGE_STEP) % _WHOLE * good // _WHOLE
    own_seed = seed_base(run_seed, class_name, number) + k
    left = list(range(good))
    # Neighbours in the list are often pictures of one board: its order is shuffled first.
    left.sort(key=lambda index: draw_index(seed, f"order {index}", _WHOLE))
    for attempt in range(min(tries, good)):
        yield left.pop(place)
        if left:
            place = draw_index(own_seed, f"good image {attempt}", len(left))
