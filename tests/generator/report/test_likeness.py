"""The floor for "too alike", against scikit-image and against the one that curation uses."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from generator.report.likeness import (
    is_changed,
    likeness,
    likeness_of_retakes,
    luma_of,
    structural_similarity,
)


def board(seed: int, *, defect: bool = False) -> np.ndarray:
    chance = np.random.default_rng(seed)
    picture = np.full((48, 48), 70.0)
    picture[10:18] = picture[30:36] = 190
    picture[:, 20:25] = 190
    if defect:
        picture[10:18, 30:38] = 70
    return np.clip(picture + chance.normal(0, 2, picture.shape), 0, 255).round().astype(np.float32)


def test_the_similarity_is_scikit_images() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    one, other = board(0), board(1, defect=True)
    _, found = metrics.structural_similarity(one, other, win_size=7, data_range=255.0, full=True)
    assert structural_similarity(one, other) == pytest.approx(float(found.mean()), abs=1e-6)


def test_likeness_and_floor_are_those_of_curation() -> None:
    theirs = pytest.importorskip("sdclient.curate.likeness")
    source = board(0)
    for picture in (board(1), board(1, defect=True), np.roll(source, 1, axis=1), source * 0.8 + 20):
        one, other = (Image.fromarray(levels.round().astype(np.uint8)) for levels in (picture, source))
        mine = likeness(np.asarray(one, dtype=np.float32), np.asarray(other, dtype=np.float32))
        assert mine == pytest.approx(theirs.likeness(one, other).inside, abs=1e-4)
    assert likeness_of_retakes(source) == pytest.approx(
        theirs.likeness_of_retakes(Image.fromarray(source.astype(np.uint8))), abs=1e-4
    )


def test_a_shift_and_another_exposure_change_nothing_and_a_defect_does() -> None:
    source = board(0)
    assert not is_changed(np.roll(source, 1, axis=0), source)
    assert not is_changed(np.clip(source * 0.9 + 10, 0, 255), source)
    assert not is_changed(board(9), source)
    assert is_changed(board(9, defect=True), source)


def test_a_flat_picture_is_like_itself() -> None:
    flat = np.full((16, 16), 128, dtype=np.float32)
    assert likeness(flat, flat) == 1.0
    assert not is_changed(flat, flat)


def test_luma_of_grey_is_the_grey() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert (luma_of(pixels) == pixels[0]).all()
    assert (luma_of(np.repeat(pixels, 3, axis=0)) == pixels[0]).all()
