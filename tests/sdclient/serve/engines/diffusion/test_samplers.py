"""Every sampler against data whose exact denoiser is known, and noise levels against the formulas of k-diffusion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from generator.diffusion.session import SCHEDULE
from sdclient.serve.denoiser import CATALOGUE, make_sampling
from sdclient.serve.diffusion_engine import DiffusionEngine
from tests.support.engines import CPU, KnownNetwork, Watched, known_model, picture, recipe

SAMPLERS = [sampler.name for sampler in CATALOGUE.samplers]
SCHEDULES = [None, "Uniform", "Karras", "Exponential"]


def sampling(sampler: str, schedule: str | None = None, *, steps: int = 10, schedule_steps: int = 10) -> Any:
    return make_sampling(
        SCHEDULE,
        sampler=sampler,
        schedule=schedule,
        steps=steps,
        schedule_steps=schedule_steps,
        seeds=[1],
        like=torch.zeros(1, 16, 4, 4),
    )


def trained_sigmas() -> np.ndarray:
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = np.cumprod(1 - betas)
    return np.sqrt((1 - kept) / kept)


def test_it_has_the_samplers_and_schedules_the_issue_names() -> None:
    assert {"Euler", "Euler a", "DPM++ 2M", "DPM++ SDE"} <= set(SAMPLERS)
    assert {scheduler.label for scheduler in CATALOGUE.schedulers} == {"Automatic", *SCHEDULES[1:]}


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ SDE", "Heun", "DPM++ 2M"])
def test_karras_levels_follow_their_formula(sampler: str) -> None:
    """sigma_i = (max^(1/7) + i / (n - 1) (min^(1/7) - max^(1/7)))^7 (Karras et al. 2022, equation 5)."""
    low, high = trained_sigmas()[0] ** (1 / 7), trained_sigmas()[-1] ** (1 / 7)
    expected = (high + np.arange(10) / 9 * (low - high)) ** 7
    made = sampling(sampler, "Karras")
    found = made.scheduler.sigmas.numpy()
    found = found[::2] if made.calls_a_step == 2 else found[:-1]
    assert found == pytest.approx(expected, rel=2e-3)
    assert np.isfinite(made.scheduler.sigmas.numpy()).all()
    assert float(made.scheduler.sigmas[-1]) == 0


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ SDE", "Heun"])
def test_without_a_schedule_timesteps_are_even_from_the_noisiest_to_the_cleanest(sampler: str) -> None:
    expected = np.interp(np.linspace(999, 0, 10), np.arange(1000), trained_sigmas())
    made = sampling(sampler)
    found = made.scheduler.sigmas.numpy()
    assert (found[::2] if made.calls_a_step == 2 else found[:-1]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_out_of_noise_come_pictures_of_the_class(sampler: str, schedule: str | None) -> None:
    """The class "high" is normal about 1 with deviation 0.5 in the network's terms."""
    engine = DiffusionEngine(known_model(), device=CPU, threads=1)
    asked = recipe(
        size=(64, 64), strength=1.0, steps=24, schedule_steps=24, sampler=sampler, schedule=schedule, prompt="high"
    )
    (image,) = engine.paint([picture()], asked, Watched())
    values = (np.asarray(image, dtype=float)[..., 0] / 255 - 0.5) / 0.125
    assert values.mean() == pytest.approx(1.0, abs=0.06)
    assert values.std() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("steps", "schedule_steps"), [(6, 10), (1, 20), (20, 20), (1, 1)])
def test_as_many_steps_run_as_asked_and_are_told(sampler: str, steps: int, schedule_steps: int) -> None:
    model, walk = known_model(), Watched()
    assert isinstance(model.network, KnownNetwork)
    engine = DiffusionEngine(model, device=CPU, threads=1)
    asked = recipe(size=(16, 16), steps=steps, schedule_steps=schedule_steps, sampler=sampler, prompt="high")
    list(engine.paint([picture(start=Image.new("RGB", (16, 16), (90,) * 3))], asked, walk))
    twice = sampler in ("DPM++ SDE", "Heun")
    assert len(model.network.calls) == (2 * steps - 1 if twice else steps)
    assert walk.steps[-1] == steps
    assert walk.steps == sorted(walk.steps)
    assert set(walk.steps) == set(range(1, steps + 1))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_noise_it_begins_with_is_that_of_the_strength(sampler: str) -> None:
    """A WebUI's img2img starts at place n - int(strength n) - 1 of the schedule."""
    made = sampling(sampler, "Karras" if sampler != "DDIM" else None, steps=4, schedule_steps=10)
    clean, noise = torch.zeros(1, 16, 4, 4), torch.ones(1, 16, 4, 4)
    begin = made.scheduler.timesteps[made.first : made.first + 1]
    level = float(made.scheduler.add_noise(clean, noise, begin).mean())
    low, high = trained_sigmas()[0] ** (1 / 7), trained_sigmas()[-1] ** (1 / 7)
    sigma = (high + 6 / 9 * (low - high)) ** 7
    variance_kept = sampler.startswith("DPM++ 2M")
    if sampler == "DDIM":
        sigma, variance_kept = trained_sigmas()[399], True
    expected = sigma / (1 + sigma**2) ** 0.5 if variance_kept else sigma
    assert level == pytest.approx(expected, rel=0.03)


def test_one_step_of_one_begins_in_full_noise() -> None:
    for sampler in SAMPLERS:
        made = sampling(sampler, steps=1, schedule_steps=1)
        assert float(made.scheduler.timesteps[0]) == pytest.approx(999, abs=1)
