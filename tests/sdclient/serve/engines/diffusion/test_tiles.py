from __future__ import annotations

import pytest
import torch

from sdclient.serve.denoiser import Denoiser, _tile_weight
from tests.support.engines import KnownNetwork, known_model


def test_a_tile_counts_most_in_its_middle_and_never_nothing() -> None:
    weight = _tile_weight(16)
    assert weight.min() > 0
    assert int(weight.argmax()) in {16 * 7 + 7, 16 * 7 + 8, 16 * 8 + 7, 16 * 8 + 8}
    assert torch.allclose(weight, weight.T)


@pytest.mark.parametrize("shape", [(4, 4), (4, 11), (9, 6), (20, 20)])
def test_blended_tiles_give_what_one_look_at_the_whole_would(shape: tuple[int, int]) -> None:
    model = known_model()
    noisy = torch.randn((3, 16, *shape), generator=torch.Generator().manual_seed(0))
    answers = [
        Denoiser(model.network, model.schedule, tile=tile, label=0, against=1, guidance=3.0).velocity(
            noisy, torch.tensor(400.0)
        )
        for tile in (4, max(shape))
    ]
    assert torch.allclose(*answers, atol=1e-5)


def test_a_large_picture_goes_through_the_network_in_small_helpings() -> None:
    model = known_model()
    network = model.network
    assert isinstance(network, KnownNetwork)
    Denoiser(network, model.schedule, tile=4, label=0, against=2, guidance=1.0).velocity(
        torch.zeros(5, 16, 40, 40), torch.tensor(400.0)
    )
    assert sum(count for *_, count in network.calls) == 5 * 13 * 13
    assert max(count for *_, count in network.calls) <= 64
