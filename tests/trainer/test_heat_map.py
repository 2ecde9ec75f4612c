from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from trainer.models.explain import fuse, gradients_and_activations, heat_maps, score_against
from trainer.models.yolov5 import build_classifier


@pytest.fixture(scope="module")
def network() -> Iterator[nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield build_classifier("yolov5n-cls", 4).eval()


def test_the_score_of_all_defects_is_the_logit_of_not_being_normal() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0]], dtype=torch.float64)
    p = logits.softmax(dim=1)[:, 0]
    expected = torch.log((1 - p) / p)
    assert torch.allclose(score_against(logits, [1, 2], [0]), expected)
    assert torch.allclose(score_against(logits, [2], [0]), logits[:, 2] - logits[:, 0])


def test_at_the_last_map_gradient_times_activation_is_the_exact_class_activation_map(network: nn.Module) -> None:
    pixels = torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    head = network.model[9]  # type: ignore[index]
    seen: list[torch.Tensor] = []
    handle = head.conv.register_forward_hook(lambda _module, _given, out: seen.append(out.detach()))
    with torch.no_grad():
        logits = network(pixels)
    handle.remove()
    ((gradient, activation),) = gradients_and_activations(network, [head.conv], pixels, [2], [0])
    weight = head.linear.weight.detach()
    maps = torch.einsum("c,nchw->nhw", weight[2] - weight[0], seen[0])
    assert maps.shape[1:] == (3, 3)
    assert torch.allclose((gradient * activation).sum(dim=1) * 9, maps, atol=1e-5)
    bias = head.linear.bias.detach()
    assert torch.allclose(maps.mean(dim=(1, 2)) + bias[2] - bias[0], logits[:, 2] - logits[:, 0], atol=1e-5)


def test_the_heat_is_layer_cam_of_three_layers_multiplied(network: nn.Module) -> None:
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    seen: dict[int, torch.Tensor] = {}

    def keep(index: int):  # type: ignore[no-untyped-def]
        def hook(_module: nn.Module, _given: object, out: torch.Tensor) -> None:
            out.retain_grad()
            seen[index] = out

        return hook

    handles = [network.model[k].register_forward_hook(keep(k)) for k in (2, 4, 6)]  # type: ignore[index]
    logits = network(pixels)
    for handle in handles:
        handle.remove()
    (torch.log(logits[:, [1, 3]].exp().sum(dim=1)) - logits[:, 0]).sum().backward()
    evidence = [(seen[k].grad.clamp(min=0) * seen[k].detach()).sum(dim=1) for k in (2, 4, 6)]  # type: ignore[union-attr]
    assert [tuple(one.shape[1:]) for one in evidence] == [(16, 16), (8, 8), (4, 4)]
    found = heat_maps(network, pixels, [1, 3], [0])
    assert found.shape == (2, 64, 64)
    assert np.allclose(found, fuse(evidence, (64, 64)), atol=1e-4)


def test_explaining_leaves_no_gradients_or_hooks_behind(network: nn.Module) -> None:
    network.zero_grad(set_to_none=True)
    heat_maps(network, torch.zeros(1, 3, 32, 32), [1], [0])
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())
    assert not network.training


def test_fused_maps_are_1_where_all_agree_and_0_where_one_is_silent() -> None:
    coarse, fine = torch.zeros(2, 2, 2), torch.zeros(2, 16, 16)
    coarse[0, 1, 0] = 5.0
    fine[0, 14, 1] = fine[0, 1, 14] = 0.01
    fine[1] = -1.0
    found = fuse([fine, coarse], (32, 32))
    row, column = np.unravel_index(found[0].argmax(), (32, 32))
    assert 27 <= row <= 30
    assert 1 <= column <= 4
    assert found[0].max() == 1.0
    assert found[0, 2, 29] < 1e-9
    assert not found[1].any()
