"""Faults to plant into pictures, each under the reason that should name it; for `curation_filters.py`."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage
from skimage import data

from sdclient.serve.classical_engine import ClassicalEngine
from sdclient.sources.source import ImageForm, fit_to_model, generation_size, restore_form

Pixels = NDArray[np.float64]

FACES_WITH = 100
"""`lfw_subset` begins with so many faces; the rest are pictures without."""


@dataclass(frozen=True)
class Planted:
    """A picture with a fault."""

    case: str
    reasons: tuple[str, ...]
    """Words that name it rightly; none for a picture that is good."""
    picture: Image.Image


_Spoil = Callable[[Pixels, Image.Image, np.random.Generator], Pixels | Image.Image]


@dataclass(frozen=True)
class _Fault:
    case: str
    reasons: tuple[str, ...]
    spoil: _Spoil


def sibling(source: Image.Image, strength: float, seed: int) -> Image.Image:
    """What `sdclient generate` gets of the embedded server's classical engine, back at the source's size."""
    large = fit_to_model(source, generation_size(*source.size))
    return restore_form(ClassicalEngine().vary(large, strength=strength, seed=(seed,)), ImageForm.of(source))


def good_siblings(source: Image.Image, seed: int) -> Iterator[Planted]:
    """Siblings at strengths that kept defects real, each of a seed of its own."""
    for number, strength in enumerate((0.25, 0.30, 0.35)):
        yield Planted(f"img2img at {strength:.2f}", (), sibling(source, strength, 3 * seed + number))


def copies(source: Image.Image, rng: np.random.Generator) -> Iterator[Planted]:
    """Pictures that teach nothing that the source does not."""
    alike = ("too_alike",)
    pixels = _array(source)
    yield Planted("exact copy", alike, source.copy())
    yield Planted("shifted by 1 px", alike, to_image(_shifted(pixels, 1, 0), source))
    yield Planted("JPEG quality 90", alike, _jpeg(source, 90))
    yield Planted("sensor noise of 2 levels", alike, to_image(pixels + 2 * rng.standard_normal(pixels.shape), source))
    yield Planted("contrast x 0.9, + 8 levels", alike, to_image(0.9 * pixels + 8, source))
    for side_px in (3, 6):
        edited = pixels.copy()
        top, left = rng.integers(0, np.array(edited.shape[:2]) - side_px)
        patch = edited[top : top + side_px, left : left + side_px]
        edited[top : top + side_px, left : left + side_px] = 255 - patch
        yield Planted(f"tiny edit, {side_px} x {side_px} px", alike, to_image(edited, source))


def retake(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture once more, shifted by a pixel and with noise of 2 levels: a near duplicate."""
    pixels = _shifted(_array(picture), 0, 1)
    return to_image(pixels + 2 * rng.standard_normal(pixels.shape), picture)


def faults(source: Image.Image, first_seed: int, rng: np.random.Generator) -> Iterator[Planted]:
    """Pictures that no camera took, each made of a sibling of its own at strength 0.3."""
    for number, fault in enumerate(_FAULTS):
        good = sibling(source, 0.30, first_seed + number)
        made = fault.spoil(_array(good), good, rng)
        yield Planted(fault.case, fault.reasons, made if isinstance(made, Image.Image) else to_image(made, good))


def kuwahara(pixels: Pixels, reach_px: int) -> Pixels:
    """Every pixel becomes the mean of the quietest of four neighbouring squares: flat strokes with hard edges."""
    grey = pixels.mean(axis=2)
    side = reach_px + 1
    mean = ndimage.uniform_filter(grey, side)
    variance = ndimage.uniform_filter(grey * grey, side) - mean * mean
    colours = np.stack([ndimage.uniform_filter(pixels[..., c], side) for c in range(pixels.shape[2])], axis=-1)
    half = reach_px // 2 + 1
    shifts = [(dy, dx) for dy in (-half, half) for dx in (-half, half)]
    quiet = np.stack([_shifted(variance, *shift) for shift in shifts]).argmin(axis=0)
    strokes = np.stack([_shifted(colours, *shift) for shift in shifts])
    return np.take_along_axis(strokes, quiet[None, ..., None], axis=0)[0]


