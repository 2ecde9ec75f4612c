from __future__ import annotations

import hashlib
from pathlib import Path

import boards
import numpy as np
import pytest
from PIL import Image

FEW = dict.fromkeys(boards.COUNTS, 6)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.png"))
    }


def pixels(name: str, surface: str, number: int = 0) -> np.ndarray:
    return np.asarray(boards.draw_board(name, surface, seed=0, number=number), dtype=np.float64)


def test_the_same_seed_draws_the_same_bytes(tmp_path: Path) -> None:
    boards.draw_boards(tmp_path / "a", 7, counts=FEW)
    boards.draw_boards(tmp_path / "b", 7, counts=FEW)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_another_seed_draws_no_image_again(tmp_path: Path) -> None:
    boards.draw_boards(tmp_path / "a", 0, counts=FEW)
    boards.draw_boards(tmp_path / "b", 1, counts=FEW)
    assert not set(digests(tmp_path / "a").values()) & set(digests(tmp_path / "b").values())


def test_drawing_more_leaves_the_first_images_as_they_are(tmp_path: Path) -> None:
    boards.draw_boards(tmp_path / "few", 0, counts={"pit": 4})
    boards.draw_boards(tmp_path / "more", 0, counts={"scratch": 3, "pit": 8})
    assert digests(tmp_path / "few").items() <= digests(tmp_path / "more").items()


def test_the_whole_set_has_its_counts_sizes_and_no_image_twice(tmp_path: Path) -> None:
    drawn = boards.draw_boards(tmp_path / "图板", 0)
    found = {folder.name: len(list(folder.iterdir())) for folder in (tmp_path / "图板").iterdir()}
    assert found == drawn == boards.COUNTS
    assert len(set(digests(tmp_path / "图板").values())) == sum(boards.COUNTS.values())
    for name in boards.COUNTS:
        for path in sorted((tmp_path / "图板" / name).iterdir())[:2]:
            with Image.open(path) as image:
                assert (image.size, image.mode, image.format) == ((96, 96), "RGB", "PNG")


def test_the_set_is_unbalanced_with_a_normal_class_and_four_defects_or_more() -> None:
    defects = [count for name, count in boards.COUNTS.items() if name != "Normal"]
    assert len(defects) >= 4
    assert boards.COUNTS["Normal"] > 2 * max(defects)
    assert max(defects) > 2 * min(defects)


def test_the_two_surfaces_differ_in_colour_and_texture() -> None:
    def mean_red_over_green(surface: str) -> float:
        images = [pixels("Normal", surface, number) for number in range(20)]
        return float(np.median([image[..., 0].mean() / image[..., 1].mean() for image in images]))

    assert mean_red_over_green("pad") > 1 > mean_red_over_green("substrate")


@pytest.mark.parametrize("surface", boards.SURFACES)
@pytest.mark.parametrize("name", [name for name in boards.COUNTS if name != "Normal"])
def test_a_defect_changes_the_picture_within_its_place_alone(name: str, surface: str) -> None:
    rng = np.random.default_rng(3)
    ground = np.full((96, 96, 3), 0.5)
    changed = np.abs(boards._DEFECTS[name](ground, surface, rng) - ground).max(axis=2) > 0.02
    assert 20 < changed.sum() < 0.5 * changed.size


def test_a_class_it_cannot_draw_is_named_with_those_it_can() -> None:
    with pytest.raises(KeyError, match=r"mousebite.*scratch"):
        boards.draw_board("mousebite", "pad", seed=0, number=0)
