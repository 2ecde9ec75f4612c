"""What counts as a spoiled image, and what must not."""

from __future__ import annotations

import random

import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from sdclient.output.artifacts import ArtifactLimits, ArtifactScores, measure_artifacts, rejection_reason
from sdclient.serve.classical_engine import ClassicalEngine

SIDE_PX = 256


def board(mode: str = "RGB") -> Image.Image:
    """A gold pad on green with a dark pit, a blue fibre, and a little grain."""
    image = Image.new("RGB", (SIDE_PX, SIDE_PX), (40, 100, 55))
    draw = ImageDraw.Draw(image)
    draw.rectangle((60, 40, 230, 200), fill=(204, 163, 87))
    draw.ellipse((120, 90, 150, 120), fill=(30, 25, 20))
    draw.line((10, 240, 90, 150, 200, 170), fill=(50, 70, 160), width=5)
    grain = noise(1, levels=4)
    return Image.blend(image, grain, 0.03).filter(ImageFilter.GaussianBlur(0.8)).convert(mode).convert("RGB")


def noise(blob_px: int, *, levels: int = 3, seed: int = 0) -> Image.Image:
    """Independent colours in blobs; `levels` 4 is finer grain of the same kind."""
    side = SIDE_PX // blob_px
    data = random.Random(seed * 10 + levels).randbytes(side * side * 3)
    return Image.frombytes("RGB", (side, side), data).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)


def half_finished(share: float, blob_px: int, source: Image.Image) -> Image.Image:
    return Image.blend(source, noise(blob_px), share)


@pytest.mark.parametrize("blob_px", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_rainbow_noise_is_found_at_every_blob_size_on_colour_grey_and_black_and_white(blob_px: int, mode: str) -> None:
    findings = measure_artifacts(noise(blob_px), board(mode))
    assert findings.noise_score > 0.7
    assert (rejection_reason(findings) or "").startswith("rainbow noise (score 0.")


@pytest.mark.parametrize("blob_px", [1, 4, 8, 16])
@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_noise_over_half_of_an_image_is_found(blob_px: int, mode: str) -> None:
    source = board(mode)
    assert rejection_reason(measure_artifacts(half_finished(0.5, blob_px, source), source)) is not None


def test_the_score_grows_with_the_noise_and_is_zero_without() -> None:
    source = board()
    scores = [measure_artifacts(half_finished(share, 8, source), source).noise_score for share in (0.0, 0.2, 0.4, 0.8)]
    assert scores[0] == 0.0
    assert scores == sorted(set(scores))
    assert scores[-1] < 1.0


def test_noise_is_found_without_a_source_and_a_clean_image_passes() -> None:
    assert rejection_reason(measure_artifacts(noise(8))) is not None
    assert rejection_reason(measure_artifacts(board())) is None
    assert rejection_reason(measure_artifacts(board("1"))) is None


@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
@pytest.mark.parametrize("strength", [0.1, 0.25, 0.5, 0.75])
def test_siblings_of_the_source_pass(mode: str, strength: float) -> None:
    source = board(mode)
    for seed in range(2):
        sibling = ClassicalEngine().vary(source, strength=strength, seed=(seed,))
        assert rejection_reason(measure_artifacts(sibling, source)) is None


@pytest.mark.parametrize("mode", ["RGB", "1"])
def test_real_changes_of_appearance_are_no_noise(mode: str) -> None:
    source = board(mode)
    changed = {
        "sharper": source.filter(ImageFilter.UnsharpMask(2, 150, 0)),
        "more contrast": ImageEnhance.Contrast(source).enhance(1.6),
        "more colour": ImageEnhance.Color(source).enhance(1.8),
        "oil painting": source.filter(ImageFilter.MedianFilter(7)),
        "tinted": ImageOps.colorize(source.convert("L"), (10, 30, 20), (230, 200, 120)),
        "mirrored": ImageOps.mirror(source),
    }
    assert {
        name: rejection_reason(measure_artifacts(image, source)) for name, image in changed.items()
    } == dict.fromkeys(changed)


@pytest.mark.parametrize("level", [0, 3, 10])
def test_a_black_image_is_found(level: int) -> None:
    findings = measure_artifacts(Image.new("RGB", (64, 64), (level, level, level)), board().resize((64, 64)))
    assert findings.is_black
    assert rejection_reason(findings) == "black picture"


def test_one_colour_is_found_and_a_nearly_flat_image_passes() -> None:
    assert rejection_reason(measure_artifacts(Image.new("RGB", (64, 64), (200, 30, 90)), board())) == "one colour only"
    ramp = Image.linear_gradient("L").convert("RGB")
    assert (
        rejection_reason(measure_artifacts(ramp.point([100 + level // 12 for level in range(256)] * 3), ramp)) is None
    )


@pytest.mark.parametrize("colour", ["white", "black", (90, 140, 60)])
def test_a_source_of_one_colour_excuses_the_same_in_its_result(colour: str) -> None:
    flat = Image.new("RGB", (64, 64), colour)
    assert measure_artifacts(flat, flat) == ArtifactScores(noise_score=0.0, is_black=False, is_uniform=False)
    assert rejection_reason(measure_artifacts(flat)) is not None


def test_a_white_source_does_not_excuse_a_black_result() -> None:
    black, white = (Image.new("RGB", (64, 64), colour) for colour in ("black", "white"))
    assert rejection_reason(measure_artifacts(black, white)) == "black picture"


def test_the_limit_is_the_highest_score_that_passes_and_stands_in_the_reason() -> None:
    findings = ArtifactScores(noise_score=0.5, is_black=False, is_uniform=False)
    assert rejection_reason(findings, ArtifactLimits(noise_score=0.5)) is None
    assert rejection_reason(findings, ArtifactLimits(noise_score=0.45)) == "rainbow noise (score 0.50, limit 0.45)"
    assert rejection_reason(measure_artifacts(noise(8), board()), ArtifactLimits(noise_score=1)) is None


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (9, 200), (1025, 33), (2000, 1500)])
def test_odd_sizes_are_measured(size: tuple[int, int]) -> None:
    image = board().resize(size)
    assert measure_artifacts(image, image).noise_score == 0.0


def test_any_mode_is_measured() -> None:
    source = board()
    for mode in ("RGBA", "L", "LA", "YCbCr"):
        assert measure_artifacts(source.convert(mode), source).noise_score < 0.5


def test_a_result_may_lose_a_speck_but_not_a_pinhole() -> None:
    white, speck, pinhole = (Image.new("RGB", (96, 96), "white") for _ in range(3))
    speck.putpixel((0, 40), (0, 0, 0))
    ImageDraw.Draw(pinhole).ellipse((40, 40, 46, 46), fill="black")
    assert rejection_reason(measure_artifacts(white, speck)) is None
    assert rejection_reason(measure_artifacts(white, pinhole)) == "one colour only"


def test_noise_over_a_grainy_source_is_not_hidden_by_its_grain() -> None:
    grainy = half_finished(0.03, 4, board())
    clean, noisy = (measure_artifacts(half_finished(share, 4, grainy), grainy).noise_score for share in (0.0, 0.08))
    assert clean == 0.0
    assert noisy > 0.1
