"""How torch runs: on which device, with how many threads, in which number format; and the moving average of weights."""

import copy
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn

from .errors import OutOfMemory, SettingsError


def choose_device(name: str) -> torch.device:
    """The torch device for "auto", "cpu" or "cuda".

    Raises:
        SettingsError: "cuda" is asked for where torch sees none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingsError(
            f"device: 'cuda' asked for, but torch {torch.__version__} sees no such device here; use --device cpu, "
            "or install a torch built for your GPU"
        )
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def usable_threads() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))  # type: ignore[attr-defined,unused-ignore]
    except AttributeError:  # Windows and macOS have no such call
        return os.cpu_count() or 1


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` CPU threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def isolated_rng(device: torch.device) -> AbstractContextManager[None]:
    """Within this, the random state of torch for the CPU and `device` may be seeded; afterwards it is as before."""
    return torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.type == "cuda" else [])


def autocast_dtype(device_type: str, *, amp: bool, bf16: bool) -> torch.dtype | None:
    """The narrow format for a device type, "cpu" or "cuda", or None for plain float32.

    Only CUDA gains: on the CPU bfloat16 was measured 20 times slower than float32. `bf16`: the device computes in
    bfloat16 itself (Ampere and newer).
    """
    if device_type != "cuda" or not amp:
        return None
    return torch.bfloat16 if bf16 else torch.float16


class MixedPrecision:
    """The number format of a training, with the loss scaling that float16 needs.

    bfloat16 has the exponent range of float32, so its gradients need no scaling.
    """

    def __init__(self, device: torch.device, *, amp: bool) -> None:
        bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        self._dtype = autocast_dtype(device.type, amp=amp, bf16=bf16)
        self._device_type = device.type
        self.scaler = torch.amp.GradScaler(device.type, enabled=self._dtype is torch.float16)

    @property
    def name(self) -> str:
        """The format: "float32", "bfloat16" or "float16"."""
        return "float32" if self._dtype is None else str(self._dtype).removeprefix("torch.")

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the network and the loss are computed."""
        return torch.autocast(self._device_type, dtype=self._dtype, enabled=self._dtype is not None)


class ExponentialMovingAverage:
    """Exponential moving average of a network's parameters and float buffers; other buffers are copied.

    It starts with a copy of the network. After t updates the decay is min(decay, (1 + t) / (10 + t)), so that early
    weights, which are noise, are soon forgotten (the warm-up of TensorFlow's ExponentialMovingAverage).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay
        self._updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take one more step of the network into the average."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
        floats = [(mine, its) for mine, its in pairs if mine.is_floating_point()]
        torch._foreach_lerp_([mine for mine, _ in floats], [its for _, its in floats], 1 - decay)
        for mine, its in pairs:
            if not mine.is_floating_point():
                mine.copy_(its)

    def state(self) -> dict[str, Any]:
        """Tensors and a number from which `restore` goes on."""
        return {"network": self.network.state_dict(), "updates": self._updates}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.network.load_state_dict(state["network"])
        self._updates = int(state["updates"])


@contextmanager
def explain_out_of_memory(*, batch_size: int, size_px: int) -> Iterator[None]:
    """Turn running out of memory into an error of one line.

    Raises:
        OutOfMemory: the block ran out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch.cuda.OutOfMemoryError on CUDA; the CPU's allocator has no type of its own.
        kinds = (MemoryError, torch.cuda.OutOfMemoryError)
        if not isinstance(error, kinds) and "can't allocate memory" not in str(error):
            raise
        smaller = f"--batch-size {batch_size // 2}" if batch_size > 1 else "a smaller --size or narrower --widths"
        raise OutOfMemory(
            f"out of memory with batches of {batch_size} at {size_px} px; try {smaller}; what was saved is still there"
        ) from error


def _tensors(network: nn.Module) -> list[torch.Tensor]:
    """Parameters and buffers, each once, in an order that two networks of one kind share."""
    return [one.detach() for one in (*network.parameters(), *network.buffers())]
