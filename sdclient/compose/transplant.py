"""One transplant: tone, blend, seam (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..masks.mask import composite
from ..output.planned_images import draw_index
from .cutout import Area, Cutout, Levels, Pixels, Plane, to_bytes, to_levels, to_picture
from .placement import USUAL_LIMIT, Placement, Pose, Surface, apply_pose, draw_pose, find_placement
from .plan import Blend, ComposeSettings, Tone

POSES_TRIED = 4
"""Poses that are tried on a picture for each place."""
LARGEST_SEAM = 2.0
"""Highest `seam_score` of a place that nobody but the surface's fit allows."""
_CLEAR_PX = 2
"""Between a defect and whatever it may not touch."""


Mask = NDArray[np.uint8]
"""(H, W)."""


@dataclass(frozen=True, eq=False)
class Transplanted:
    """A picture with the defect, and what was done."""

    picture: Image.Image
    mask: Image.Image
    """"L": where it is 0 the pixels are the base picture's."""
    places: tuple[dict[str, Any], ...]
    """Of each copy: pose, place, way of blending and its measures."""


def transplant(
    cutout: Cutout, surface: Surface, settings: ComposeSettings, *, closed: Area, has_allowed: bool, seed: int
) -> Transplanted | str:
    """Put a defect on a picture.

    Args:
        cutout: the defect, in as many channels as the surface.
        surface: the picture it goes on.
        settings: how.
        closed: (H, W) where nothing may change: beyond an allowed area, a known defect.
        has_allowed: whether an allowed area says where it may go.
        seed: of the image.

    Returns:
        The result; or, where not even one copy found its place, why.
    """
    limit = settings.match_limit or (None if has_allowed else USUAL_LIMIT)
    low, high = settings.copies
    wanted = low + draw_index(seed, "copies", high - low + 1)
    levels = surface.levels.copy()
    mask = np.zeros(surface.size, dtype=np.uint8)
    shut = _widened(closed)
    places: list[dict[str, Any]] = []
    reason = ""
    for copy in range(wanted):
        joined = _join(cutout, surface, settings, shut, limit, seed, copy)
        if isinstance(joined, str):
            reason = joined
            break
        changed = _paste(levels, mask, joined)
        shut |= _widened(changed)
        places.append(
            {
                **asdict(joined.pose),
                "top": joined.spot.top,
                "left": joined.spot.left,
                "mismatch": round(joined.spot.mismatch, 4),
                "blend": joined.blended.way,
                "seam_score": round(joined.blended.seam, 4),
                "kept_rate": round(joined.blended.kept_rate, 4),
            }
        )
    if len(places) < low:
        return reason
    return Transplanted(to_picture(levels), Image.fromarray(mask), tuple(places))


Way = Literal["feather", "clone", "mixed"]


@dataclass(frozen=True, eq=False)
class Blended:
    """A window with the defect in it."""

    levels: Levels
    way: Way
    seam: float
    """`seam_score` of it."""
    kept_rate: float
    """Share of the defect's contrast that is left; about 1 where nothing is lost."""
    likeness: float
    """Correlation of the levels inside the mask with the defect's own, -1 to 1; 1 where it only changed tone."""


@dataclass(frozen=True, eq=False)
class _Joined:
    """One copy at its place."""

    pose: Pose
    spot: Placement
    alpha: Mask
    blended: Blended


def _join(
    cutout: Cutout,
    surface: Surface,
    settings: ComposeSettings,
    shut: Area,
    limit: float | None,
    seed: int,
    copy: int,
) -> _Joined | str:
    """The first of a few poses that finds a place and shows no seam there; else the last one's reason.

    Rings and blending see the picture as it was before the first copy: copies lie apart.
    """
    reason = ""
    for attempt in range(POSES_TRIED):
        pose = draw_pose(settings, seed, copy * POSES_TRIED + attempt)
        turned = apply_pose(cutout, pose)
        if not turned.support.any():
            reason = "nothing is left of the defect at this scale"
            continue
        found = find_placement(surface, turned, shut, limit=limit, seed=seed, name=f"place {copy} {attempt}")
        if found.spot is None:
            reason = found.reason
            continue
        there = surface.window(found.spot.top, found.spot.left, *turned.alpha.shape)
        toned = match_tone(turned.pixels, there, turned.ring, settings.tone)
        # In its pose, so that what turning it does to the picture counts on both sides.
        own_gradient = gradient_across(turned.pixels, turned.alpha)
        blended = blend(toned, there, turned.alpha, turned.ring, own_gradient=own_gradient, how=settings.blend)
        if limit is None or blended.seam <= LARGEST_SEAM:
            return _Joined(pose, found.spot, to_bytes(255 * turned.alpha), blended)
        reason = f"the seam would show (score {blended.seam:.2f}, limit {LARGEST_SEAM:g})"
    return reason


