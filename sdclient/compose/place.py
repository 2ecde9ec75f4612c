"""Where on a picture a defect may go: inside of it, on free and allowed surface that fits, drawn by seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from ..batch.draws import draw_index
from .cut import Cutout
from .pixels import Area, Plane
from .pose import Pose, apply_pose
from .surface import Surface, mismatch_map, touches, worst_mismatch

USUAL_LIMIT = 0.3
"""Highest mismatch of a place, unless said otherwise; docs/transplant.md tells how it was chosen."""

WORST_LIMITS = 1.5
"""The worst twentieth of the surroundings may lie so many limits apart."""

_SEARCHED_SIDE_PX = 512
"""A longer side is searched in a smaller picture first."""
_LEAST_RING_PX = 3
_LOOKED_AT_CLOSELY = 8
_BEST_SHARE = 0.25
_SLACK = 1.25


@dataclass(frozen=True)
class Placement:
    """A place for a cutout's window; its ring may reach over the border, its support never does."""

    top: int
    left: int
    mismatch: float


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    spot: Placement | None
    reason: str
    """Why there is none; "" where there is one."""


@dataclass(frozen=True, eq=False)
class _Places:
    """Mismatch of every window whose support lies in the picture, infinite where it may not go."""

    scores: Plane
    top: int
    left: int
    """Of the window that the first element speaks of."""


def find_placement(
    surface: Surface, cutout: Cutout, closed: Area, *, limit: float | None, seed: int, name: str
) -> Found:
    """Find a place whose surroundings fit.

    Among the places within the limit the quarter that fits best is kept, and those within 1.25 times the best
    mismatch; one of these is drawn.

    Args:
        surface: the picture.
        cutout: the defect in its pose.
        closed: (H, W) where nothing may change.
        limit: highest mismatch; None takes any.
        seed: of the image.
        name: of the draw.
    """
    factor = _factor(surface, cutout)
    coarse = surface if factor == 1 else surface.reduced(factor)
    small = cutout if factor == 1 else apply_pose(cutout, Pose(scale=1 / factor))
    height, width = _extent(small.support)
    if height > coarse.size[0] or width > coarse.size[1]:
        return Found(None, "the defect is larger than the picture")
    places = _places(coarse, small, closed if factor == 1 else _reduced(closed, coarse.size))
    if not np.isfinite(places.scores).any():
        return Found(None, "no free or allowed area is large enough for the defect")
    if limit is not None and places.scores.min() > limit:
        return Found(None, f"no surface fits (best mismatch {places.scores.min():.2f}, limit {limit:g})")
    for spot in _drawn(places, limit, seed, name):
        near = spot if factor == 1 else _refined(surface, cutout, closed, spot, factor)
        if near is not None and (limit is None or _fits(surface, cutout, near, limit)):
            return Found(near, "")
    if limit is None:
        return Found(None, "no free or allowed area is large enough for the defect")
    return Found(None, f"no surface fits (a structure of it ends at the border, limit {limit:g})")


def _fits(surface: Surface, cutout: Cutout, spot: Placement, limit: float) -> bool:
    """Whether a place keeps the limit as a whole, and a wider one in its worst parts."""
    if spot.mismatch > limit:
        return False
    there = surface.window(spot.top, spot.left, *cutout.alpha.shape)
    return worst_mismatch(there, cutout) <= WORST_LIMITS * limit


def _factor(surface: Surface, cutout: Cutout) -> int:
    """How many times smaller the picture is searched in first; the ring must not vanish."""
    wanted = -(-max(surface.size) // _SEARCHED_SIDE_PX)
    return max(1, min(wanted, cutout.ring_px // _LEAST_RING_PX))


def _places(surface: Surface, cutout: Cutout, closed: Area, within: tuple[int, int, int, int] | None = None) -> _Places:
    """Every window; or those whose corner is `within` (top, left, bottom, right), the latter two exclusive."""
    support = cutout.support
    rows, columns = np.flatnonzero(support.any(axis=1)), np.flatnonzero(support.any(axis=0))
    height, width = surface.size
    top, left = -int(rows[0]), -int(columns[0])
    bottom, right = height - int(rows[-1]), width - int(columns[-1])
    if within is not None:
        top, left = max(top, within[0]), max(left, within[1])
        bottom, right = min(bottom, within[2]), min(right, within[3])
    if top >= bottom or left >= right:
        return _Places(np.full((1, 1), np.inf, dtype=np.float32), 0, 0)
    tall, wide = bottom - top + support.shape[0] - 1, right - left + support.shape[1] - 1
    scores = mismatch_map(surface.window(top, left, tall, wide), cutout)
    shut = np.ones((tall, wide), dtype=np.bool_)
    inner = (slice(max(0, top), min(height, top + tall)), slice(max(0, left), min(width, left + wide)))
    part = closed[inner]
    shut[inner[0].start - top :, inner[1].start - left :][: part.shape[0], : part.shape[1]] = part
    return _Places(np.where(touches(shut, support), np.inf, scores).astype(np.float32), top, left)


def _drawn(places: _Places, limit: float | None, seed: int, name: str) -> Iterator[Placement]:
    """A few of the places that fit best, in the order of the draw."""
    scores = places.scores.ravel()
    fitting = np.flatnonzero(np.isfinite(scores) & (scores <= (np.inf if limit is None else limit)))
    ordered = fitting[np.argsort(scores[fitting], kind="stable")]
    slack = int(np.searchsorted(scores[ordered], _SLACK * scores[ordered[0]], side="right"))
    kept = ordered[: max(slack, round(_BEST_SHARE * ordered.size), 1)]
    for number in range(min(_LOOKED_AT_CLOSELY, kept.size)):
        place = int(kept[draw_index(seed, f"{name} {number}", kept.size)])
        row, column = divmod(place, places.scores.shape[1])
        yield Placement(places.top + row, places.left + column, float(scores[place]))


def _refined(surface: Surface, cutout: Cutout, closed: Area, coarse: Placement, factor: int) -> Placement | None:
    """The best place at full size near one that was found in the smaller picture."""
    top, left = coarse.top * factor, coarse.left * factor
    reach = 2 * factor
    places = _places(surface, cutout, closed, (top - reach, left - reach, top + reach + 1, left + reach + 1))
    place = int(places.scores.argmin())
    row, column = divmod(place, places.scores.shape[1])
    mismatch = float(places.scores[row, column])
    return Placement(places.top + row, places.left + column, mismatch) if np.isfinite(mismatch) else None


def _extent(support: Area) -> tuple[int, int]:
    rows, columns = np.flatnonzero(support.any(axis=1)), np.flatnonzero(support.any(axis=0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def _reduced(closed: Area, size: tuple[int, int]) -> Area:
    """The same in the smaller picture: a pixel is closed when at least half of it is."""
    share = cv2.resize(closed.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(share >= 0.5, dtype=np.bool_)
