"""Which processor torch uses, with how many threads, in which number format."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

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
    """Processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))  # type: ignore[attr-defined,unused-ignore]
    except AttributeError:  # Windows and macOS do not tell
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


class Precision:
    """The number format of a training: plain float32 but on CUDA.

    bfloat16 has the exponent range of float32, so its gradients need no scaling; float16, for older cards, does.
    """

    def __init__(self, device: torch.device, *, amp: bool) -> None:
        self._device_type = device.type
        self._dtype: torch.dtype | None = None
        if device.type == "cuda" and amp:
            bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
            self._dtype = torch.bfloat16 if bf16 else torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=self._dtype is torch.float16)

    @property
    def name(self) -> str:
        """The format: "float32", "bfloat16" or "float16"."""
        return "float32" if self._dtype is None else str(self._dtype).removeprefix("torch.")

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the network and the loss are computed."""
        return torch.autocast(self._device_type, dtype=self._dtype, enabled=self._dtype is not None)


@contextmanager
def memory_in_words(*, batch_size: int, size_px: int) -> Iterator[None]:
    """Say in one line that memory ran out.

    Raises:
        OutOfMemory: it did.
    """
    try:
        yield
    except MemoryError as error:
        raise _out_of_memory(batch_size, size_px) from error
    except RuntimeError as error:
        # torch.cuda.OutOfMemoryError on CUDA; the CPU's allocator has no type of its own.
        if isinstance(error, torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise _out_of_memory(batch_size, size_px) from error
        raise


def _out_of_memory(batch_size: int, size_px: int) -> OutOfMemory:
    smaller = f"--batch-size {batch_size // 2}" if batch_size > 1 else "a smaller --size or narrower --widths"
    return OutOfMemory(
        f"out of memory with batches of {batch_size} at {size_px} px; try {smaller}; what was saved is still there"
    )
