"""The classical engine: varies images one by one by classical image processing. Prompts have no effect.

An image is changed in this order. Each random draw is made at full size and scaled by the strength, so with one seed a
higher strength changes the image further in the same direction:

shape    a smooth elastic displacement, and a small rotation, zoom and shift
texture  the image's own frequencies with random phases: the spectrum (grain, pitch, scale) stays, the arrangement
         changes; fine detail first, coarse structure only at high strength; at low strength only where the image has
         texture, so that flat areas stay flat
tone     gamma, gain and a shift of colour

For txt2img the start is a texture: the sum of ever finer smooth random fields, each half as strong as the one before,
coloured by a random ramp.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import fft, ndimage

from ..manifest.database import ENGINE
from .engine import (
    ALL_SAMPLERS,
    MODEL_NAME,
    NOTICE,
    GenerationRecipe,
    ImageTask,
    ModelCard,
    SingleImageEngine,
    StepMonitor,
)

_Pixels: TypeAlias = npt.NDArray[np.float32]


_LEAST_ZOOM = -0.25
"""Zooming in is more likely than out, because the pixels beyond the edge are unknown."""


@dataclass(frozen=True)
class Reach:
    """How far each kind of change goes at strength 1."""

    elastic_rate: float = 0.10
    """Root mean square displacement as a share of the shorter side."""
    turn_deg: float = 14.0
    zoom_rate: float = 0.12
    shift_rate: float = 0.1
    gamma_log: float = 0.5
    gain_rate: float = 0.25
    colour_levels: float = 24.0


class ClassicalEngine:
    """Classical image processing behind the `SingleImageEngine` interface."""

    name = ENGINE

    def __init__(self, reach: Reach | None = None) -> None:
        self._reach = reach or Reach()

    def vary(self, source: Image.Image, *, strength: float, seed: tuple[int, ...]) -> Image.Image:
        """A variation of the source; at strength 0 the source itself, at 1 hardly related to it; clipped to 0..1."""
        strength = min(max(strength, 0.0), 1.0)
        if strength == 0:
            return source.copy()
        rng = np.random.default_rng(seed)
        pixels: _Pixels = np.asarray(source, dtype=np.float32)
        grey = bool((pixels[..., :1] == pixels).all())
        if grey:
            pixels = pixels[..., :1]
        pixels = self._reshape(pixels, strength, rng)
        pixels = _scramble(pixels, strength, rng)
        pixels = self._retone(pixels, strength, rng)
        levels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
        return Image.fromarray(np.repeat(levels, 3, axis=2) if grey else levels)

    def _reshape(self, pixels: _Pixels, strength: float, rng: np.random.Generator) -> _Pixels:
        height, width = pixels.shape[:2]
        side, reach = min(height, width), self._reach
        turn = np.deg2rad(reach.turn_deg) * strength * rng.uniform(-1, 1)
        zoom = 1 + reach.zoom_rate * strength * rng.uniform(_LEAST_ZOOM, 1)
        shift = reach.shift_rate * strength * side * rng.uniform(-1, 1, 2)
        coarse, fine = (np.stack([_smooth_field(rng, (height, width), knots) for _ in range(2)]) for knots in (4, 9))
        elastic = reach.elastic_rate * strength**1.3 * side * (0.85 * coarse + 0.2 * fine)
        y, x = (np.arange(length, dtype=np.float32) - length / 2 for length in (height, width))
        y, x = np.meshgrid(y, x, indexing="ij")
        cos, sin = np.cos(turn) / zoom, np.sin(turn) / zoom
        rows = cos * y - sin * x + height / 2 + shift[0] + elastic[0]
        columns = sin * y + cos * x + width / 2 + shift[1] + elastic[1]
        return _sample(pixels, rows.astype(np.float32), columns.astype(np.float32))

    def _retone(self, pixels: _Pixels, strength: float, rng: np.random.Generator) -> _Pixels:
        reach = self._reach
        gamma = np.exp(reach.gamma_log * strength * rng.uniform(-1, 1))
        gain = 1 + reach.gain_rate * strength * rng.uniform(-1, 1)
        shift = reach.colour_levels * strength * (rng.uniform(-1, 1) + 0.5 * rng.uniform(-1, 1, 3))
        middle = float(pixels.mean())
        toned = 255 * (np.clip(pixels, 0, 255) / 255) ** gamma
        toned = middle + gain * (toned - middle) + shift[: pixels.shape[2]]
        return np.asarray(toned, dtype=np.float32)


def _smooth_field(rng: np.random.Generator, shape: tuple[int, int], knots: int) -> _Pixels:
    """A smooth random field of unit variance, (H, W), with about `knots` bumps across."""
    values = rng.standard_normal((knots, knots)).astype(np.float32)
    return np.asarray(Image.fromarray(values).resize(shape[::-1], Image.Resampling.BICUBIC))


def _sample(pixels: _Pixels, rows: _Pixels, columns: _Pixels) -> _Pixels:
    """Pixels at fractional coordinates, (H, W, C); outside the image the edge is repeated.

    Mirroring would draw traces that do not exist.
    """
    planes = [
        ndimage.map_coordinates(pixels[..., channel], (rows, columns), order=1, mode="nearest")
        for channel in range(pixels.shape[2])
    ]
    return np.stack(planes, axis=-1)


def _scramble(pixels: _Pixels, strength: float, rng: np.random.Generator) -> _Pixels:
    """Turn the phases of the image's frequencies at random, the fine ones first."""
    height, width = pixels.shape[:2]
    spectrum = fft.rfft2(pixels, axes=(0, 1))
    turned = np.exp(1j * rng.uniform(-np.pi, np.pi, spectrum.shape[:2])).astype(np.complex64)
    frequency = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None, :])
    weight = _phase_weight(frequency * min(height, width), strength)[..., None]
    weight[0, 0] = 0
    mixed = spectrum * np.sqrt(1 - weight**2) + np.abs(spectrum) * turned[..., None] * weight
    scrambled = fft.irfft2(mixed, s=(height, width), axes=(0, 1))
    share = _busy_share(pixels, strength)[..., None]
    return np.asarray(pixels + share * (scrambled - pixels), dtype=np.float32)


