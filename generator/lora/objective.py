"""What the network is to tell of a noised picture, and how much each noise level counts (pure)."""

from __future__ import annotations

import torch

from .base import Prediction


def add_noise(
    latent: torch.Tensor, noise: torch.Tensor, alphas_cumprod: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise (arXiv 2006.11239, equation 4)."""
    signal, spread = _coefficients(alphas_cumprod, timesteps)
    return signal * latent + spread * noise


def target(
    latent: torch.Tensor,
    noise: torch.Tensor,
    alphas_cumprod: torch.Tensor,
    timesteps: torch.Tensor,
    prediction: Prediction,
) -> torch.Tensor:
    """The noise, or the velocity sqrt(a_t) noise - sqrt(1 - a_t) x_0 (arXiv 2202.00512, appendix D)."""
    if prediction == "epsilon":
        return noise
    signal, spread = _coefficients(alphas_cumprod, timesteps)
    return signal * noise - spread * latent


def weights(
    alphas_cumprod: torch.Tensor, timesteps: torch.Tensor, prediction: Prediction, min_snr: float | None
) -> torch.Tensor:
    """(N,) weight of each picture's loss; ones without min-SNR weighting.

    min(SNR, gamma) / SNR where noise is told, min(SNR, gamma) / (SNR + 1) where velocity is, SNR = a_t / (1 - a_t)
    (arXiv 2303.09556, section 3.4). At no signal at all the first is taken as its limit, 1.
    """
    if min_snr is None:
        return torch.ones(timesteps.shape, device=timesteps.device)
    kept = alphas_cumprod.to(timesteps.device)[timesteps].float()
    snr = kept / (1 - kept)
    clipped = snr.clamp(max=min_snr)
    if prediction == "v_prediction":
        return clipped / (snr + 1)
    return torch.where(snr > 0, clipped / snr.clamp(min=1e-12), torch.ones_like(snr))


def _coefficients(alphas_cumprod: torch.Tensor, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 1, 1, 1) shares of picture and noise."""
    kept = alphas_cumprod.to(timesteps.device)[timesteps].float().view(-1, 1, 1, 1)
    return kept.sqrt(), (1 - kept).sqrt()
