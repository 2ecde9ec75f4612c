"""Sampler and schedule names, as each server understands them."""

from __future__ import annotations

import pytest

from sdclient.client.dialects import Dialect
from sdclient.errors import UnknownSetting
from sdclient.models import Sampler, Scheduler

NEW = Dialect(
    [Sampler(name="DPM++ 2M"), Sampler(name="DPM++ SDE", aliases=("k_dpmpp_sde",)), Sampler(name="Euler a")],
    [
        Scheduler(name="automatic", label="Automatic"),
        Scheduler(name="karras", label="Karras"),
        Scheduler(name="sgm_uniform", label="SGM Uniform", aliases=("SGMUniform",)),
    ],
)
OLD = Dialect([Sampler(name="DPM++ SDE"), Sampler(name="DPM++ SDE Karras"), Sampler(name="Euler a")], None)


@pytest.mark.parametrize(
    ("sampler", "scheduler", "expected"),
    [
        ("DPM++ SDE Karras", None, ("DPM++ SDE", "Karras")),
        ("dpm++ sde karras", None, ("DPM++ SDE", "Karras")),
        ("DPM++ SDE", "karras", ("DPM++ SDE", "Karras")),
        ("DPM++ SDE Karras", "Karras", ("DPM++ SDE", "Karras")),
        ("k_dpmpp_sde", None, ("DPM++ SDE", None)),
        ("Euler a", None, ("Euler a", None)),
        ("Euler a SGM Uniform", None, ("Euler a", "SGM Uniform")),
        ("Euler a", "SGMUniform", ("Euler a", "SGM Uniform")),
        ("Euler a", "Automatic", ("Euler a", "Automatic")),
        (None, "karras", (None, "Karras")),
        (None, None, (None, None)),
    ],
)
def test_a_server_with_two_fields(sampler: str, scheduler: str, expected: tuple[str, str]) -> None:
    assert NEW.resolve(sampler, scheduler) == expected


@pytest.mark.parametrize(
    ("sampler", "scheduler", "expected"),
    [
        ("DPM++ SDE Karras", None, "DPM++ SDE Karras"),
        ("DPM++ SDE", "Karras", "DPM++ SDE Karras"),
        ("DPM++ SDE", None, "DPM++ SDE"),
        ("DPM++ SDE", "Automatic", "DPM++ SDE"),
    ],
)
def test_a_server_with_joint_names(sampler: str, scheduler: str, expected: str) -> None:
    assert OLD.resolve(sampler, scheduler) == (expected, None)


@pytest.mark.parametrize(
    ("dialect", "sampler", "scheduler", "words"),
    [
        (NEW, "Nope", None, "sampler 'Nope'"),
        (NEW, "DPM++ SDE", "Nope", "scheduler 'Nope'.*Karras"),
        (NEW, "DPM++ SDE Nope", None, "DPM\\+\\+ SDE"),
        (NEW, "DPM++ SDE Karras", "SGM Uniform", "already names"),
        (OLD, "Euler a", "Karras", "'Euler a Karras'"),
        (Dialect([], None), "Euler", None, "lists none"),
    ],
)
def test_an_unknown_name_is_refused_with_near_ones(dialect: Dialect, sampler: str, scheduler: str, words: str) -> None:
    with pytest.raises(UnknownSetting, match=words):
        dialect.resolve(sampler, scheduler)
