"""From which strength on pictures change, up to which they keep their class: a range to be recommended. Pure.

The share that keeps its class can only fall as the strength grows, the share that changes only rise; what chance adds
is taken out by pooling neighbours that stand in the wrong order (isotonic regression; Barlow et al. 1972). A limit
between two tested strengths is read off the straight line between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .figures import Share

KEEP_RATE = 0.9
CHANGE_RATE = 0.5
LEAST_IMAGES = 5
"""With fewer at a strength, nothing is said of it."""
_DIGITS = 2


@dataclass(frozen=True)
class StrengthLimits:
    """What was found for a class, or for all together."""

    low: float | None
    """From here on at least the share asked for is changed; None: at no tested strength."""
    high: float | None
    """Up to here at least the share asked for keeps its class; None: not even at the least tested strength."""
    images: int
    """Images at each strength that could lose their class; no limit is told where they are fewer than five."""

    @property
    def is_range(self) -> bool:
        """Whether there is room between the two."""
        return self.low is not None and self.high is not None and self.low < self.high


def find_limits(
    strengths: Sequence[float],
    kept: Sequence[Share],
    changed: Sequence[Share],
    *,
    keep_rate: float = KEEP_RATE,
    change_rate: float = CHANGE_RATE,
) -> StrengthLimits:
    """The limits by counts at tested strengths.

    Args:
        strengths: growing.
        kept: images that keep their class at each, of those whose source is called by its class.
        changed: images that changed by more than taking the source again would.
        keep_rate: share that must keep its class.
        change_rate: share that must change.
    """
    least = min((share.of for share in kept), default=0)
    tested = [place for place, share in enumerate(kept) if share.of >= LEAST_IMAGES <= changed[place].of]
    if not tested:
        return StrengthLimits(None, None, least)
    at = [strengths[place] for place in tested]
    falling = [-value for value in _isotonic([-_rate(kept[place]) for place in tested])]
    rising = _isotonic([_rate(changed[place]) for place in tested])
    scale = 10**_DIGITS
    low, high = _first_at_least(at, rising, change_rate), _last_at_least(at, falling, keep_rate)
    return StrengthLimits(
        low=None if low is None else math.ceil(round(low * scale, 6)) / scale,
        high=None if high is None else math.floor(round(high * scale, 6)) / scale,
        images=least,
    )


def _rate(share: Share) -> float:
    return share.count / share.of


def _isotonic(values: Sequence[float]) -> list[float]:
    """The nearest sequence that never falls, by pooling adjacent violators."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, n), (other, m) = pools[-2:]
            pools[-2:] = [((one * n + other * m) / (n + m), n + m)]
    return [value for value, count in pools for _ in range(count)]


def _first_at_least(at: Sequence[float], rising: Sequence[float], rate: float) -> float | None:
    place = next((place for place, value in enumerate(rising) if value >= rate), None)
    if place is None or place == 0:
        return None if place is None else at[0]
    return _between(at[place - 1], at[place], rising[place - 1], rising[place], rate)


def _last_at_least(at: Sequence[float], falling: Sequence[float], rate: float) -> float | None:
    places = [place for place, value in enumerate(falling) if value >= rate]
    if not places:
        return None
    place = places[-1]
    if place == len(at) - 1:
        return at[-1]
    return _between(at[place], at[place + 1], falling[place], falling[place + 1], rate)


def _between(left: float, right: float, of_left: float, of_right: float, rate: float) -> float:
    return left + (right - left) * (rate - of_left) / (of_right - of_left)
