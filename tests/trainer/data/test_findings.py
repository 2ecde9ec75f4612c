"""Copies, look-alikes and outliers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.data.findings import (
    LEAST_CONTRAST,
    CheckedImage,
    find_blank,
    find_copies,
    find_look_alikes,
    find_look_outliers,
    find_size_outliers,
)
from trainer.data.fingerprints import Fingerprint, fingerprint_files

WAVE = bytes([40, 200] * 384)


def seen(
    file: str, look: int = 0, *, pixels: str = "", sha256: str = "", contrast: float = 40.0, grid: bytes = WAVE
) -> CheckedImage:
    part, label, _ = file.split("/")
    pixels = pixels or file
    fingerprints = Fingerprint(
        Path(file), None, sha256 or file, pixels, look, (96, 96), "RGB", "PNG", (), contrast=contrast, grid=grid
    )
    return CheckedImage(file, part, label, fingerprints)


def test_copies_are_grouped_and_those_across_splits_are_apart() -> None:
    found = find_copies(
        [
            seen("train/open/1", pixels="p", sha256="s"),
            seen("train/open/2", pixels="p", sha256="s"),
            seen("train/open/3", pixels="q", sha256="t"),
            seen("test/open/4", pixels="q", sha256="u"),
            seen("test/open/5"),
        ]
    )
    assert [(one.kind, one.files) for one in found] == [
        ("copy", ("train/open/1", "train/open/2")),
        ("copy_across", ("train/open/3", "test/open/4")),
    ]
    assert found[0].words == "2 files of equal bytes"
    assert found[1].words == "2 files of equal pixels, in train, test"


def test_one_image_under_two_labels_is_a_contradiction_within_and_across() -> None:
    found = find_copies(
        [seen("train/open/1", pixels="p"), seen("val/short/2", pixels="p"), seen("train/short/3", pixels="x")]
    )
    assert [one.kind for one in found] == ["copy_across", "contradiction"]
    assert found[1].words == "2 files of equal pixels, in open, short"
    within = find_copies([seen("all/open/1", pixels="p"), seen("all/short/2", pixels="p")])
    assert [one.kind for one in within] == ["copy", "contradiction"]


def test_a_test_set_that_names_no_defects_contradicts_none() -> None:
    found = find_copies([seen("train/open/1", pixels="p"), seen("test/Abnormal/2", pixels="p")])
    assert [one.kind for one in found] == ["copy_across"]


def test_nothing_and_one_image_have_no_copies_and_no_look_alikes() -> None:
    for images in ([], [seen("all/open/1")]):
        assert find_copies(images) == []
        assert find_look_alikes(images, max_distance=4) == []


def test_look_alikes_gather_around_the_first_without_a_chain() -> None:
    steps = [seen(f"all/open/{n}", (1 << n) - 1) for n in range(0, 12, 3)]
    found = find_look_alikes(steps, max_distance=4)
    assert [one.files for one in found] == [("all/open/0", "all/open/3"), ("all/open/6", "all/open/9")]
    assert found[0].notes == ("first", "3 bits apart")


def test_the_distance_is_held_exactly() -> None:
    images = [seen("all/open/1", 0), seen("all/open/2", 0b1111)]
    assert find_look_alikes(images, max_distance=3) == []
    assert len(find_look_alikes(images, max_distance=4)) == 1


def test_equal_hashes_of_other_layout_are_no_look_alikes() -> None:
    inverse = bytes(255 - value for value in WAVE)
    assert find_look_alikes([seen("all/open/1"), seen("all/open/2", grid=inverse)], max_distance=4) == []


def test_a_plain_image_must_fit_more_closely() -> None:
    white = np.full(768, 255, dtype=np.uint8)
    one, other = white.copy(), white.copy()
    one[:96], other[96:192] = 100, 100
    assert np.abs(one.astype(int) - other).mean() > 12, "far apart in any case"
    one[:96], other[96:192] = 225, 225
    assert np.abs(one.astype(int) - other).mean() < 12, "near in grey levels, but each has its own spot"
    images = [seen("all/a/1", grid=one.tobytes()), seen("all/a/2", grid=other.tobytes())]
    assert find_look_alikes(images, max_distance=4) == []


def test_blank_images_take_no_part() -> None:
    assert find_look_alikes([seen(f"all/open/{n}", contrast=0.5) for n in range(9)], max_distance=64) == []


def test_copies_are_no_look_alikes() -> None:
    images = [seen("train/open/1", pixels="p"), seen("train/open/2", pixels="p"), seen("test/open/3", pixels="p")]
    assert find_look_alikes(images, max_distance=4) == []


def test_a_held_out_image_has_its_nearest_of_training() -> None:
    found = find_look_alikes(
        [
            seen("train/open/1", 0b111),
            seen("train/open/2", 0b1),
            seen("train/open/3", 0b10),
            seen("val/open/4", 0),
            seen("test/open/5", 0xFFFF),
        ],
        max_distance=3,
    )
    across = [one for one in found if one.kind == "near_across"]
    assert [(one.files, one.words) for one in across] == [(("val/open/4", "train/open/2"), "1 bit apart")]


def test_look_alikes_of_different_classes_say_so() -> None:
    found = find_look_alikes([seen("all/open/1"), seen("all/short/2", 1)], max_distance=4)
    assert found[0].words == "2 look-alikes, in 2 classes: open, short"


def test_thousands_of_look_alikes_make_one_group_quickly() -> None:
    found = find_look_alikes([seen(f"all/open/{n}", n % 4) for n in range(3000)], max_distance=4)
    assert len(found) == 1
    assert len(found[0].files) == 3000


DRAWS = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test draws the same images, whichever ran before it."""
    monkeypatch.setitem(globals(), "DRAWS", np.random.default_rng(3))


