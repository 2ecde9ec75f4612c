"""One transplant: a defect on a picture, at one place or several (pure; everything follows from the seed)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..batch.draws import draw_index
from .blend import Blended, blend
from .cut import Cutout
from .pixels import Area, Levels, to_bytes, to_picture
from .place import USUAL_LIMIT, Placement, find_placement
from .pose import Pose, apply_pose, draw_pose
from .seam import gradient_across
from .settings import ComposeSettings
from .surface import Surface
from .tone import match_tone

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
