"""Images made by diffusion: siblings of a source, and the sheet that shows them."""

from __future__ import annotations

import pytest
import torch

from generator.config import NetworkConfig
from generator.diffusion.sampling import PURE, STRENGTHS, SampleOptions, SheetRow, draw_sheet, sample
from generator.diffusion.session import build_network
from sdcore.diffusion_model import PixelCodec
from sdcore.torch_runtime import MixedPrecision
from tests.support.generator_data import TINY, drawn

CPU = torch.device("cpu")
CODEC = PixelCodec((0.5,), (0.25,), 4)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return build_network(NetworkConfig.model_validate(TINY), channels=1, n_classes=2).eval()


def siblings(network: torch.nn.Module, count: int, *, strength: float, first: int = 0) -> torch.Tensor:
    levels = torch.full((count, 1, 16, 16), 100, dtype=torch.uint8)
    options = SampleOptions(strength, no_class=2, device=CPU, precision=MixedPrecision(CPU, amp=False))
    labels = [(first + number) % 2 for number in range(count)]
    seeds = range(first, first + count)
    return sample(network, CODEC, levels, labels, list(seeds), options)


def test_an_image_does_not_depend_on_those_it_is_made_with(network: torch.nn.Module) -> None:
    together = siblings(network, 3, strength=0.6)
    alone = siblings(network, 1, strength=0.6, first=2)
    assert (together[2].int() - alone[0].int()).abs().max() <= 1


def test_the_distance_grows_with_the_strength(network: torch.nn.Module) -> None:
    distances = [
        float((siblings(network, 2, strength=strength).float() - 100).abs().mean()) for strength in (0.05, 0.3, 0.6)
    ]
    assert distances == sorted(distances)
    assert distances[0] < 5


def test_at_full_strength_nothing_of_the_source_is_left(network: torch.nn.Module) -> None:
    options = SampleOptions(1.0, no_class=2, device=CPU, precision=MixedPrecision(CPU, amp=False))
    made = [
        sample(network, CODEC, torch.full((1, 1, 16, 16), level, dtype=torch.uint8), [0], [4], options)
        for level in (0, 255)
    ]
    assert torch.equal(*made)


def test_a_sheet_has_a_row_a_class_and_a_column_a_strength() -> None:
    cells = tuple(drawn("open", number) for number in range(1 + len(STRENGTHS) + PURE))
    sheet = draw_sheet([SheetRow("open", cells), SheetRow("裂纹", cells)], "a model")
    assert sheet.startswith(b"\x89PNG")
