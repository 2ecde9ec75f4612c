"""One transplant: finds a place, matches the tone, blends, and measures the seam. Reads and writes no files."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..masks.mask import composite
from ..output.planned_images import draw_index
from .cutout import Area, Cutout, Levels, Pixels, Plane, bounds_of, to_bytes, to_image, to_levels
from .placement import USUAL_LIMIT, Placement, Pose, Surface, apply_pose, draw_pose, find_placement
from .plan import Blend, ComposeSettings, Tone

POSES_TRIED = 4
"""Poses that are tried on an image for each copy."""
LARGEST_SEAM = 2.0
"""Highest `seam_score` of a place that was found by the surface alone, without an allowed area."""
_CLEAR_PX = 2
"""Gap between a defect and anything it must not touch."""

Mask = NDArray[np.uint8]
"""(H, W)."""


@dataclass(frozen=True, eq=False)
class Transplanted:
    """An image with the defect, and how it was made."""

    image: Image.Image
    mask: Image.Image
    """"L": where it is 0, the pixels are the base image's."""
    places: tuple[dict[str, Any], ...]
    """For each copy: pose, place, blending method and its measures."""


def transplant(
    cutout: Cutout, surface: Surface, settings: ComposeSettings, *, closed: Area, has_allowed: bool, seed: int
) -> Transplanted | str:
    """Put a defect on an image; the result is a reason if fewer copies than the least number found a place.

    The cutout has as many channels as the surface. `closed` is (H, W): where nothing may change, because it is outside
    of the allowed area or on a known defect.
    """
    limit = settings.match_limit or (None if has_allowed else USUAL_LIMIT)
    low, high = settings.copies
    wanted = low + draw_index(seed, "copies", high - low + 1)
    levels, mask = surface.levels.copy(), np.zeros(surface.size, dtype=np.uint8)
    shut = _widened(closed)
    places: list[dict[str, Any]] = []
    reason = ""
    for copy in range(wanted):
        joined = _join(cutout, surface, settings, shut, limit, seed, copy)
        if isinstance(joined, str):
            reason = joined
            break
        shut |= _widened(_paste(levels, mask, joined))
        places.append(
            {
                **asdict(joined.pose),
                "top": joined.placement.top,
                "left": joined.placement.left,
                "mismatch": round(joined.placement.mismatch, 4),
                "blend": joined.blended.way,
                "seam_score": round(joined.blended.seam, 4),
                "kept_rate": round(joined.blended.kept_rate, 4),
            }
        )
    if len(places) < low:
        return reason
    return Transplanted(to_image(levels), Image.fromarray(mask), tuple(places))


Way = Literal["feather", "clone", "mixed"]


@dataclass(frozen=True, eq=False)
class Blended:
    """A window with the defect in it."""

    levels: Levels
    way: Way
    seam: float
    """`seam_score` of it."""
    kept_rate: float
    """Share of the defect's contrast that is left; about 1 when nothing is lost."""
    likeness: float
    """Correlation of the levels inside the mask with the defect's own, -1 to 1; 1 when only the tone changed."""


@dataclass(frozen=True, eq=False)
class _Joined:
    """One copy at its place."""

    pose: Pose
    placement: Placement
    alpha: Mask
    blended: Blended


def _join(
    cutout: Cutout, surface: Surface, settings: ComposeSettings, shut: Area, limit: float | None, seed: int, copy: int
) -> _Joined | str:
    """The first of a few poses that finds a place without a visible seam; else the reason of the last one.

    Rings and blending use the image as it was before the first copy; this is right because copies do not touch.
    """
    reason = ""
    for attempt in range(POSES_TRIED):
        pose = draw_pose(settings, seed, copy * POSES_TRIED + attempt)
        turned = apply_pose(cutout, pose)
        if not turned.support.any():
            reason = "nothing is left of the defect at this scale"
            continue
        found = find_placement(surface, turned, shut, limit=limit, seed=seed, name=f"place {copy} {attempt}")
        if found.placement is None:
            reason = found.reason
            continue
        there = surface.window(found.placement.top, found.placement.left, *turned.alpha.shape)
        toned = match_tone(turned.pixels, there, turned.ring, settings.tone)
        # Measured in its pose, so that the blur of rotating counts on both sides.
        own_gradient = gradient_across(turned.pixels, turned.alpha)
        blended = blend(toned, there, turned.alpha, turned.ring, own_gradient=own_gradient, how=settings.blend)
        if limit is None or blended.seam <= LARGEST_SEAM:
            return _Joined(pose, found.placement, to_bytes(255 * turned.alpha), blended)
        reason = f"the seam would show (score {blended.seam:.2f}, limit {LARGEST_SEAM:g})"
    return reason


