"""Finds a place for a defect in a random pose, by comparing surfaces.

The pixels of the ring around the defect are compared with those around the new place, in three respects, in levels:

structure  root mean square difference over ring and channels in a slightly smoothed image, after the mean levels are
           equalised: shows an edge or a trace that ends at the border.
texture    difference in strength of the finest detail: a matt surface is not a woven one.
tone       difference of the mean levels; the tone is matched afterwards, so it has a weight of a quarter.

The mismatch is the root of their summed squares divided by `hypot(FLOOR_LEVELS, spread)`, where the spread is the
standard deviation of the defect's own ring: on a busy surface differences show less than on a plain one. 0 is the same
surface; two unrelated places of a busy surface are at about 1.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..output.planned_images import Range, draw_index, draw_number
from .cutout import Area, Cutout, Levels, Pixels, Plane, bounds_of
from .plan import ComposeSettings

USUAL_LIMIT = 0.3
"""Default highest mismatch of a place; docs/transplant.md says how it was chosen."""

WORST_LIMITS = 1.5
"""Limit for the worst 5 % of the surroundings, in multiples of the limit for the whole ring."""

_SEARCHED_SIDE_PX = 512
"""An image with a longer side is searched in a smaller copy first."""
_LEAST_RING_PX = 3
_LOOKED_AT_CLOSELY = 8
_BEST_SHARE = 0.25
_SLACK = 1.25


@dataclass(frozen=True)
class Placement:
    """A place for a cutout's window; its ring may reach beyond the image's border, its support never does."""

    top: int
    left: int
    mismatch: float


@dataclass(frozen=True)
class Found:
    """Result of a search."""

    placement: Placement | None
    reason: str
    """Why there is no place; "" when there is one."""


@dataclass(frozen=True, eq=False)
class _Places:
    """Mismatch of every window whose support lies in the image; infinite where it is forbidden."""

    scores: Plane
    top: int
    left: int
    """Corner of the window of the first element."""


def find_placement(
    surface: Surface, cutout: Cutout, closed: Area, *, limit: float | None, seed: int, name: str
) -> Found:
    """Find a place whose surroundings fit.

    One place is drawn at random from the better quarter of the places within the limit, or from those within 1.25
    times the best mismatch if these are more. `closed` is (H, W): where nothing may change. `limit` is the highest
    mismatch; None: no limit.
    """
    factor = _factor(surface, cutout)
    coarse = surface if factor == 1 else surface.reduced(factor)
    small = cutout if factor == 1 else apply_pose(cutout, Pose(scale=1 / factor))
    top, bottom, left, right = bounds_of(small.support)
    if bottom - top > coarse.size[0] or right - left > coarse.size[1]:
        return Found(None, "the defect is larger than the picture")
    places = _places(coarse, small, closed if factor == 1 else _reduced(closed, coarse.size))
    if not np.isfinite(places.scores).any():
        return Found(None, "no free or allowed area is large enough for the defect")
    if limit is not None and places.scores.min() > limit:
        return Found(None, f"no surface fits (best mismatch {places.scores.min():.2f}, limit {limit:g})")
    for placement in _drawn(places, limit, seed, name):
        near = placement if factor == 1 else _refined(surface, cutout, closed, placement, factor)
        if near is not None and (limit is None or _fits(surface, cutout, near, limit)):
            return Found(near, "")
    if limit is None:
        return Found(None, "no free or allowed area is large enough for the defect")
    return Found(None, f"no surface fits (a structure of it ends at the border, limit {limit:g})")


def _fits(surface: Surface, cutout: Cutout, placement: Placement, limit: float) -> bool:
    """Whether a place is within the limit as a whole, and within a wider limit in its worst parts."""
    if placement.mismatch > limit:
        return False
    there = surface.window(placement.top, placement.left, *cutout.alpha.shape)
    return worst_mismatch(there, cutout) <= WORST_LIMITS * limit


def _factor(surface: Surface, cutout: Cutout) -> int:
    """Factor of the smaller copy that is searched first; small enough that the ring does not vanish."""
    wanted = -(-max(surface.size) // _SEARCHED_SIDE_PX)
    return max(1, min(wanted, cutout.ring_px // _LEAST_RING_PX))


def _places(surface: Surface, cutout: Cutout, closed: Area, within: tuple[int, int, int, int] | None = None) -> _Places:
    """Scores of all windows, or of those with a corner in `within` (top, left, bottom, right; the end excluded)."""
    support = cutout.support
    first_row, end_row, first_column, end_column = bounds_of(support)
    height, width = surface.size
    top, left = -first_row, -first_column
    bottom, right = height - end_row + 1, width - end_column + 1
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
    """A few of the best places, in the order they are drawn."""
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
    """The best place at full size near a place that was found in the smaller copy."""
    top, left, reach = coarse.top * factor, coarse.left * factor, 2 * factor
    places = _places(surface, cutout, closed, (top - reach, left - reach, top + reach + 1, left + reach + 1))
    place = int(places.scores.argmin())
    row, column = divmod(place, places.scores.shape[1])
    mismatch = float(places.scores[row, column])
    return Placement(places.top + row, places.left + column, mismatch) if np.isfinite(mismatch) else None


def _reduced(closed: Area, size: tuple[int, int]) -> Area:
    """The closed area of the smaller copy: a pixel is closed when at least half of it is."""
    share = cv2.resize(closed.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(share >= 0.5, dtype=np.bool_)


@dataclass(frozen=True)
class Pose:
    """Rotation, size and mirroring of a defect at its new place."""

    angle_degrees: float = 0.0
    """Rotation counter-clockwise, after mirroring."""
    scale: float = 1.0
    is_flipped: bool = False
    """Mirrored left to right."""


def draw_pose(settings: ComposeSettings, seed: int, attempt: int) -> Pose:
    """The pose of an image with this seed, a new one for each attempt."""
    most = settings.rotation_degrees
    if settings.right_angles:
        turns = [turn for turn in (0, 90, -90, 180) if abs(turn) <= most]
        angle = float(turns[draw_index(seed, f"angle {attempt}", len(turns))])
    else:
        angle = draw_number(Range(-round(most, 3), round(most, 3)), seed, f"angle {attempt}")
    low, high = settings.scale
    scale = draw_number(Range(round(low, 3), round(high, 3)), seed, f"scale {attempt}")
    return Pose(angle, scale, settings.flip and draw_index(seed, f"flip {attempt}", 2) == 1)


def apply_pose(cutout: Cutout, pose: Pose) -> Cutout:
    """The defect in that pose; quarter turns and mirroring at scale 1 interpolate no pixel."""
    pixels, alpha, known = cutout.pixels, cutout.alpha, cutout.is_known.astype(np.float32)
    if pose.is_flipped:
        pixels, alpha, known = pixels[:, ::-1], alpha[:, ::-1], known[:, ::-1]
    planes = np.dstack([pixels, alpha, known])
    if pose.scale != 1:
        planes = _scaled(planes, pose.scale)
    quarters = pose.angle_degrees / 90
    planes = np.rot90(planes, round(quarters)) if quarters.is_integer() else _turned(planes, pose.angle_degrees)
    return Cutout(
        pixels=np.ascontiguousarray(np.clip(planes[..., :-2], 0, 255)),
        alpha=(np.rint(255 * np.clip(planes[..., -2], 0, 1)) / 255).astype(np.float32),
        is_known=planes[..., -1] > 0.999,
        ring_px=max(2, round(cutout.ring_px * pose.scale)),
    )


def _scaled(planes: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    height, width = planes.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    sharp = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC

    def resize(part: NDArray[np.float32], soft: bool) -> NDArray[np.float32]:
        how = cv2.INTER_LINEAR if soft else sharp
        return np.asarray(cv2.resize(part, size, interpolation=how), dtype=np.float32)

    return _resampled(planes, resize)


def _resampled(
    planes: NDArray[np.float32], resample: Callable[[NDArray[np.float32], bool], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Resample levels sharply, alpha and known area linearly, because these must not overshoot."""
    levels, rest = (np.ascontiguousarray(part) for part in (planes[..., :-2], planes[..., -2:]))
    return np.dstack([resample(levels, False), resample(rest, True)])


