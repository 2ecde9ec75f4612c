"""Guided, tiled denoising and its samplers, with a network whose answers are known in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from generator.diffusion.session import SCHEDULE, build_schedule
from sdclient.serve.denoiser import CATALOGUE, Denoiser, KeptRegion, make_sampling
from sdclient.serve.diffusion_engine import DiffusionEngine
from tests.support.engines import CPU, KnownNetwork, RecordedSteps, image_task, known_model, recipe


def noisy() -> torch.Tensor:
    return torch.randn((2, 16, 4, 4), generator=torch.Generator().manual_seed(0))


def denoiser(*, label: int = 0, negative: int = 1, guidance: float = 1.0, keep: KeptRegion | None = None) -> Denoiser:
    model = known_model()
    return Denoiser(model.network, model.schedule, tile=4, label=label, negative=negative, guidance=guidance, keep=keep)


@pytest.mark.parametrize("time", [0, 1, 500, 999])
def test_its_noise_levels_are_the_trained_ones(time: int) -> None:
    kept = float(build_schedule().alphas_cumprod[time])
    alpha, sigma = denoiser()._levels(torch.tensor(float(time)))
    assert (alpha, sigma) == (pytest.approx(kept**0.5, rel=1e-4), pytest.approx((1 - kept) ** 0.5, rel=1e-3))


def test_the_clean_image_is_the_one_the_velocity_implies() -> None:
    predictor, network = denoiser(), known_model().network
    assert isinstance(network, KnownNetwork)
    velocity = predictor.velocity(noisy(), torch.tensor(300.0))
    alpha, sigma = network.levels(300.0)
    assert predictor.clean is not None
    assert torch.allclose(predictor.clean, alpha * noisy() - sigma * velocity, atol=1e-5)


def test_guidance_leads_away_from_the_unwanted_class() -> None:
    wanted = denoiser(label=0, guidance=1.0).velocity(noisy(), torch.tensor(300.0))
    unwanted = denoiser(label=1, guidance=1.0).velocity(noisy(), torch.tensor(300.0))
    guided = denoiser(label=0, negative=1, guidance=4.0).velocity(noisy(), torch.tensor(300.0))
    assert torch.allclose(guided, unwanted + 4 * (wanted - unwanted), atol=1e-4)


def test_guidance_of_many_images_is_predicted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = denoiser(label=0, negative=1, guidance=4.0).velocity(noisy(), torch.tensor(300.0))
    monkeypatch.setattr("sdclient.serve.denoiser._MOST_AT_ONCE", 3)
    assert torch.allclose(denoiser(label=0, negative=1, guidance=4.0).velocity(noisy(), torch.tensor(300.0)), whole)


@pytest.mark.parametrize(("guidance", "negative", "looks"), [(1.0, 1, 1), (7.0, 0, 1), (7.0, 1, 2), (0.0, 1, 2)])
def test_both_classes_are_predicted_in_one_call_and_only_one_where_guidance_changes_nothing(
    guidance: float, negative: int, looks: int
) -> None:
    model = known_model()
    assert isinstance(model.network, KnownNetwork)
    one = Denoiser(model.network, model.schedule, tile=4, label=0, negative=negative, guidance=guidance)
    one.velocity(noisy(), torch.tensor(300.0))
    assert model.network.calls == [(300.0, 0, looks * len(noisy()))]


def test_what_must_stay_is_predicted_as_it_is() -> None:
    clean = torch.full((2, 16, 4, 4), 0.3)
    change = torch.zeros_like(clean)
    change[:, :, :, 2:] = 1
    free, kept = denoiser(), denoiser(keep=KeptRegion(clean, change))
    free.velocity(noisy(), torch.tensor(300.0))
    velocity = kept.velocity(noisy(), torch.tensor(300.0))
    assert free.clean is not None
    assert kept.clean is not None
    assert torch.allclose(kept.clean[..., :2], clean[..., :2])
    assert torch.allclose(kept.clean[..., 2:], free.clean[..., 2:], atol=1e-5)
    alpha, sigma = kept._levels(torch.tensor(300.0))
    assert torch.allclose(alpha * noisy() - sigma * velocity, kept.clean, atol=1e-5)


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


def test_it_has_the_promised_samplers_and_schedules() -> None:
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
def test_noise_becomes_images_of_the_class(sampler: str, schedule: str | None) -> None:
    """The class "high" is normal about 1 with deviation 0.5 in the network's terms."""
    engine = DiffusionEngine(known_model(), device=CPU, threads=1)
    requested = recipe(
        size=(64, 64), strength=1.0, steps=24, schedule_steps=24, sampler=sampler, schedule=schedule, prompt="high"
    )
    (image,) = engine.generate([image_task()], requested, RecordedSteps())
    values = (np.asarray(image, dtype=float)[..., 0] / 255 - 0.5) / 0.125
    assert values.mean() == pytest.approx(1.0, abs=0.06)
    assert values.std() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("steps", "schedule_steps"), [(6, 10), (1, 20), (20, 20), (1, 1)])
def test_as_many_steps_run_and_are_reported_as_requested(sampler: str, steps: int, schedule_steps: int) -> None:
    model, monitor = known_model(), RecordedSteps()
    assert isinstance(model.network, KnownNetwork)
    engine = DiffusionEngine(model, device=CPU, threads=1)
    requested = recipe(size=(16, 16), steps=steps, schedule_steps=schedule_steps, sampler=sampler, prompt="high")
    list(engine.generate([image_task(start=Image.new("RGB", (16, 16), (90,) * 3))], requested, monitor))
    twice = sampler in ("DPM++ SDE", "Heun")
    assert len(model.network.calls) == (2 * steps - 1 if twice else steps)
    assert monitor.steps[-1] == steps
    assert monitor.steps == sorted(monitor.steps)
    assert set(monitor.steps) == set(range(1, steps + 1))


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
