"""Mixed precision: which number format the network computes in."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def autocast_dtype(device_type: str, *, amp: bool, bf16: bool) -> torch.dtype | None:
    """The narrow format for a device, or None for plain float32.

    Only CUDA gains: on the CPU bfloat16 was measured 20 times slower than float32.

    Args:
        device_type: "cpu" or "cuda".
        amp: whether mixed precision is asked for.
        bf16: whether the device computes in bfloat16 itself (Ampere and newer).
    """
    if device_type != "cuda" or not amp:
        return None
    return torch.bfloat16 if bf16 else torch.float16


class Precision:
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
        """As in `environment.json`: "float32", "bfloat16" or "float16"."""
        return "float32" if self._dtype is None else str(self._dtype).removeprefix("torch.")

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the network and the loss are computed."""
        return torch.autocast(self._device_type, dtype=self._dtype, enabled=self._dtype is not None)