def _paste(levels: Levels, mask: Mask, joined: _Joined) -> Area:
    """Copy a window into the levels and its alpha into the mask where the alpha is not 0; returns that area."""
    window, alpha, placement = joined.blended.levels, joined.alpha, joined.placement
    part, inner = _overlap(mask.shape, alpha.shape, placement)
    support = alpha[inner] > 0
    levels[part][support] = window[inner][support]
    mask[part][support] = alpha[inner][support]
    changed = np.zeros(mask.shape, dtype=np.bool_)
    changed[part] = support
    return changed


def _overlap(
    image_shape: tuple[int, ...], window: tuple[int, ...], placement: Placement
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the image that a window covers, and the part of the window inside the image."""
    top, left = max(0, placement.top), max(0, placement.left)
    bottom, right = min(image_shape[0], placement.top + window[0]), min(image_shape[1], placement.left + window[1])
    inner = (slice(top - placement.top, bottom - placement.top), slice(left - placement.left, right - placement.left))
    return (slice(top, bottom), slice(left, right)), inner


def _widened(area: Area) -> Area:
    kernel = np.ones((2 * _CLEAR_PX + 1, 2 * _CLEAR_PX + 1), dtype=np.uint8)
    return np.asarray(cv2.dilate(area.astype(np.uint8), kernel) > 0, dtype=np.bool_)


WAYS: tuple[Way, ...] = ("feather", "clone", "mixed")

LEAST_KEPT_RATE = 0.9
LEAST_LIKENESS = 0.99
"""A method that keeps less of the defect is not taken, however small its seam."""
_LEAST_CLONED_PX = 4


def blend(patch: Pixels, there: Pixels, alpha: Plane, ring: Area, *, own_gradient: float, how: Blend) -> Blended:
    """Blend a defect into a surface; outside the alpha's support the window stays as it is.

    "feather" weights each pixel by its alpha. "clone" and "mixed" solve Poisson's equation inside the support (Perez,
    Gangnet and Blake 2003, cv2.seamlessClone) and weight the solution by the alpha. "auto" takes the method with the
    least seam among those that keep the defect.

    Args:
        patch: (H, W, C) the defect's window, its tone matched.
        there: (H, W, C) the window of the new place.
        alpha: (H, W) in steps of 1/255, as the mask file has it.
        ring: (H, W) the surroundings.
        own_gradient: `gradient_across` of the defect at its original place, in its pose.
    """
    ways = WAYS if how == "auto" else (how,)
    return best_blend([_one(way, patch, there, alpha, ring, own_gradient) for way in ways])


def best_blend(tried: Sequence[Blended]) -> Blended:
    """The result with the least seam among those that keep the defect; the first one if none does.

    A seam below that of a real defect is no gain: such results count as equal, and the first is taken.
    """
    keeping = [one for one in tried if one.kept_rate >= LEAST_KEPT_RATE and one.likeness >= LEAST_LIKENESS]
    return min(keeping or tried[:1], key=lambda one: max(1.0, one.seam))


def _one(way: Way, patch: Pixels, there: Pixels, alpha: Plane, ring: Area, own_gradient: float) -> Blended:
    joined = patch if way == "feather" else _cloned(patch, there, alpha > 0, way)
    mask = Image.fromarray(to_bytes(255 * alpha))
    levels = to_levels(composite(to_image(to_bytes(there)), to_image(to_bytes(joined)), mask))
    pixels = levels.astype(np.float32)
    seam = seam_score(gradient_across(pixels, alpha), own_gradient)
    return Blended(levels, way, seam, *_kept(patch, pixels, alpha, ring))


def _cloned(patch: Pixels, there: Pixels, support: Area, way: Way) -> Pixels:
    """The window with the defect cloned into it; the unchanged patch when the support is too small for that."""
    top, bottom, left, right = bounds_of(support)
    if min(bottom - top, right - left) < _LEAST_CLONED_PX:
        return patch
    colours = [np.ascontiguousarray(np.repeat(to_bytes(one), 3 // one.shape[2], axis=2)) for one in (patch, there)]
    # seamlessClone puts the middle of the mask's bounding box at this point: here, where it is already.
    middle = (left + (right - left) // 2, top + (bottom - top) // 2)
    flag = cv2.NORMAL_CLONE if way == "clone" else cv2.MIXED_CLONE
    # With a mask of one channel instead of three, OpenCV 5.0 silently returns the surface.
    mask = np.repeat(support.astype(np.uint8)[..., None] * np.uint8(255), 3, axis=2)
    cloned = cv2.seamlessClone(colours[0], colours[1], mask, middle, flag)
    return np.asarray(cloned, dtype=np.float32)[..., : patch.shape[2]]


def _kept(patch: Pixels, result: Pixels, alpha: Plane, ring: Area) -> tuple[float, float]:
    """How much of the defect is left inside the mask: (slope, correlation) of the result's levels on the patch's.

    The slope is measured from the surroundings' median, the correlation from the means. A defect that hardly differs
    from its surroundings has nothing to lose and gives 1 and 1.
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
"""Added to both spreads before their ratio is taken: the noise of plain surfaces says nothing about contrast."""
_SAME_STRUCTURE = 0.7
_LEAST_GAIN, _MOST_GAIN = 0.7, 1.4
_ROUNDS = 6


