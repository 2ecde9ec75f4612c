from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.data import findings
from trainer.data.findings import CheckedImage, find_blank, find_look_outliers, find_size_outliers
from trainer.data.fingerprints import Fingerprint, fingerprint_files

DRAWS = np.random.default_rng(5)


def seen(
    file: str, size: tuple[int, int] = (96, 96), *, level: float = 120.0, contrast: float = 40.0, red: float = 0.0
) -> CheckedImage:
    cells = DRAWS.normal(level, 20, (64, 1)) + DRAWS.normal(0, 2, (64, 3)) + np.array([red, 0, 0])
    cells = np.clip(cells, 0, 255)
    prints = Fingerprint(Path(file), size=size, contrast=contrast, grid=cells.astype(np.uint8).tobytes())
    return CheckedImage(file, "all", file.split("/")[0], prints)


def ordinary(count: int, label: str = "open") -> list[CheckedImage]:
    return [
        seen(f"{label}/{n}", level=DRAWS.normal(120, 8), contrast=float(np.exp(DRAWS.normal(3.6, 0.1))))
        for n in range(count)
    ]


def files(found: list) -> list[str]:  # type: ignore[type-arg]
    return [one.files[0] for one in found]


def test_a_size_far_from_its_class_is_found() -> None:
    pictures = [*ordinary(20), seen("open/large", (300, 300)), seen("open/long", (96, 48))]
    found = find_size_outliers(pictures)
    assert [(one.files[0], one.words) for one in found] == [
        ("open/large", "300 x 300, side 300 px where 96 px is usual"),
        ("open/long", "96 x 48, shape 2.00 where 1.00 is usual"),
    ]


@pytest.mark.parametrize(("side", "expected"), [(143, []), (144, ["open/x"]), (64, ["open/x"]), (65, [])])
def test_the_factor_of_the_side_is_held_exactly(side: int, expected: list[str]) -> None:
    assert files(find_size_outliers([*ordinary(20), seen("open/x", (side, side))])) == expected


def test_where_sizes_vary_widely_more_is_needed() -> None:
    varied = [seen(f"open/{n}", (60 + 10 * n, 60 + 10 * n)) for n in range(20)]
    assert find_size_outliers([*varied, seen("open/x", (400, 400))]) == []
    assert files(find_size_outliers([*varied, seen("open/x", (60, 3000))])) == ["open/x"]


def test_two_usual_sizes_are_no_outliers() -> None:
    pictures = [*ordinary(40), *(seen(f"open/l{n}", (300, 300)) for n in range(10))]
    assert find_size_outliers(pictures) == []


def test_a_small_class_is_held_against_all_and_few_pictures_against_nothing() -> None:
    assert files(find_size_outliers([*ordinary(20), seen("short/1", (10, 10)), seen("short/2")])) == ["short/1"]
    assert find_size_outliers([seen("short/1", (10, 10)), seen("short/2")]) == []
    assert find_size_outliers([]) == []


@pytest.mark.parametrize(
    ("how", "feature"),
    [({"level": 10.0}, "brightness"), ({"contrast": 3.0}, "contrast"), ({"red": 90.0}, "saturation")],
)
def test_a_picture_unlike_its_class_is_found(how: dict[str, float], feature: str) -> None:
    found = find_look_outliers([*ordinary(60), seen("open/x", **how)])
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

    pictures = [laid_out(f"open/{n}", slice(0, 32)) for n in range(30)]
    found = find_look_outliers([*pictures, laid_out("open/x", slice(32, 64))])
    assert files(found) == ["open/x"]
    assert "layout" in found[0].words


def test_ordinary_pictures_raise_few_false_alarms() -> None:
    alarms = sum(len(find_look_outliers(ordinary(100))) for _ in range(20))
    assert alarms <= 4, "0.2 % of 2,000"


def test_real_crops_raise_few_false_alarms(deeppcb: Path) -> None:
    paths = sorted((deeppcb / "images" / "mousebite").glob("*.png"))
    pictures = [
        CheckedImage(path.name, "all", "mousebite", one)
        for path, one in zip(paths, fingerprint_files(paths), strict=True)
    ]
    assert len(pictures) > 100
    assert len(find_look_outliers(pictures)) / len(pictures) <= 0.02


def test_small_classes_and_loose_pictures_are_not_judged_by_look() -> None:
    assert find_look_outliers([*ordinary(18), seen("open/x", level=5.0)]) == []
    assert find_look_outliers([]) == []


def test_equal_pictures_do_not_make_the_least_difference_an_outlier() -> None:
    same = seen("open/0")
    nearly = CheckedImage(
        "open/x", "all", "open", Fingerprint(Path("x"), size=(96, 96), contrast=41.0, grid=same.print.grid)
    )
    assert find_look_outliers([*(same for _ in range(40)), nearly]) == []


def test_blank_pictures_are_named() -> None:
    found = find_blank([seen("open/1", contrast=1.9), seen("open/2", contrast=findings.LEAST_CONTRAST)])
    assert [(one.files, one.words) for one in found] == [(("open/1",), "contrast 1.9 of 127.5")]