def _turned(planes: NDArray[np.float32], angle_degrees: float) -> NDArray[np.float32]:
    height, width = planes.shape[:2]
    cosine, sine = (abs(function(math.radians(angle_degrees))) for function in (math.cos, math.sin))
    size = (math.ceil(width * cosine + height * sine), math.ceil(width * sine + height * cosine))
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_degrees, 1.0)
    matrix[:, 2] += ((size[0] - width) / 2, (size[1] - height) / 2)

    def turn(part: NDArray[np.float32], soft: bool) -> NDArray[np.float32]:
        border = cv2.BORDER_CONSTANT if soft else cv2.BORDER_REPLICATE
        how = cv2.INTER_LINEAR if soft else cv2.INTER_CUBIC
        return np.asarray(cv2.warpAffine(part, matrix, size, flags=how, borderMode=border), dtype=np.float32)

    return _resampled(planes, turn)


FLOOR_LEVELS = 40.0
_TONE_WEIGHT = 0.25
_SMOOTH_SIGMA_PX = 1.0
_WORST_SHARE = 0.95


class Surface:
    """An image that defects may be put on."""

    def __init__(self, levels: Levels) -> None:
        self.levels = levels
        self._reduced: dict[int, Surface] = {}

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), px."""
        return self.levels.shape[0], self.levels.shape[1]

    def reduced(self, factor: int) -> Surface:
        """The same image, smaller by this factor."""
        if factor not in self._reduced:
            height, width = self.size
            size = (max(1, width // factor), max(1, height // factor))
            small = cv2.resize(self.levels, size, interpolation=cv2.INTER_AREA)
            self._reduced[factor] = Surface(np.asarray(small, dtype=np.uint8).reshape(size[1], size[0], -1))
        return self._reduced[factor]

    def window(self, top: int, left: int, height: int, width: int) -> Pixels:
        """Levels of a window; mirrored beyond the image's border."""
        rows, columns = self.size
        down = _mirrored(np.arange(top, top + height), rows)
        across = _mirrored(np.arange(left, left + width), columns)
        return self.levels[down[:, None], across[None, :]].astype(np.float32)


