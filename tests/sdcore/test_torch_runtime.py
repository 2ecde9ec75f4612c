from __future__ import annotations

import pytest
import torch
from torch import nn

from sdcore.errors import OutOfMemory, SettingsError
from sdcore.torch_runtime import (
    ExponentialMovingAverage,
    MixedPrecision,
    autocast_dtype,
    choose_device,
    explain_out_of_memory,
    isolated_rng,
    torch_threads,
)


def test_the_average_follows_the_formula() -> None:
    one = nn.Linear(2, 1)
    average = ExponentialMovingAverage(one, 0.9)
    expected = one.weight.detach().clone()
    for step in range(1, 200):
        with torch.no_grad():
            one.weight += 0.1
        average.update(one)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * one.weight.detach()
    kept = average.network.state_dict()["weight"]
    assert torch.allclose(kept, expected, atol=1e-4)
    other = ExponentialMovingAverage(nn.Linear(2, 1), 0.9)
    other.restore(average.state())
    average.update(one)
    other.update(one)
    assert torch.equal(other.network.state_dict()["weight"], average.network.state_dict()["weight"])


def test_the_average_of_one_weight_follows_the_formula() -> None:
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(0.0)
        average = ExponentialMovingAverage(network, 0.2)
        expected = 0.0
        for update in range(1, 6):
            network.weight.fill_(float(update))
            average.update(network)
            decay = min(0.2, (1 + update) / (10 + update))
            expected = decay * expected + (1 - decay) * update
    assert float(average.network.weight) == pytest.approx(expected)


def test_float_buffers_are_averaged_and_others_copied() -> None:
    network = nn.BatchNorm1d(1)
    average = ExponentialMovingAverage(network, 0.9)
    network.running_mean.fill_(11.0)  # type: ignore[union-attr, operator]
    network.num_batches_tracked.fill_(5)  # type: ignore[union-attr, operator]
    average.update(network)
    state = average.network.state_dict()
    # The first decay is 2 / 11.
    assert float(state["running_mean"]) == pytest.approx(9.0)
    assert int(state["num_batches_tracked"]) == 5


def test_a_weight_that_two_layers_share_is_averaged_once() -> None:
    layer = nn.Linear(1, 1, bias=False)
    network = nn.Sequential(layer, layer)
    with torch.no_grad():
        layer.weight.fill_(0.0)
        average = ExponentialMovingAverage(network, 0.9)
        layer.weight.fill_(11.0)
    average.update(network)
    assert float(next(average.network.parameters())) == pytest.approx(9.0)


def test_the_average_needs_no_gradient() -> None:
    average = ExponentialMovingAverage(nn.Linear(2, 1), 0.9)
    assert not any(one.requires_grad for one in average.network.parameters())


@pytest.mark.parametrize(
    ("device_type", "amp", "bf16", "expected"),
    [
        ("cpu", True, True, None),
        ("cpu", True, False, None),
        ("cuda", False, True, None),
        ("cuda", True, True, torch.bfloat16),
        ("cuda", True, False, torch.float16),
    ],
)
def test_mixed_precision_is_for_cuda_alone(
    device_type: str, amp: bool, bf16: bool, expected: torch.dtype | None
) -> None:
    assert autocast_dtype(device_type, amp=amp, bf16=bf16) == expected


def test_on_a_cpu_everything_stays_float32() -> None:
    precision = MixedPrecision(torch.device("cpu"), amp=True)
    assert precision.name == "float32"
    with precision.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    loss = torch.tensor(2.0)
    assert precision.scaler.scale(loss) is loss


def test_random_state_and_threads_are_as_before_afterwards() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    with isolated_rng(torch.device("cpu")), torch_threads(threads + 1):
        torch.manual_seed(7)
        torch.rand(5)
    assert torch.equal(torch.rand(2), expected)
    assert torch.get_num_threads() == threads


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match=r"'cuda' asked for.*--device cpu"):
        choose_device("cuda")
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.parametrize(("batch_size", "words"), [(8, "--batch-size 4"), (1, "a smaller --size or narrower --widths")])
def test_memory_that_ran_out_is_told_in_one_line(batch_size: int, words: str) -> None:
    with pytest.raises(OutOfMemory, match=words), explain_out_of_memory(batch_size=batch_size, size_px=64):
        raise MemoryError
    with pytest.raises(OutOfMemory, match=words), explain_out_of_memory(batch_size=batch_size, size_px=64):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
    with pytest.raises(RuntimeError, match="another"), explain_out_of_memory(batch_size=batch_size, size_px=64):
        raise RuntimeError("another thing")
