"""Which processor torch uses, and with how many threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from .errors import SettingsError


def choose_device(name: str) -> torch.device:
    """The torch device for "auto", "cpu" or "cuda".

    Raises:
        SettingsError: "cuda" is asked for where torch sees none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingsError(
            f"device: 'cuda' asked for, but torch {torch.__version__} sees no such device here; use --device cpu, "
            "or install a torch built for your GPU"
        )
    return torch.device(name)


def kept_chance(device: torch.device) -> AbstractContextManager[None]:
    """Within this, torch's global chance may be seeded and drawn from; afterwards it is as before.

    Args:
        device: that draws, besides the CPU.
    """
    return torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.type == "cuda" else [])


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` CPU threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
