"""A defect turned, scaled and mirrored."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..batch.draws import Range, draw_index, draw_number
from .cut import Cutout
from .settings import ComposeSettings


@dataclass(frozen=True)
class Pose:
    """How a defect lies at its new place."""

    angle_degrees: float = 0.0
    """Turned by this against the clock, after mirroring."""
    scale: float = 1.0
    is_flipped: bool = False
    """Mirrored left to right."""


def draw_pose(settings: ComposeSettings, seed: int, attempt: int) -> Pose:
    """The pose of an image with this seed, another one for each attempt."""
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
    """The defect in that pose; quarter turns and mirroring at scale 1 move pixels and compute none."""
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
    """Levels sharply; alpha and what is known linearly, for these must not ring."""
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
