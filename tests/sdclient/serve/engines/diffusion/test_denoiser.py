from __future__ import annotations

import pytest
import torch

from generator.diffusion.session import build_schedule
from sdclient.serve.denoiser import Denoiser, KeptRegion
from tests.support.engines import KnownNetwork, known_model


def noisy() -> torch.Tensor:
    return torch.randn((2, 16, 4, 4), generator=torch.Generator().manual_seed(0))


def denoiser(*, label: int = 0, against: int = 1, guidance: float = 1.0, keep: KeptRegion | None = None) -> Denoiser:
    model = known_model()
    return Denoiser(model.network, model.schedule, tile=4, label=label, against=against, guidance=guidance, keep=keep)


@pytest.mark.parametrize("time", [0, 1, 500, 999])
def test_its_noise_levels_are_the_trained_ones(time: int) -> None:
    kept = float(build_schedule().alphas_cumprod[time])
    alpha, sigma = denoiser()._levels(torch.tensor(float(time)))
    assert (alpha, sigma) == (pytest.approx(kept**0.5, rel=1e-4), pytest.approx((1 - kept) ** 0.5, rel=1e-3))


def test_the_clean_picture_is_the_one_the_velocity_means() -> None:
    predictor, network = denoiser(), known_model().network
    assert isinstance(network, KnownNetwork)
    velocity = predictor.velocity(noisy(), torch.tensor(300.0))
    alpha, sigma = network.levels(300.0)
    assert predictor.clean is not None
    assert torch.allclose(predictor.clean, alpha * noisy() - sigma * velocity, atol=1e-5)


def test_guidance_goes_on_from_the_class_led_away_from() -> None:
    wanted = denoiser(label=0, guidance=1.0).velocity(noisy(), torch.tensor(300.0))
    unwanted = denoiser(label=1, guidance=1.0).velocity(noisy(), torch.tensor(300.0))
    guided = denoiser(label=0, against=1, guidance=4.0).velocity(noisy(), torch.tensor(300.0))
    assert torch.allclose(guided, unwanted + 4 * (wanted - unwanted), atol=1e-4)


def test_guidance_of_many_pictures_is_asked_for_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = denoiser(label=0, against=1, guidance=4.0).velocity(noisy(), torch.tensor(300.0))
    monkeypatch.setattr("sdclient.serve.denoiser._MOST_AT_ONCE", 3)
    assert torch.allclose(denoiser(label=0, against=1, guidance=4.0).velocity(noisy(), torch.tensor(300.0)), whole)


@pytest.mark.parametrize(("guidance", "against", "looks"), [(1.0, 1, 1), (7.0, 0, 1), (7.0, 1, 2), (0.0, 1, 2)])
def test_both_classes_are_asked_for_in_one_call_and_one_alone_where_guidance_changes_nothing(
    guidance: float, against: int, looks: int
) -> None:
    model = known_model()
    assert isinstance(model.network, KnownNetwork)
    one = Denoiser(model.network, model.schedule, tile=4, label=0, against=against, guidance=guidance)
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
