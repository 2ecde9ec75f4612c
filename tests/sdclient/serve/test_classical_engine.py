"""The classical engine, on images drawn here."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from sdclient.serve.classical_engine import ClassicalEngine

STRENGTHS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
SEEDS = range(6)
ENGINE = ClassicalEngine()


def line_art(size: int = 96, *, gap: int = 0) -> Image.Image:
    """Black traces on white, one of them cut open by `gap` px in the middle."""
    image = Image.new("L", (size, size), 255)
    draw = ImageDraw.Draw(image)
    for row in (size // 5, size // 2, size * 4 // 5):
        draw.rectangle((0, row - size // 24, size, row + size // 24), fill=0)
    if gap:
        draw.rectangle((size // 2 - gap // 2, size * 2 // 5, size // 2 + gap // 2, size * 3 // 5), fill=255)
    draw.ellipse((size // 8, size // 10, size // 3, size // 3), fill=0)
    return image.convert("RGB")


def surface(width: int = 96, height: int = 96) -> Image.Image:
    """Brushed copper with a dark blot in the middle."""
    grain = np.random.default_rng(1).standard_normal((height, width))
    grain = ndimage.gaussian_filter(grain, (0.6, 4))
    grain = 14 * grain / (grain.std() + 1e-9)
    levels = np.stack([170 + grain, 120 + 0.9 * grain, 70 + 0.7 * grain], axis=-1)
    y, x = np.mgrid[:height, :width]
    blot = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(width, height) / 8) ** 2
    levels[blot] = (50, 40, 35)
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(float)


def difference(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(array(a) - array(b)).mean())


def likeness(a: Image.Image, b: Image.Image) -> float:
    """Mean structural similarity of the luma in Gaussian windows (Wang et al. 2004)."""
    x, y = array(a).mean(axis=2), array(b).mean(axis=2)

    def smooth(values: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(values, 1.5))

    mx, my = smooth(x), smooth(y)
    vx, vy, cov = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float((((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())


def vary(source: Image.Image, strength: float, seed: int = 0) -> Image.Image:
    return ENGINE.vary(source, strength=strength, seed=(seed,))


@pytest.mark.parametrize("source", [line_art(gap=8), surface(), surface().convert("L").convert("RGB")])
def test_the_distance_grows_with_the_strength(source: Image.Image) -> None:
    made = {strength: [vary(source, strength, seed) for seed in SEEDS] for strength in STRENGTHS}
    differences = [np.mean([difference(source, image) for image in made[s]]) for s in STRENGTHS]
    likenesses = [np.mean([likeness(source, image) for image in made[s]]) for s in STRENGTHS]
    assert differences[0] == 0
    assert likenesses[0] == pytest.approx(1)
    assert all(np.diff(differences) > 0.5), differences
    assert all(np.diff(likenesses) < -0.01), likenesses


@pytest.mark.parametrize("source", [line_art(gap=8), surface()])
def test_a_quarter_is_a_sibling_and_one_is_hardly_related(source: Image.Image) -> None:
    for seed in SEEDS:
        assert 0.25 < likeness(source, vary(source, 0.25, seed)) < 0.97
        assert likeness(source, vary(source, 1.0, seed)) < 0.35


def components(image: Image.Image, *, low: float = 0.3, high: float = 0.7) -> int:
    """Number of dark pieces reaching into the middle band of the image."""
    levels = np.asarray(image.convert("L"))
    height = levels.shape[0]
    band = levels[round(low * height) : round(high * height)] < 128
    labels, count = ndimage.label(band)
    sizes = ndimage.sum_labels(band, labels, range(1, count + 1))
    return int((np.asarray(sizes) > 40).sum())


@pytest.mark.parametrize("seed", range(20))
def test_at_a_quarter_an_open_stays_open_and_a_whole_trace_whole(seed: int) -> None:
    assert components(line_art(gap=6), low=0.38, high=0.62) == 2
    assert components(vary(line_art(gap=6), 0.25, seed), low=0.38, high=0.62) == 2
    assert components(line_art(), low=0.38, high=0.62) == 1
    assert components(vary(line_art(), 0.25, seed), low=0.38, high=0.62) == 1


@pytest.mark.parametrize("seed", range(20))
def test_at_a_quarter_the_defect_stays_in_its_place(seed: int) -> None:
    image = vary(surface(), 0.25, seed)
    dark = ndimage.gaussian_filter(array(image).mean(axis=2), 2)
    dark = dark < (dark.min() + np.median(dark)) / 2
    centre = ndimage.center_of_mass(dark)
    assert np.hypot(centre[0] - 48, centre[1] - 48) < 8
    area = float(dark.sum())
    assert 0.6 < area / (np.pi * 12**2) < 1.6


def test_the_same_seed_gives_the_same_image_and_another_one_another() -> None:
    source = surface()
    assert np.array_equal(array(vary(source, 0.25, 7)), array(vary(source, 0.25, 7)))
    assert difference(vary(source, 0.25, 7), vary(source, 0.25, 8)) > 3


def test_grey_stays_grey_and_colour_keeps_its_hue() -> None:
    grey = array(vary(line_art(gap=8), 0.5))
    assert (grey[..., 0] == grey[..., 1]).all()
    assert (grey[..., 0] == grey[..., 2]).all()
    red, green, blue = array(vary(surface(), 0.5)).mean(axis=(0, 1))
    assert red > green > blue


@pytest.mark.parametrize("size", [(64, 64), (8, 8), (64, 200), (504, 96), (1024, 640), (1, 1), (2, 3)])
def test_any_size_is_kept(size: tuple[int, int]) -> None:
    image = vary(surface(*size), 0.6)
    assert (image.size, image.mode) == (size, "RGB")


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_image_stays_flat(level: int) -> None:
    result = array(vary(Image.new("RGB", (32, 32), (level,) * 3), 0.7))
    assert np.ptp(result) == 0


@pytest.mark.parametrize(("given", "means"), [(-1.0, 0.0), (1.5, 1.0)])
def test_strengths_beyond_the_ends_count_as_the_ends(given: float, means: float) -> None:
    assert np.array_equal(array(vary(surface(), given, 3)), array(vary(surface(), means, 3)))


def test_flat_areas_of_line_art_stay_clean_at_a_quarter() -> None:
    image = Image.new("L", (96, 96), 255)
    ImageDraw.Draw(image).rectangle((0, 40, 96, 52), fill=0)
    for seed in SEEDS:
        corner = array(vary(image.convert("RGB"), 0.25, seed))[4:24, 4:92]
        assert corner.std() < 6
