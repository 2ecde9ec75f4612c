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
_IMAGE_STEP = 0x91E10DA5C79E7B1C
_WHOLE = 2**64


def share_evenly(sources: Sequence[Source], per_class: int) -> list[tuple[Source, int]]:
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


class BackgroundOrder:
    """The good images for the defects of one class, in an order of the run's own.

    The images of the class step through the deck by a sequence that leaves no gap, so that none is used much more often
    than another. Where one lands depends on the run's seed, the class, the source's number and k, and on how many good
    images there are; on nothing else.

    Args:
        good: how many there are, at least 1.
        run_seed: seed of the run.
        class_name: of the defects.
    """

    def __init__(self, good: int, *, run_seed: int, class_name: str) -> None:
        seed = seed_base(run_seed, class_name, 0)
        # Neighbours in the folder are often pictures of one board.
        self._order = sorted(range(good), key=lambda index: draw_index(seed, f"order {index}", _WHOLE))
        self._offset = draw_index(seed, "first good image", _WHOLE)

    def tries(self, number: int, k: int, seed: int, most: int) -> Iterator[int]:
        """Places in the list of good images, each once, the one to try first as the first.

        Args:
            number: of the source.
            k: which image of it.
            seed: of the image; the further ones are drawn by it.
            most: how many at most.
        """
        good = len(self._order)
        place = (self._offset + number * _SOURCE_STEP + k * _IMAGE_STEP) % _WHOLE * good // _WHOLE
        seen: set[int] = set()
        while len(seen) < min(most, good):
            while place in seen:
                place = (place + 1) % good
            seen.add(place)
            yield self._order[place]
            place = draw_index(seed, f"good image {len(seen)}", good)
