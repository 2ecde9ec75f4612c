from __future__ import annotations

from pathlib import Path

import numpy as np

from trainer.data.findings import CheckedImage, find_copies, find_look_alikes
from trainer.data.fingerprints import Fingerprint

WAVE = bytes([40, 200] * 384)


def seen(
    file: str, look: int = 0, *, pixels: str = "", sha256: str = "", contrast: float = 40.0, grid: bytes = WAVE
) -> CheckedImage:
    part, label, _ = file.split("/")
    pixels = pixels or file
    prints = Fingerprint(
        Path(file), None, sha256 or file, pixels, look, (96, 96), "RGB", "PNG", (), contrast=contrast, grid=grid
    )
    return CheckedImage(file, part, label, prints)


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


def test_one_picture_under_two_labels_is_a_contradiction_within_and_across() -> None:
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


def test_nothing_and_one_picture_have_no_copies_and_no_look_alikes() -> None:
    for pictures in ([], [seen("all/open/1")]):
        assert find_copies(pictures) == []
        assert find_look_alikes(pictures, max_distance=4) == []


def test_look_alikes_gather_around_the_first_without_a_chain() -> None:
    steps = [seen(f"all/open/{n}", (1 << n) - 1) for n in range(0, 12, 3)]
    found = find_look_alikes(steps, max_distance=4)
    assert [one.files for one in found] == [("all/open/0", "all/open/3"), ("all/open/6", "all/open/9")]
    assert found[0].notes == ("first", "3 bits apart")


def test_the_distance_is_held_exactly() -> None:
    pictures = [seen("all/open/1", 0), seen("all/open/2", 0b1111)]
    assert find_look_alikes(pictures, max_distance=3) == []
    assert len(find_look_alikes(pictures, max_distance=4)) == 1


def test_equal_hashes_of_other_layout_are_no_look_alikes() -> None:
    inverse = bytes(255 - value for value in WAVE)
    assert find_look_alikes([seen("all/open/1"), seen("all/open/2", grid=inverse)], max_distance=4) == []


def test_a_plain_picture_must_fit_more_closely() -> None:
    white = np.full(768, 255, dtype=np.uint8)
    one, other = white.copy(), white.copy()
    one[:96], other[96:192] = 100, 100
    assert np.abs(one.astype(int) - other).mean() > 12, "far apart in any case"
    one[:96], other[96:192] = 225, 225
    assert np.abs(one.astype(int) - other).mean() < 12, "near in grey levels, but each has its own spot"
    pictures = [seen("all/a/1", grid=one.tobytes()), seen("all/a/2", grid=other.tobytes())]
    assert find_look_alikes(pictures, max_distance=4) == []


def test_blank_pictures_take_no_part() -> None:
    assert find_look_alikes([seen(f"all/open/{n}", contrast=0.5) for n in range(9)], max_distance=64) == []


def test_copies_are_no_look_alikes() -> None:
    pictures = [seen("train/open/1", pixels="p"), seen("train/open/2", pixels="p"), seen("test/open/3", pixels="p")]
    assert find_look_alikes(pictures, max_distance=4) == []


def test_a_held_out_picture_has_its_nearest_of_training() -> None:
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