def match_tone(pixels: Pixels, there: Pixels, ring: Area, how: Tone) -> Pixels:
    """The defect's window with the tone of the new place.

    In both rings each channel has a level, and all channels together a spread. The contrast around the level is
    multiplied by `(spread there + 6) / (own spread + 6)`, within 0.7 to 1.4; where both rings show the same structure
    (a correlation above 0.7), by the gain of least squares. The level becomes that of the new place, which may be a
    slope: a plane is fitted robustly to the differences on the ring, so that a single deviating trace has no effect.
    `how` is "full" as described, "mean" without the contrast, or "none", which changes nothing.

    Args:
        pixels: (H, W, C) the defect in its pose.
        there: (H, W, C) the same window of the new place.
        ring: (H, W) the surroundings.
    """
    if how == "none" or not ring.any():
        return pixels
    own, other = pixels[ring].astype(np.float64), there[ring].astype(np.float64)
    level = np.median(own, axis=0)
    gain = _gain(own, other) if how == "full" else 1.0
    slope = _plane(other - (level + gain * (own - level)), ring)
    return (level + gain * (pixels - level) + slope).astype(np.float32)


def _gain(own: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Gain of the contrast from the own ring to the other one; levels are (N, C)."""
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
    """Robust deviation (1.4826 times the median absolute deviation), averaged over the channels.

    A variance would be dominated by a trace that only one of the two rings has.
    """
    return float(1.4826 * np.median(np.abs(levels - np.median(levels, axis=0)), axis=0).mean())


def _plane(differences: NDArray[np.float64], ring: Area) -> NDArray[np.float64]:
    """(H, W, C) plane a + b x + c y fitted to differences on the ring, by iteratively reweighted least squares.

    First with the weights of Huber (1964): 1 up to a residual of 1.5 robust deviations, then inversely proportional;
    later with those of Tukey (1974), which ignore residuals beyond 4.685 deviations. A weak ridge pulls b and c towards
    0, because a ring on one side alone says little about a slope.
    """
    height, width = ring.shape
    y, x = np.nonzero(ring)
    scale = max(height, width) / 2
    design = np.column_stack([np.ones(y.size), (x - (width - 1) / 2) / scale, (y - (height - 1) / 2) / scale])
    ridge = np.diag([0.0, 0.05, 0.05])
    rows, columns = np.mgrid[0:height, 0:width]
    across, down = (columns - (width - 1) / 2) / scale, (rows - (height - 1) / 2) / scale
    field = np.stack([np.ones(ring.shape), across, down], axis=-1)
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
    """The mask's border: its soft edge and one pixel on either side."""
    support, core = (alpha > 0).astype(np.uint8), (alpha >= 1).astype(np.uint8)
    kernel = np.ones((3, 3), dtype=np.uint8)
    inside = cv2.erode(core, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray((cv2.dilate(support, kernel) > 0) & (inside == 0), dtype=np.bool_)


def gradient_across(pixels: Pixels, alpha: Plane) -> float:
    """Mean gradient across the mask's border, in levels per px.

    The image's gradient (Sobel) is projected onto the direction from outside to inside of the mask, and its absolute
    value is averaged over border and channels: a step along the border counts, a trace that crosses it does not.
    """
    border = border_of(alpha)
    if not border.any():
        return 0.0
    normal_x, normal_y = _gradient(cv2.GaussianBlur(alpha, (0, 0), 2.0))
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
    """Ratio of `gradient_across` of the result to that of the defect at its original place; 1 is no more than real."""
    return (here + _CALM_LEVELS) / (own + _CALM_LEVELS)


def _gradient(plane: NDArray[Any]) -> tuple[Plane, Plane]:
    x, y = (
        np.asarray(cv2.Sobel(plane, cv2.CV_32F, *order, ksize=3, scale=1 / 8), dtype=np.float32)
        for order in ((1, 0), (0, 1))
    )
    return x, y