def outliers_seen(
    file: str, size: tuple[int, int] = (96, 96), *, level: float = 120.0, contrast: float = 40.0, red: float = 0.0
) -> CheckedImage:
    cells = DRAWS.normal(level, 20, (64, 1)) + DRAWS.normal(0, 2, (64, 3)) + np.array([red, 0, 0])
    cells = np.clip(cells, 0, 255)
    fingerprints = Fingerprint(Path(file), size=size, contrast=contrast, grid=cells.astype(np.uint8).tobytes())
    return CheckedImage(file, "all", file.split("/")[0], fingerprints)


def ordinary(count: int, label: str = "open") -> list[CheckedImage]:
    return [
        outliers_seen(f"{label}/{n}", level=DRAWS.normal(120, 8), contrast=float(np.exp(DRAWS.normal(3.6, 0.1))))
        for n in range(count)
    ]


def files(found: list) -> list[str]:  # type: ignore[type-arg]
    return [one.files[0] for one in found]


def test_a_size_far_from_its_class_is_found() -> None:
    images = [*ordinary(20), outliers_seen("open/large", (300, 300)), outliers_seen("open/long", (96, 48))]
    found = find_size_outliers(images)
    assert [(one.files[0], one.words) for one in found] == [
        ("open/large", "300 x 300, side 300 px where 96 px is usual"),
        ("open/long", "96 x 48, shape 2.00 where 1.00 is usual"),
    ]


@pytest.mark.parametrize(("side", "expected"), [(143, []), (144, ["open/x"]), (64, ["open/x"]), (65, [])])
def test_the_factor_of_the_side_is_held_exactly(side: int, expected: list[str]) -> None:
    assert files(find_size_outliers([*ordinary(20), outliers_seen("open/x", (side, side))])) == expected


def test_where_sizes_vary_widely_more_is_needed() -> None:
    varied = [outliers_seen(f"open/{n}", (60 + 10 * n, 60 + 10 * n)) for n in range(20)]
    assert find_size_outliers([*varied, outliers_seen("open/x", (400, 400))]) == []
    assert files(find_size_outliers([*varied, outliers_seen("open/x", (60, 3000))])) == ["open/x"]


def test_two_usual_sizes_are_no_outliers() -> None:
    images = [*ordinary(40), *(outliers_seen(f"open/l{n}", (300, 300)) for n in range(10))]
    assert find_size_outliers(images) == []


def test_a_small_class_is_held_against_all_and_few_images_against_nothing() -> None:
    assert files(find_size_outliers([*ordinary(20), outliers_seen("short/1", (10, 10)), outliers_seen("short/2")])) == [
        "short/1"
    ]
    assert find_size_outliers([outliers_seen("short/1", (10, 10)), outliers_seen("short/2")]) == []
    assert find_size_outliers([]) == []


@pytest.mark.parametrize(
    ("how", "feature"),
    [({"level": 10.0}, "brightness"), ({"contrast": 3.0}, "contrast"), ({"red": 90.0}, "saturation")],
)
def test_an_image_unlike_its_class_is_found(how: dict[str, float], feature: str) -> None:
    found = find_look_outliers([*ordinary(60), outliers_seen("open/x", **how)])
    assert files(found) == ["open/x"]
    assert feature in found[0].words


def test_another_layout_of_equal_mean_is_found() -> None:
    def laid_out(name: str, bright: slice) -> CheckedImage:
        cells = np.full((64, 3), 60.0)
        cells[bright] = 180
        noisy = np.clip(cells + DRAWS.normal(0, 3, cells.shape), 0, 255).astype(np.uint8)
        return CheckedImage(
            name, "all", "open", Fingerprint(Path(name), size=(9, 9), contrast=40.0, grid=noisy.tobytes())
        )

    images = [laid_out(f"open/{n}", slice(0, 32)) for n in range(30)]
    found = find_look_outliers([*images, laid_out("open/x", slice(32, 64))])
    assert files(found) == ["open/x"]
    assert "layout" in found[0].words


def test_ordinary_images_raise_few_false_alarms() -> None:
    alarms = sum(len(find_look_outliers(ordinary(100))) for _ in range(20))
    assert alarms <= 4, "0.2 % of 2,000"


def test_real_crops_raise_few_false_alarms(deeppcb: Path) -> None:
    paths = sorted((deeppcb / "images" / "mousebite").glob("*.png"))
    images = [
        CheckedImage(path.name, "all", "mousebite", one)
        for path, one in zip(paths, fingerprint_files(paths), strict=True)
    ]
    assert len(images) > 100
    assert len(find_look_outliers(images)) / len(images) <= 0.02


def test_small_classes_and_loose_images_are_not_judged_by_look() -> None:
    assert find_look_outliers([*ordinary(18), outliers_seen("open/x", level=5.0)]) == []
    assert find_look_outliers([]) == []


def test_equal_images_do_not_make_the_least_difference_an_outlier() -> None:
    same = outliers_seen("open/0")
    nearly = CheckedImage(
        "open/x", "all", "open", Fingerprint(Path("x"), size=(96, 96), contrast=41.0, grid=same.fingerprint.grid)
    )
    assert find_look_outliers([*(same for _ in range(40)), nearly]) == []


def test_blank_images_are_named() -> None:
    found = find_blank([outliers_seen("open/1", contrast=1.9), outliers_seen("open/2", contrast=LEAST_CONTRAST)])
    assert [(one.files, one.words) for one in found] == [(("open/1",), "contrast 1.9 of 127.5")]