def mismatch_map(pixels: Pixels, cutout: Cutout) -> Plane:
    """The mismatch of each place; element (y, x) belongs to the window with its upper left corner at (y, x).

    `pixels` are those of the part to search, no smaller than the cutout and with as many channels.
    """
    ring = cutout.ring
    weight = ring.astype(np.float32) / max(1, int(ring.sum()))
    smooth = _smoothed(pixels)
    own = _smoothed_within(cutout.pixels, ring)
    total = np.zeros((), dtype=np.float32)
    tone = np.zeros((), dtype=np.float32)
    variance = 0.0
    for channel in range(own.shape[2]):
        mine, there = own[..., channel], smooth[..., channel]
        mean = float((weight * mine).sum())
        spread = float((weight * (mine - mean) ** 2).sum())
        # The mean is subtracted first: squares of smaller numbers lose fewer digits.
        centred = there - mean
        level = _correlated(centred, weight)
        square = _correlated(centred * centred, weight)
        cross = _correlated(centred, weight * (mine - mean))
        total = total + np.maximum(square - level**2 + spread - 2 * cross, 0)
        tone = tone + level**2
        variance += spread
    channels = own.shape[2]
    fine = np.sqrt(np.maximum(_correlated(_squared_detail(pixels, smooth), weight), 0))
    own_fine = float(np.sqrt((weight * _squared_detail(cutout.pixels, own)).sum()))
    levels = np.sqrt((total + _TONE_WEIGHT**2 * tone) / channels + (fine - own_fine) ** 2)
    return np.asarray(levels / np.hypot(FLOOR_LEVELS, np.sqrt(variance / channels)), dtype=np.float32)


def worst_mismatch(pixels: Pixels, cutout: Cutout) -> float:
    """The mismatch of the ring's worst parts: high where a trace ends at the border though most of the ring fits.

    The 95 % quantile over the ring of the difference of the smoothed levels after their means are equalised (averaged
    over the channels), in the same unit as the mismatch. `pixels` is the new place's window, as large as the cutout's.
    """
    ring = cutout.ring
    own = _smoothed_within(cutout.pixels, ring)[ring]
    apart = _smoothed(pixels)[ring] - own
    worst = float(np.quantile(np.abs(apart - apart.mean(axis=0)).mean(axis=1), _WORST_SHARE))
    return worst / float(np.hypot(FLOOR_LEVELS, np.sqrt(own.var(axis=0).mean())))


def touches(area: Area, support: Area) -> Area:
    """Whether the support would overlap the area, for the window at each place; shaped like a mismatch map."""
    if not area.any():
        shape = (area.shape[0] - support.shape[0] + 1, area.shape[1] - support.shape[1] + 1)
        return np.zeros(shape, dtype=np.bool_)
    return np.asarray(_correlated(area, support) > 0.5, dtype=np.bool_)


def _correlated(plane: NDArray[Any], kernel: NDArray[Any]) -> Plane:
    there, own = (np.ascontiguousarray(one, dtype=np.float32) for one in (plane, kernel))
    return np.asarray(cv2.matchTemplate(there, own, cv2.TM_CCORR), dtype=np.float32)


def _smoothed(pixels: Pixels) -> Pixels:
    smooth = cv2.GaussianBlur(pixels, (0, 0), _SMOOTH_SIGMA_PX, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(smooth, dtype=np.float32).reshape(pixels.shape)


def _smoothed_within(pixels: Pixels, area: Area) -> Pixels:
    """Smooth with the area's own pixels alone, so that the defect does not leak into its surroundings."""
    weight = area.astype(np.float32)[..., None]
    total = np.maximum(_smoothed(weight), 1e-6)
    return np.where(weight > 0, _smoothed(pixels * weight) / total, 0).astype(np.float32)


def _squared_detail(pixels: Pixels, smooth: Pixels) -> Plane:
    """Square of the detail that smoothing removed, averaged over the channels."""
    return np.asarray(((pixels - smooth) ** 2).mean(axis=2), dtype=np.float32)


def _mirrored(places: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    period = max(1, 2 * (length - 1))
    folded = np.asarray(np.abs(places) % period, dtype=np.intp)
    return np.minimum(folded, period - folded)
