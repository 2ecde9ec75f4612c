"""In which number format a LoRA is trained: that of the frozen weights, and of computing."""

from __future__ import annotations

from typing import Literal

import torch

from ..errors import SettingsError
from .settings import Precision

Exact = Literal["fp32", "fp16", "bf16"]
DTYPES: dict[Exact, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def choose_precision(asked: Precision, device: torch.device) -> Exact:
    """The format for a device.

    "auto" takes bfloat16 where a GPU computes in it by itself, for it needs no scaling of the loss, else float16; a CPU
    computes in float32, everything else being slower there.

    Raises:
        SettingsError: half precision is asked for on a CPU.
    """
    if device.type != "cuda":
        if asked in ("fp16", "bf16"):
            raise SettingsError(
                f"--precision {asked}: only a CUDA device gains by it; use --precision fp32 on {device}"
            )
        return "fp32"
    if asked != "auto":
        return asked
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
