"""Which images a plan means, with which seeds and keys, and which share a request."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, strategies as st

from sdclient.batch import GenerationSettings
from sdclient.batch.jobs import pack_jobs
from sdclient.output.planned_images import MOST_IMAGES_PER_SOURCE, image_keys, seed_base
from sdcore.errors import SettingsError
from tests.support.planned_jobs import ALIKE, planned, source


@given(st.integers(0, 2**63 - 1), st.text(), st.integers(0, 10**9))
def test_a_million_seeds_fit_between_a_base_and_the_largest_seed(run_seed: int, name: str, number: int) -> None:
    assert 0 <= seed_base(run_seed, name, number) < 2**32 - 10**6


def test_bases_differ_by_run_seed_class_and_source() -> None:
    bases = {seed_base(run, name, number) for run in range(4) for name in ("a", "b", "漏铜") for number in range(50)}
    assert len(bases) == 4 * 3 * 50


def test_seeds_and_keys_stay_what_they_are() -> None:
    """Golden values: if these change, no output folder made before can be resumed."""
    assert seed_base(0, "pad", 1) == 2012827500
    golden = "07efe68b1188f3fc93f0e441f388ad0a64b576f1a5e4a4b52609d41280104b08"
    assert image_keys("00", {"a": 1, "b": "焊盘"})(5) == golden
    assert image_keys("00", {"b": "焊盘", "a": 1})(5) == golden


def test_a_key_depends_on_source_parameters_and_seed() -> None:
    keys = {
        image_keys("00", {"a": 1})(5),
        image_keys("01", {"a": 1})(5),
        image_keys("00", {"a": 2})(5),
        image_keys("00", {"a": 1})(6),
    }
    assert len(keys) == 4


def test_images_of_a_source_are_numbered_from_one_with_consecutive_seeds() -> None:
    images = planned(source(), "ab", 3)
    assert [image.file for image in images] == ["焊盘/3_1.png", "焊盘/3_2.png", "焊盘/3_3.png"]
    base = seed_base(7, "焊盘", 3)
    assert [image.seed for image in images] == [base, base + 1, base + 2]
    assert len({image.key for image in images}) == 3


def test_a_longer_plan_begins_as_the_shorter_one() -> None:
    assert planned(source(), "ab", 9)[:4] == planned(source(), "ab", 4)


def test_more_images_than_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        planned(source(), "ab", MOST_IMAGES_PER_SOURCE + 1)


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 6))
def test_every_missing_image_is_in_exactly_one_request_with_consecutive_seeds(kept: list[bool], size: int) -> None:
    images = [image for image, keep in zip(planned(source(), "ab", len(kept)), kept, strict=True) if keep]
    jobs = list(pack_jobs(images, size))
    assert [image for job in jobs for image in job.images] == images
    for job in jobs:
        assert 1 <= len(job.images) <= size
        assert [image.seed for image in job.images] == list(range(job.seed, job.seed + len(job.images)))


def test_images_that_are_made_differently_never_share_a_request() -> None:
    stronger = dataclasses.replace(ALIKE, denoising_strength=0.3)
    images = planned(source(), "ab", 4)
    images[2:] = [dataclasses.replace(image, parameters=stronger) for image in images[2:]]
    assert [len(job.images) for job in pack_jobs(images, 8)] == [2, 2]


def test_images_of_two_sources_never_share_a_request() -> None:
    images = [*planned(source(1), "ab", 3), *planned(source(2), "cd", 3)]
    assert [len(job.images) for job in pack_jobs(images, 8)] == [3, 3]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"denoising_strength": 1.5}, "denoising-strength.*1.5"),
        ({"steps": 0}, "steps"),
        ({"native_px": 500}, "native-px.*multiple of 8"),
        ({"batch_size": 0}, "batch-size"),
        ({"seed": -1}, "seed"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_an_invalid_setting_is_named(values: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        GenerationSettings.checked(values)