def blobs(rng: np.random.Generator, shape: tuple[int, ...], blob_px: int) -> Pixels:
    """Noise of zero mean and unit deviation in each plane, in smooth blobs."""
    height, width, planes = shape
    knots = (max(2, height // blob_px), max(2, width // blob_px))
    found = []
    for _ in range(planes):
        coarse = Image.fromarray(rng.standard_normal(knots).astype(np.float32))
        plane = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
        found.append((plane - plane.mean()) / plane.std())
    return np.stack(found, axis=-1)


def to_image(pixels: Pixels, like: Image.Image) -> Image.Image:
    """Levels rounded and clipped; grey where the picture it was made of is and no colour was added."""
    levels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    if levels.shape[2] == 1:
        return Image.fromarray(levels[..., 0])
    return (
        Image.fromarray(levels).convert(like.mode) if like.mode == "L" and _is_grey(levels) else Image.fromarray(levels)
    )


def _grey_noise(deviation: float, blob_px: int) -> _Spoil:
    return lambda pixels, _, rng: pixels + deviation * blobs(rng, (*pixels.shape[:2], 1), blob_px)


def _rainbow(deviation: float, blob_px: int) -> _Spoil:
    return lambda pixels, _, rng: pixels + deviation * blobs(rng, (*pixels.shape[:2], 3), blob_px)


def _blur(radius_px: float) -> _Spoil:
    return lambda _, good, __: good.filter(ImageFilter.GaussianBlur(radius_px))


def _motion(pixels: Pixels, _: Image.Image, rng: np.random.Generator) -> Pixels:
    return np.asarray(ndimage.uniform_filter1d(pixels, 9, axis=int(rng.integers(2)), mode="nearest"))


def _tinted(pixels: Pixels, _: Image.Image, __: np.random.Generator) -> Pixels:
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2) * np.array([1.0, 0.7, 0.8])
    return pixels * np.array([1.3, 0.75, 1.25])


def _lfw(share: float) -> _Spoil:
    def spoil(_: Pixels, good: Image.Image, rng: np.random.Generator) -> Image.Image:
        faces = data.lfw_subset()[:FACES_WITH]
        face = Image.fromarray(np.rint(255 * faces[rng.integers(len(faces))]).astype(np.uint8))
        return _pasted(good, face, share, rng)

    return spoil


def _astronaut(_: Pixels, good: Image.Image, rng: np.random.Generator) -> Image.Image:
    return _pasted(good, Image.fromarray(data.astronaut()[40:200, 140:310]), 0.6, rng)


def _pasted(good: Image.Image, face: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    picture, side_px = good.copy(), round(share * min(good.size))
    place = tuple(int(rng.integers(0, length - side_px + 1)) for length in good.size)
    scaled = face.resize((side_px, side_px), Image.Resampling.BICUBIC).convert(good.mode)
    # An ellipse with a soft rim: a face grows out of a picture, it does not come with a frame.
    y, x = np.mgrid[-1 : 1 : side_px * 1j, -1 : 1 : side_px * 1j]
    rim = np.clip((1.25 - np.hypot(1.1 * x, y)) / 0.25, 0, 1)
    picture.paste(scaled, (place[0], place[1]), Image.fromarray(np.rint(255 * rim).astype(np.uint8)))
    return picture


def _array(picture: Image.Image) -> Pixels:
    pixels = np.asarray(picture, dtype=np.float64)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _shifted(pixels: Pixels, dy: int, dx: int) -> Pixels:
    """Moved by whole pixels; the edge goes on."""
    height, width = pixels.shape[:2]
    rows = np.clip(np.arange(height) - dy, 0, height - 1)
    columns = np.clip(np.arange(width) - dx, 0, width - 1)
    return pixels[rows][:, columns]


def _jpeg(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert(picture.mode)


def _is_grey(levels: NDArray[np.uint8]) -> bool:
    return bool((levels[..., :1] == levels).all())


_NOISE, _RAINBOW = ("noise",), ("colour_garbage", "noise", "colour")
# Together with the brightness, a colour may be told: gold as dark as lacquer.
_TONE = ("tone", "colour")
_FAULTS = (
    _Fault("grey noise of 12 levels", _NOISE, _grey_noise(12, 1)),
    _Fault("grey noise of 25 levels", _NOISE, _grey_noise(25, 1)),
    _Fault("grey noise of 25 levels, 4 px", _NOISE, _grey_noise(25, 4)),
    _Fault("rainbow of 25 levels, 1 px", _RAINBOW, _rainbow(25, 1)),
    _Fault("rainbow of 25 levels, 4 px", _RAINBOW, _rainbow(25, 4)),
    _Fault("rainbow of 25 levels, 8 px", _RAINBOW, _rainbow(25, 8)),
    _Fault("rainbow alone, 4 px", _RAINBOW, lambda pixels, _, rng: 128 + 60 * blobs(rng, (*pixels.shape[:2], 3), 4)),
    _Fault("Gaussian blur 1.0 px", ("blurred",), _blur(1.0)),
    _Fault("Gaussian blur 1.5 px", ("blurred",), _blur(1.5)),
    _Fault("Gaussian blur 2.5 px", ("blurred",), _blur(2.5)),
    _Fault("motion blur 9 px", ("blurred",), _motion),
    _Fault("one colour", ("blurred",), lambda pixels, *_: np.full_like(pixels, pixels.mean())),
    _Fault("oil paint, strokes of 3 px", ("oil_paint",), lambda pixels, *_: kuwahara(pixels, 3)),
    _Fault("oil paint, strokes of 5 px", ("oil_paint",), lambda pixels, *_: kuwahara(pixels, 5)),
    _Fault("oil paint, median of 5 px", ("oil_paint",), lambda _, good, __: good.filter(ImageFilter.MedianFilter(5))),
    _Fault("tone: x 0.5, + 60", _TONE, lambda pixels, *_: 0.5 * pixels + 60),
    _Fault("tone: x 0.5", _TONE, lambda pixels, *_: 0.5 * pixels),
    _Fault("tone: contrast x 0.4", _TONE, lambda pixels, *_: 0.4 * (pixels - pixels.mean()) + pixels.mean()),
    _Fault("colour: tinted", ("colour", "tone"), _tinted),
    _Fault("face over 50% of the side", ("face",), _lfw(0.5)),
    _Fault("face over 75% of the side", ("face",), _lfw(0.75)),
    _Fault("face: the astronaut, 60%", ("face",), _astronaut),
)