def _paste(levels: Levels, mask: Mask, joined: _Joined) -> Area:
    """Put a window in where its alpha is not 0, and the alpha into the mask; gives where that is in the picture."""
    window, alpha, spot = joined.blended.levels, joined.alpha, joined.spot
    part, inner = _overlap(mask.shape, alpha.shape, spot)
    support = alpha[inner] > 0
    levels[part][support] = window[inner][support]
    mask[part][support] = alpha[inner][support]
    changed = np.zeros(mask.shape, dtype=np.bool_)
    changed[part] = support
    return changed


def _overlap(
    picture: tuple[int, ...], window: tuple[int, ...], spot: Placement
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a window lies in the picture, and which part of the window that is."""
    top, left = max(0, spot.top), max(0, spot.left)
    bottom, right = min(picture[0], spot.top + window[0]), min(picture[1], spot.left + window[1])
    inner = (slice(top - spot.top, bottom - spot.top), slice(left - spot.left, right - spot.left))
    return (slice(top, bottom), slice(left, right)), inner


def _widened(area: Area) -> Area:
    kernel = np.ones((2 * _CLEAR_PX + 1, 2 * _CLEAR_PX + 1), dtype=np.uint8)
    return np.asarray(cv2.dilate(area.astype(np.uint8), kernel) > 0, dtype=np.bool_)


WAYS: tuple[Way, ...] = ("feather", "clone", "mixed")

LEAST_KEPT_RATE = 0.9
LEAST_LIKENESS = 0.99
"""A way of joining that leaves less of the defect is not taken, however little its seam."""
_LEAST_CLONED_PX = 4


def blend(patch: Pixels, there: Pixels, alpha: Plane, ring: Area, *, own_gradient: float, how: Blend) -> Blended:
    """Join a defect to a surface; outside the alpha's support the window stays as it is.

    "feather" takes each pixel by its alpha. "clone" and "mixed" solve Poisson's equation inside the support
    (Perez, Gangnet and Blake 2003, cv2.seamlessClone) and take that by its alpha. "auto" takes the way with the least
    seam among those that keep the defect.

    Args:
        patch: (H, W, C) the defect's window, its tone matched.
        there: (H, W, C) the new place's.
        alpha: (H, W) in steps of 1/255, as the mask file has it.
        ring: (H, W) the surroundings.
        own_gradient: `seam.gradient_across` of the defect where it really lies, in its pose.
        how: which way.
    """
    ways = WAYS if how == "auto" else (how,)
    return best_blend([_one(way, patch, there, alpha, ring, own_gradient) for way in ways])


def best_blend(tried: Sequence[Blended]) -> Blended:
    """The one with the least seam among those that keep the defect; the first one where none does.

    Less of a seam than a real defect has is no gain: of those the first is taken.
    """
    keeping = [one for one in tried if one.kept_rate >= LEAST_KEPT_RATE and one.likeness >= LEAST_LIKENESS]
    return min(keeping or tried[:1], key=lambda one: max(1.0, one.seam))


def _one(way: Way, patch: Pixels, there: Pixels, alpha: Plane, ring: Area, own_gradient: float) -> Blended:
    joined = patch if way == "feather" else _cloned(patch, there, alpha > 0, way)
    mask = Image.fromarray(to_bytes(255 * alpha))
    levels = to_levels(composite(to_picture(to_bytes(there)), to_picture(to_bytes(joined)), mask))
    pixels = levels.astype(np.float32)
    seam = seam_score(gradient_across(pixels, alpha), own_gradient)
    return Blended(levels, way, seam, *_kept(patch, pixels, alpha, ring))


def _cloned(patch: Pixels, there: Pixels, support: Area, way: Way) -> Pixels:
    """The window with the defect cloned into it; a support too small to have an inside stays as the patch has it."""
    rows, columns = np.flatnonzero(support.any(axis=1)), np.flatnonzero(support.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    if min(bottom - top, right - left) < _LEAST_CLONED_PX:
        return patch
    colours = [np.ascontiguousarray(np.repeat(to_bytes(one), 3 // one.shape[2], axis=2)) for one in (patch, there)]
    # It puts the middle of the mask's bounding box at this point of the picture: where it is already.
    middle = (int(left + (right - left) // 2), int(top + (bottom - top) // 2))
    flag = cv2.NORMAL_CLONE if way == "clone" else cv2.MIXED_CLONE
    # Three channels: with a mask of one, OpenCV 5.0 gives the surface back and says nothing.
    mask = np.repeat(support.astype(np.uint8)[..., None] * np.uint8(255), 3, axis=2)
    cloned = cv2.seamlessClone(colours[0], colours[1], mask, middle, flag)
    return np.asarray(cloned, dtype=np.float32)[..., : patch.shape[2]]


def _kept(patch: Pixels, result: Pixels, alpha: Plane, ring: Area) -> tuple[float, float]:
    """How much of the defect is left inside the mask, as (slope, correlation) of the result's levels on the patch's.

    The slope is taken through the surroundings' median, the correlation through the means. Where the defect hardly
    differs from its surroundings there is nothing to lose: 1 and 1.
    """
    inside = alpha > 0.5
    if not inside.any() or not ring.any():
        return 1.0, 1.0
    wanted = (patch[inside] - np.median(patch[ring], axis=0)).astype(np.float64)
    found = (result[inside] - np.median(result[ring], axis=0)).astype(np.float64)
    power = float((wanted**2).sum())
    slope = float((wanted * found).sum() / power) if power > wanted.size else 1.0
    apart, found_apart = wanted - wanted.mean(axis=0), found - found.mean(axis=0)
    spread = float(np.sqrt((apart**2).sum() * (found_apart**2).sum()))
    return slope, float((apart * found_apart).sum() / spread) if spread > wanted.size else 1.0


_CALM_TONE_LEVELS = 6.0
"""Added to both spreads before their ratio is taken: the noise of two plain surfaces says nothing of contrast."""
_SAME_STRUCTURE = 0.7
_LEAST_GAIN, _MOST_GAIN = 0.7, 1.4
_ROUNDS = 6


def match_tone(pixels: Pixels, there: Pixels, ring: Area, how: Tone) -> Pixels:
    """The defect's window as it would look at the new place.

    Around the defect and around the new place each channel has a level and all channels together a spread. The
    contrast around the level becomes `(spread there + 6) / (own spread + 6)` times as strong, within 0.7 to 1.4; where
    both rings show the same structure (a correlation of 0.7), the ratio is that of least squares. The level becomes
    that of the new place, which may slope: a plane is fitted to the differences on the ring, robustly, so that a trace
    that differs moves nothing.

    Args:
        pixels: (H, W, C) the defect in its pose.
        there: (H, W, C) the same window of the new place.
        ring: (H, W) the surroundings.
        how: "full" as told, "mean" without the contrast, "none" leaves all as it is.
    """
    if how == "none" or not ring.any():
        return pixels
    own, other = pixels[ring].astype(np.float64), there[ring].astype(np.float64)
    level = np.median(own, axis=0)
    gain = _gain(own, other) if how == "full" else 1.0
    around = level + gain * (own - level)
    slope = _plane(other - around, ring)
    return (level + gain * (pixels - level) + slope).astype(np.float32)


def _gain(own: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How many times as strong the contrast is there; the rings' levels are (N, C)."""
    own_apart, other_apart = own - own.mean(axis=0), other - other.mean(axis=0)
    power, other_power = float((own_apart**2).mean()), float((other_apart**2).mean())
    together = float((own_apart * other_apart).mean())
    calm = _CALM_TONE_LEVELS**2
    if together**2 > _SAME_STRUCTURE**2 * power * other_power and together > 0:
        gain = (together + calm) / (power + calm)
    else:
        gain = (_spread(other) + _CALM_TONE_LEVELS) / (_spread(own) + _CALM_TONE_LEVELS)
    return float(np.clip(gain, _LEAST_GAIN, _MOST_GAIN))


def _spread(levels: NDArray[np.float64]) -> float:
    """Robust deviation (1.4826 times the median absolute one), as the mean over the channels.

    A trace at the rim of one ring and not of the other would make most of a variance.
    """
    return float(1.4826 * np.median(np.abs(levels - np.median(levels, axis=0)), axis=0).mean())


def _plane(differences: NDArray[np.float64], ring: Area) -> NDArray[np.float64]:
    """(H, W, C) plane a + b x + c y fitted to differences on the ring, by iteratively reweighted least squares.

    Weights after Huber (1964) first: 1 up to a residual of 1.5 robust deviations, beyond that inversely to it; then
    Tukey's (1974), which leave out what lies beyond 4.685 of them. A weak ridge draws b and c to 0, for a ring that
    lies on one side alone says little of a slope.
    """
    height, width = ring.shape
    y, x = np.nonzero(ring)
    scale = max(height, width) / 2
    design = np.column_stack([np.ones(y.size), (x - (width - 1) / 2) / scale, (y - (height - 1) / 2) / scale])
    ridge = np.diag([0.0, 0.05, 0.05])
    rows, columns = np.mgrid[0:height, 0:width]
    field = np.stack(
        [np.ones(ring.shape), (columns - (width - 1) / 2) / scale, (rows - (height - 1) / 2) / scale], axis=-1
    )
    plane = np.empty((height, width, differences.shape[1]))
    for channel in range(differences.shape[1]):
        values = differences[:, channel]
        coefficients = np.array([np.median(values), 0.0, 0.0])
        for turn in range(_ROUNDS):
            residuals = np.abs(values - design @ coefficients)
            deviation = 1.4826 * float(np.median(residuals)) + 0.5
            if turn < _ROUNDS // 2:
                weights = np.minimum(1.0, 1.5 * deviation / np.maximum(residuals, 1e-9))
            else:
                weights = np.maximum(0.0, 1 - (residuals / (4.685 * deviation)) ** 2) ** 2
            weighted = design * weights[:, None]
            normal = weighted.T @ design / weights.sum() + ridge
            coefficients = np.linalg.solve(normal, weighted.T @ values / weights.sum())
        plane[..., channel] = field @ coefficients
    return plane


_CALM_LEVELS = 1.0


def border_of(alpha: Plane) -> Area:
    """The mask's border: its soft edge, and a pixel to either side."""
    support = (alpha > 0).astype(np.uint8)
    core = (alpha >= 1).astype(np.uint8)
    kernel = np.ones((3, 3), dtype=np.uint8)
    outside = cv2.dilate(support, kernel)
    inside = cv2.erode(core, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray((outside > 0) & (inside == 0), dtype=np.bool_)


def gradient_across(pixels: Pixels, alpha: Plane) -> float:
    """Mean gradient across the mask's border, in levels a px.

    The picture's gradient (Sobel's, a px apart) is projected onto the mask's own direction from outside to inside, and
    its absolute value averaged over border and channels, so that a step along the border counts and a trace that
    crosses it does not.
    """
    border = border_of(alpha)
    if not border.any():
        return 0.0
    soft = cv2.GaussianBlur(alpha, (0, 0), 2.0)
    normal_x, normal_y = _gradient(soft)
    length = np.hypot(normal_x, normal_y)
    border &= length > 1e-6
    if not border.any():
        return 0.0
    across = np.zeros(int(border.sum()))
    for channel in range(pixels.shape[2]):
        x, y = _gradient(np.ascontiguousarray(pixels[..., channel]))
        across += np.abs(x * normal_x + y * normal_y)[border] / length[border]
    return float(across.mean() / pixels.shape[2])


def seam_score(here: float, own: float) -> float:
    """Gradient across the result's border over that across the defect's own; 1 is no more of a seam than real.

    Args:
        here: `gradient_across` of the result.
        own: of the defect where it really lies.
    """
    return (here + _CALM_LEVELS) / (own + _CALM_LEVELS)


def _gradient(plane: NDArray[Any]) -> tuple[Plane, Plane]:
    x, y = (
        np.asarray(cv2.Sobel(plane, cv2.CV_32F, *order, ksize=3, scale=1 / 8), dtype=np.float32)
        for order in ((1, 0), (0, 1))
    )
    return x, y
