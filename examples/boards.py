"""Draw a small set of "boards": close-ups of pads and substrate, sound or with one of five defects.

    python examples/boards.py photos --seed 0

The pictures are drawn by this file, not photographed. They stand in for a factory's photographs so that the
whole chain can be tried with no data: a metal finish and a glass-fibre laminate, uneven light, blur and sensor
noise, harmless marks on sound boards too, and far more sound images than images of the rarest defect. A result
measured on them says that the software works; it says nothing about a real board.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from shapes import SIZE_PX, Array, X, Y, blob, curve, half_plane, noise, place, rotated, stroke

SURFACES = ("pad", "substrate")
COUNTS: dict[str, int] = {
    "Normal": 400,
    "scratch": 160,
    "oxidation": 130,
    "foreign_fibre": 100,
    "pit": 80,
    "exposed_copper": 60,
}
"""Images of each class, half of them on each surface."""


def draw_boards(dest: Path, seed: int = 0, *, counts: Mapping[str, int] = COUNTS) -> dict[str, int]:
    """Draw the set into `dest/<class>/<surface>_<number>.png` and return the number of images per class.

    The same seed draws the same pixels; each image depends only on the seed, its class and its number, so a
    smaller set is a part of a larger one. An image that is there already is drawn again.

    Args:
        dest: folder to draw into; made when it is not there.
        seed: 0 or greater.
        counts: images per class; the classes are those of `COUNTS`.

    Raises:
        KeyError: a class of `counts` that this file cannot draw.
    """
    for name, count in counts.items():
        folder = dest / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            surface = SURFACES[number % 2]
            path = folder / f"{surface}_{number // 2 + 1:03d}.png"
            part = path.with_suffix(".part")
            draw_board(name, surface, seed=seed, number=number).save(part, format="PNG")
            part.replace(path)
    return dict(counts)


def draw_board(name: str, surface: str, *, seed: int, number: int) -> Image.Image:
    """One image, `SIZE_PX` square, RGB.

    Args:
        name: a class of `COUNTS`.
        surface: one of `SURFACES`.
        seed: seed of the whole set.
        number: which image of its class, from 0.
    """
    return draw_pair(name, surface, seed=seed, number=number)[0]


def draw_pair(name: str, surface: str, *, seed: int, number: int) -> tuple[Image.Image, Image.Image]:
    """The image of `draw_board`, and the same board without the defect in the same light: where they differ it is.

    Arguments as for `draw_board`; the two of a Normal board are equal.
    """
    class_index = list(COUNTS).index(name) if name in COUNTS else -1
    if class_index < 0:
        raise KeyError(f"no class {name!r} here; expected one of {', '.join(COUNTS)}")
    rng = np.random.default_rng([seed, class_index, SURFACES.index(surface), number])
    picture = _pad(rng) if surface == "pad" else _substrate(rng)
    good = picture = _harmless_marks(picture, rng)
    if name != "Normal":
        picture = _DEFECTS[name](picture, surface, rng)
    camera = rng.bit_generator.state
    photograph = _photograph(picture, rng)
    rng.bit_generator.state = camera
    return photograph, _photograph(good, rng)


# Surfaces: (SIZE_PX, SIZE_PX, 3) float, 0-1.


def _pad(rng: np.random.Generator) -> Array:
    """A metal finish, gold or tin, brushed along one direction; sometimes its edge and the mask beside it."""
    gold, tin = np.array([0.80, 0.64, 0.34]), np.array([0.68, 0.67, 0.64])
    colour = gold if rng.random() < 0.8 else tin
    colour = colour * rng.uniform(0.95, 1.04) + rng.normal(0, 0.008, 3)
    angle_deg = rng.normal(0, 12) + 90 * rng.integers(0, 2)
    brushed = rotated(noise(rng, 1.3, 26, size_px=2 * SIZE_PX), angle_deg)
    fine = rotated(noise(rng, 1, 9, size_px=2 * SIZE_PX), angle_deg)
    tone = 1 + rng.uniform(0.015, 0.04) * brushed + 0.025 * fine + 0.035 * noise(rng, 22, 22)
    picture = tone[..., None] * colour
    if rng.random() < 0.25:
        green = np.array([0.10, 0.33, 0.19]) * rng.uniform(0.8, 1.3)
        mask = (1 + 0.05 * noise(rng, 3, 3))[..., None] * green
        depth_px = half_plane(rng, margin_px=rng.uniform(36, 46))
        picture = _blend(picture, mask, np.clip(depth_px + 0.5, 0, 1))
        picture *= (1 - 0.35 * np.exp(-((depth_px / 2.2) ** 2)))[..., None]
    return picture


def _substrate(rng: np.random.Generator) -> Array:
    """Glass-fibre laminate under green or brown lacquer: a weave, traces that stand out, now and then a via."""
    colour = np.array([0.13, 0.40, 0.22]) if rng.random() < 0.8 else np.array([0.46, 0.33, 0.17])
    colour = colour * rng.uniform(0.92, 1.08) + rng.normal(0, 0.008, 3)
    period_px = rng.uniform(7, 11)
    turn = math.radians(rng.uniform(-8, 8) + (45 if rng.random() < 0.2 else 0))
    u = (X * math.cos(turn) + Y * math.sin(turn)) * 2 * math.pi / period_px + 0.5 * noise(rng, 16, 16)
    v = (Y * math.cos(turn) - X * math.sin(turn)) * 2 * math.pi / period_px + 0.5 * noise(rng, 16, 16)
    over = 0.5 + 0.5 * np.tanh(3 * np.sin(u / 2) * np.sin(v / 2))
    weave = over * np.abs(np.sin(u)) + (1 - over) * np.abs(np.sin(v)) - 0.6
    tone = 1 + rng.uniform(0.04, 0.09) * weave + 0.03 * noise(rng, 1.5, 1.5) + 0.04 * noise(rng, 24, 24)
    picture = tone[..., None] * colour
    for _ in range(rng.choice([0, 0, 1])):
        depth_px = np.abs(half_plane(rng, margin_px=rng.uniform(-30, 30), right_angles=True))
        half_px = rng.uniform(3, 8)
        inside = np.clip(half_px - depth_px + 0.5, 0, 1)
        picture = _blend(picture, picture * 1.12 + np.array([0.05, 0.06, 0.02]), inside)
        picture *= (1 - 0.22 * np.exp(-(((depth_px - half_px) / 1.1) ** 2)))[..., None]
    if rng.random() < 0.12:
        cx, cy = rng.choice([10, SIZE_PX - 10], 2) + rng.normal(0, 4, 2)
        radius_px = rng.uniform(5, 8)
        distance_px = np.hypot(X - cx, Y - cy)
        ring = np.clip(radius_px - distance_px + 0.5, 0, 1)
        hole = np.clip(radius_px * 0.55 - distance_px + 0.5, 0, 1)
        picture = _blend(picture, np.array([0.66, 0.60, 0.42]), ring)
        picture = _blend(picture, np.array([0.06, 0.06, 0.05]), hole)
    return picture


def _harmless_marks(picture: Array, rng: np.random.Generator) -> Array:
    """Dust and faint wear that an inspector passes; on every class, so that a clean image is no cue."""
    for _ in range(rng.poisson(1.2)):
        x, y = rng.uniform(0, SIZE_PX, 2)
        speck = np.exp(-((X - x) ** 2 + (Y - y) ** 2) / (2 * rng.uniform(0.6, 1.1) ** 2))
        picture = picture * (1 + rng.uniform(-0.25, 0.2) * speck)[..., None]
    if rng.random() < 0.35:
        wear = stroke(curve(rng, rng.uniform(15, 50), bend=0.1), rng.uniform(0.8, 1.6))
        picture = picture * (1 + rng.uniform(-0.05, 0.05) * wear)[..., None]
    if rng.random() < 0.3:
        haze = blob(rng, rng.uniform(8, 20), softness=0.8)
        picture = picture * (1 + rng.uniform(-0.06, 0.06) * haze)[..., None]
    return picture


# Defects: each takes the surface's picture and returns it with the defect.


def _scratch(picture: Array, surface: str, rng: np.random.Generator) -> Array:
    """A bright or dark line with a shadow on one side, straight or slightly bent, fading at its ends."""
    del surface
    points = curve(rng, rng.uniform(40, 90), bend=rng.uniform(0, 0.12))
    width_px = rng.uniform(2.0, 3.8)
    contrast = rng.uniform(0.3, 0.75) * (1 if rng.random() < 0.7 else -1)
    for offset_px, amount in ((0.0, contrast), (width_px, -0.5 * contrast)):
        line = stroke([(x + offset_px, y + offset_px) for x, y in points], width_px, fade=True)
        picture = picture * (1 + amount * line)[..., None]
    return picture


def _oxidation(picture: Array, surface: str, rng: np.random.Generator) -> Array:
    """A soft cloud that turns metal brown or violet, and bleaches or darkens lacquer."""
    if surface == "pad":
        tint = np.array([0.40, 0.25, 0.16]) if rng.random() < 0.6 else np.array([0.38, 0.27, 0.36])
    else:
        tint = np.array([0.52, 0.53, 0.42]) if rng.random() < 0.5 else np.array([0.16, 0.14, 0.10])
    cloud = blob(rng, rng.uniform(14, 30), softness=rng.uniform(0.3, 0.7))
    cloud = cloud * (1 + 0.35 * noise(rng, 4, 4))
    return _blend(picture, tint, np.clip(rng.uniform(0.4, 0.85) * cloud, 0, 1))


def _foreign_fibre(picture: Array, surface: str, rng: np.random.Generator) -> Array:
    """A curled thread that lies on the surface and throws a soft shadow."""
    del surface
    colours = ([0.90, 0.90, 0.88], [0.14, 0.14, 0.16], [0.20, 0.30, 0.66])
    points = curve(rng, rng.uniform(50, 110), bend=rng.uniform(0.3, 1.0))
    width_px = rng.uniform(1.8, 3.4)
    shadow = stroke([(x + 1.4, y + 1.6) for x, y in points], width_px + 1)
    thread = stroke(points, width_px)
    picture = picture * (1 - rng.uniform(0.1, 0.22) * shadow)[..., None]
    colour = np.array(colours[rng.integers(len(colours))])
    return _blend(picture, colour, rng.uniform(0.6, 0.95) * thread)


def _pit(picture: Array, surface: str, rng: np.random.Generator) -> Array:
    """One to three small round hollows: dark, with a bright rim on the side away from the light."""
    del surface
    centre = place(rng)
    light = rng.uniform(0, 2 * math.pi)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        x, y = centre + rng.normal(0, 9, 2)
        radius_px = rng.uniform(4.5, 10)
        stretch, turn = rng.uniform(0.75, 1.0), rng.uniform(0, math.pi)
        dx = (X - x) * math.cos(turn) + (Y - y) * math.sin(turn)
        dy = (Y - y) * math.cos(turn) - (X - x) * math.sin(turn)
        distance_px = np.hypot(dx * stretch, dy)
        hollow = 1 / (1 + np.exp((distance_px - radius_px) * 1.4))
        rim = np.exp(-(((distance_px - radius_px - 1.2) / 1.4) ** 2))
        side = 0.5 + 0.5 * np.cos(np.arctan2(Y - y, X - x) - light)
        picture = picture * (1 - rng.uniform(0.5, 0.85) * hollow + rng.uniform(0.1, 0.3) * rim * side)[..., None]
    return picture


def _exposed_copper(picture: Array, surface: str, rng: np.random.Generator) -> Array:
    """A patch where the finish or lacquer is gone: copper, sharply bounded, with a thin dark edge."""
    del surface
    copper = np.array([0.76, 0.42, 0.28]) * rng.uniform(0.9, 1.1)
    patch = blob(rng, rng.uniform(12, 23), softness=0.12)
    grain = (1 + 0.06 * noise(rng, 2, 2))[..., None]
    picture = _blend(picture, copper * grain, rng.uniform(0.6, 0.92) * patch)
    edge = 4 * patch * (1 - patch)
    return picture * (1 - 0.3 * edge)[..., None]


_DEFECTS: dict[str, Callable[[Array, str, np.random.Generator], Array]] = {
    "scratch": _scratch,
    "oxidation": _oxidation,
    "foreign_fibre": _foreign_fibre,
    "pit": _pit,
    "exposed_copper": _exposed_copper,
}


def _photograph(picture: Array, rng: np.random.Generator) -> Image.Image:
    """What the camera makes of it: a slope and a spot of light, colour cast, focus, sensor noise."""
    slope = rng.uniform(0, 0.12) * half_plane(rng, margin_px=0) / (SIZE_PX / 2)
    x, y = rng.uniform(-20, SIZE_PX + 20, 2)
    spot = rng.uniform(0, 0.12) * np.exp(-((X - x) ** 2 + (Y - y) ** 2) / (2 * rng.uniform(25, 50) ** 2))
    lit = picture * (rng.uniform(0.9, 1.06) + slope + spot)[..., None] * rng.normal(1, 0.012, 3)
    image = Image.fromarray(_to_bytes(lit)).filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.8)))
    seen = np.asarray(image, dtype=np.float64) / 255
    noise = rng.normal(0, 1, seen.shape) * (rng.uniform(0.008, 0.022) * np.sqrt(seen + 0.1))
    return Image.fromarray(_to_bytes(seen + noise))


def _blend(below: Array, above: Array, coverage: Array) -> Array:
    return below + coverage[..., None] * (above - below)


def _to_bytes(picture: Array) -> NDArray[np.uint8]:
    return np.clip(np.round(picture * 255), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dest", type=Path, help="folder to draw into")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    drawn = draw_boards(arguments.dest, arguments.seed)
    print(f"{arguments.dest}: {sum(drawn.values())} images drawn: {drawn}")
