"""What a run would take."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from sdclient.batch.estimate import Estimate, disk_free, dry_run, estimate
from sdclient.sources import Source


def source(class_name: str, number: int) -> Source:
    return Source(class_name, number, Path(class_name) / f"{number}.png")


def test_an_estimate_multiplies() -> None:
    assert estimate(50_000, 0.8, 1234.5) == Estimate(50_000, 40_000.0, 61_725_000)
    assert estimate(0, 0.8, 1234.5) == Estimate(0, 0.0, 0)
    assert estimate(3, 0.5, 0.5).disk_bytes == 2  # a part of a byte takes a byte


@pytest.mark.parametrize("figures", [(-1, 1.0, 1.0), (1, math.nan, 1.0), (1, -0.1, 1.0), (1, 1.0, math.inf)])
def test_an_invalid_number_is_refused(figures: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="expected 0 or more"):
        estimate(*figures)


def test_a_dry_run_counts_by_class() -> None:
    owed = [(source("焊盘", 1), 3), (source("焊盘", 2), 4), (source("dirt", 1), 0), (source("bump", 1), 5)]
    found = dry_run(owed, seconds_per_image=2.0, bytes_per_image=100, disk_free_bytes=1200)
    assert list(found.images_by_class.items()) == [("焊盘", 7), ("bump", 5)]
    assert found.estimate == Estimate(12, 24.0, 1200)
    assert found.fits_on_disk
    assert not dry_run(owed, seconds_per_image=2.0, bytes_per_image=101, disk_free_bytes=1200).fits_on_disk


def test_a_plan_that_owes_nothing_takes_nothing() -> None:
    found = dry_run([], seconds_per_image=2.0, bytes_per_image=100, disk_free_bytes=0)
    assert (found.images_by_class, found.estimate, found.fits_on_disk) == ({}, Estimate(0, 0.0, 0), True)


def test_free_space_is_asked_of_the_nearest_folder_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    real = shutil.disk_usage

    def record(path: Path) -> object:
        asked.append(path)
        return real(path)

    monkeypatch.setattr(shutil, "disk_usage", record)
    assert disk_free(tmp_path / "输出" / "new") > 0
    assert disk_free(tmp_path) > 0
    assert asked == [tmp_path, tmp_path]


def test_free_space_of_a_relative_path_is_that_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert disk_free(Path("output")) > 0