def _phase_weight(cycles: npt.NDArray[Any], strength: float) -> _Pixels:
    """Share of random phase by cycles across the image: fine detail at low strength, coarse structure at high."""
    onset = 0.55 / (1 + cycles / 4)
    ramp = np.clip((strength - onset) / (1 - onset), 0, 1)
    return np.asarray(ramp**0.85, dtype=np.float32)


def _busy_share(pixels: _Pixels, strength: float) -> _Pixels:
    """Weight of the scrambled image, (H, W): at low strength it is high only where the image has texture."""
    luma = pixels.mean(axis=2)
    sigma = max(1.0, min(luma.shape) / 48)
    mean = _local_mean(luma, sigma)
    deviation = np.sqrt(np.maximum(_local_mean(luma**2, sigma) - mean**2, 0))
    busy = deviation / (deviation + 0.5 * float(deviation.mean()) + 1)
    return np.asarray(busy + (1 - busy) * strength**2, dtype=np.float32)


def _local_mean(values: _Pixels, sigma: float) -> _Pixels:
    """Gaussian mean; for a wide Gaussian computed on a smaller copy, which is many times faster."""
    shrink = max(1, int(sigma / 2))
    small = Image.fromarray(values).reduce(shrink) if shrink > 1 else Image.fromarray(values)
    smooth = ndimage.gaussian_filter(np.asarray(small), sigma / shrink, mode="nearest")
    if shrink == 1:
        return np.asarray(smooth)
    return np.asarray(Image.fromarray(smooth).resize((values.shape[1], values.shape[0]), Image.Resampling.BILINEAR))


_COARSEST_KNOTS = 3
_OCTAVES = 6
_GRAIN_LEVELS = 3.0


def texture(size: tuple[int, int], seed: tuple[int, ...]) -> Image.Image:
    """An RGB texture of (width, height) px, determined by size and seed (non-negative integers)."""
    rng, shape = np.random.default_rng(seed), size[::-1]
    fields = [_smooth_field(rng, shape, _COARSEST_KNOTS * 2**octave).astype(np.float64) for octave in range(_OCTAVES)]
    field = sum(one / 2**octave for octave, one in enumerate(fields))
    low, high = np.min(field), np.max(field)
    share = (field - low) / max(float(high - low), 1e-9)
    dark, light = np.sort(rng.uniform(20, 235, (2, 3)), axis=0)
    pixels = dark + share[..., None] * (light - dark)
    pixels = pixels + _GRAIN_LEVELS * rng.standard_normal(pixels.shape)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


_DEPARTURE = 0.5
"""Strength at which a texture is varied; txt2img has none of its own."""

NO_MODEL = ModelCard(MODEL_NAME, hashlib.sha256(MODEL_NAME.encode("ascii")).hexdigest(), f"(no file) {NOTICE}")
"""There is no model file; the hash is that of the name."""


class OneByOneEngine:
    """Makes an `Engine` of a `SingleImageEngine`: varies each image, or a texture made from the seed.

    Samplers, schedules and prompts are accepted and reported, and change nothing.
    """

    notice = NOTICE
    model = NO_MODEL
    catalogue = ALL_SAMPLERS

    def __init__(self, engine: SingleImageEngine) -> None:
        self._engine, self.name = engine, engine.name

    def generate(
        self, tasks: Sequence[ImageTask], recipe: GenerationRecipe, monitor: StepMonitor
    ) -> Iterator[Image.Image]:
        """Yield each image as soon as it is made."""
        monitor.spend(recipe.steps)
        for task in tasks:
            seed = task.seed.numbers
            if task.start is None:
                yield self._engine.vary(texture(recipe.size, seed), strength=_DEPARTURE, seed=seed)
            else:
                yield self._engine.vary(task.start, strength=recipe.strength, seed=seed)

    def describe_recipe(self, recipe: GenerationRecipe) -> Mapping[str, Any]:
        """Nothing."""
        del recipe
        return {}
