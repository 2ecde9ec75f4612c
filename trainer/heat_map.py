"""Where in a picture a classifier's answer comes from.

At the layer before the pooling of this network the class-activation map is exact: its mean over the positions is
the score, but for the bias. But at 64 px that layer has 2 x 2 positions. Layers before it tell the place: the
evidence of each is its activation times its gradient where that is positive, summed over channels (Layer-CAM:
Jiang et al., 2021, doi:10.1109/TIP.2021.3089943), gradients and activations from captum. The maps of three
layers are multiplied. `bench/pointing.py` measures this choice against others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import LayerActivation, LayerGradientXActivation
from scipy import ndimage
from torch import nn
from torch.nn import functional

_FUSED_LAYERS = (2, 4, 6)
"""The last block at 1/4, 1/8 and 1/16 of the side; the same numbers in all sizes of the model."""

_BLUR = 1 / 32
"""Standard deviation of the last smoothing, as a share of the side."""


def score_against(logits: torch.Tensor, wanted: Sequence[int], against: Sequence[int]) -> torch.Tensor:
    """Log-odds of "one of `wanted`" against "one of `against`", given that it is either.

    log sum_w exp(z_w) - log sum_a exp(z_a); with all defects against Normal it is the logit of 1 - p(Normal).

    Args:
        logits: (N, K).
        wanted: columns, one or more.
        against: columns, one or more.

    Returns:
        (N,).
    """
    return logits[:, list(wanted)].logsumexp(dim=1) - logits[:, list(against)].logsumexp(dim=1)


def gradients_and_activations(
    network: nn.Module,
    layers: Sequence[nn.Module],
    pixels: torch.Tensor,
    wanted: Sequence[int],
    against: Sequence[int],
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What each layer says of a batch, and how `score_against` changes with it.

    Args:
        network: from (N, 3, H, W) to (N, K) logits, in evaluation mode.
        layers: parts of it whose output is (N, C, h, w).
        pixels: (N, 3, H, W), normalised.
        wanted: as `score_against`.
        against: as `score_against`.

    Returns:
        For each layer the gradient and the activation, each (N, C, h, w), on the CPU.
    """

    def score(images: torch.Tensor) -> torch.Tensor:
        return score_against(network(images), wanted, against)

    gradients = LayerGradientXActivation(score, list(layers), multiply_by_inputs=False).attribute(pixels)
    activations = LayerActivation(score, list(layers)).attribute(pixels)
    return [
        (gradient.detach().cpu(), activation.detach().cpu())
        for gradient, activation in zip(gradients, activations, strict=True)
    ]


def heat_maps(
    network: nn.Module, pixels: torch.Tensor, wanted: Sequence[int], against: Sequence[int]
) -> npt.NDArray[np.float64]:
    """Where each picture speaks for `wanted` and against `against`.

    Args:
        network: a classifier of `weights.load_classifier`.
        pixels: (N, 3, H, W), normalised, as `loader.normalise` gives them.
        wanted: as `score_against`.
        against: as `score_against`.

    Returns:
        (N, H, W) in [0, 1], 1 at the hottest place; all 0 where nothing speaks for `wanted`.
    """
    stages = list(network.get_submodule("model").children())
    layers = [stages[index] for index in _FUSED_LAYERS]
    found = gradients_and_activations(network, layers, pixels, wanted, against)
    evidence = [(gradient.relu() * activation).sum(dim=1) for gradient, activation in found]
    return fuse(evidence, (pixels.shape[2], pixels.shape[3]))


def fuse(evidence: Sequence[torch.Tensor], size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Multiply maps of different resolution into smooth ones.

    Args:
        evidence: maps of one or more layers, each (N, h, w).
        size: height and width of the result.

    Returns:
        (N, height, width) in [0, 1].
    """
    fused = torch.ones((len(evidence[0]), *size), dtype=torch.float64)
    for maps in evidence:
        enlarged = functional.interpolate(
            _scale(maps.double().relu())[:, None], size=size, mode="bilinear", align_corners=False
        )
        fused *= enlarged[:, 0]
    blur = (0.0, _BLUR * size[0], _BLUR * size[1])
    smooth = torch.from_numpy(ndimage.gaussian_filter(fused.numpy(), blur, mode="nearest"))
    result: npt.NDArray[np.float64] = _scale(smooth).numpy()
    return result


def _scale(maps: torch.Tensor) -> torch.Tensor:
    """Each map divided by its highest value; one without any stays 0."""
    highest = maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(highest > 0, maps / highest, torch.zeros_like(maps))
