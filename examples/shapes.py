"""Fields and shapes that `boards.py` draws with: (SIZE_PX, SIZE_PX) float arrays; coverage is 0-1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIZE_PX = 96

Array = NDArray[np.float64]
Points = Sequence[tuple[float, float]]

Y, X = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float64)
"""Row and column of each pixel."""

_SUPERSAMPLE = 4


def noise(rng: np.random.Generator, cell_x_px: float, cell_y_px: float, *, size_px: int = SIZE_PX) -> Array:
    """Smooth random field of zero mean and unit variance; the cells say how fast it changes along x and y."""
    cells = (max(2, round(size_px / cell_y_px)), max(2, round(size_px / cell_x_px)))
    coarse = Image.fromarray(rng.normal(0, 1, cells).astype(np.float32))
    field = np.asarray(coarse.resize((size_px, size_px), Image.Resampling.BICUBIC), dtype=np.float64)
    return (field - field.mean()) / (field.std() + 1e-9)


def rotated(field: Array, angle_deg: float) -> Array:
    """The middle of a field of twice the size, turned."""
    image = Image.fromarray(field.astype(np.float32)).rotate(angle_deg, Image.Resampling.BILINEAR)
    start = (field.shape[0] - SIZE_PX) // 2
    return np.asarray(image, dtype=np.float64)[start : start + SIZE_PX, start : start + SIZE_PX]


def half_plane(rng: np.random.Generator, *, margin_px: float, right_angles: bool = False) -> Array:
    """Signed distance in px from a straight line that passes `margin_px` from the middle."""
    angle = rng.uniform(0, 2 * math.pi)
    if right_angles:
        angle = rng.integers(0, 8) * math.pi / 4
    middle = (SIZE_PX - 1) / 2
    return (X - middle) * math.cos(angle) + (Y - middle) * math.sin(angle) - margin_px


def curve(rng: np.random.Generator, length_px: float, *, bend: float) -> Points:
    """A line of 40 points whose direction drifts; `bend` 0 is straight, 1 curls. Its middle is in the image."""
    steps = 40
    drift = np.cumsum(np.cumsum(rng.normal(0, 1, steps)))
    drift = drift / (np.abs(drift).max() + 1e-9) * bend * math.pi
    angle = rng.uniform(0, 2 * math.pi) + drift
    path = np.cumsum(np.stack([np.cos(angle), np.sin(angle)], axis=1) * length_px / steps, axis=0)
    path += place(rng) - path[steps // 2]
    return [(float(x), float(y)) for x, y in path]


def place(rng: np.random.Generator) -> Array:
    """Where a defect sits, x and y in px: near the middle, as in a crop made around it, but never exactly."""
    return np.clip(rng.normal(SIZE_PX / 2, 10, 2), 22, SIZE_PX - 22)


def stroke(points: Points, width_px: float, *, fade: bool = False) -> Array:
    """Coverage 0-1 of a line along the points; `fade` thins it out towards both ends."""
    canvas = Image.new("L", (SIZE_PX * _SUPERSAMPLE, SIZE_PX * _SUPERSAMPLE))
    draw = ImageDraw.Draw(canvas)
    last = len(points) - 1
    for index in range(last):
        level = 1 - abs(2 * (index + 0.5) / last - 1) ** 3 if fade else 1.0
        ends = [(x * _SUPERSAMPLE, y * _SUPERSAMPLE) for x, y in points[index : index + 2]]
        draw.line(ends, fill=round(255 * level), width=max(1, round(width_px * _SUPERSAMPLE)))
    return np.asarray(canvas.reduce(_SUPERSAMPLE), dtype=np.float64) / 255


def blob(rng: np.random.Generator, radius_px: float, *, softness: float) -> Array:
    """Coverage 0-1 of an irregular, stretched patch; `softness` is the width of its edge over its radius."""
    x, y = place(rng)
    turn, stretch = rng.uniform(0, math.pi), rng.uniform(1, 1.5)
    dx = ((X - x) * math.cos(turn) + (Y - y) * math.sin(turn)) / stretch
    dy = ((Y - y) * math.cos(turn) - (X - x) * math.sin(turn)) * stretch
    cell_px = max(3.0, radius_px * 0.6)
    distance = np.hypot(dx, dy) / radius_px + 0.28 * noise(rng, cell_px, cell_px)
    return np.clip((1 - distance) / softness + 0.5, 0, 1)
