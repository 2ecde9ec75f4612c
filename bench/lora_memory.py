"""What training a LoRA takes of a GPU's memory, counted without a GPU; and how far such a count can be trusted.

    python bench/lora_memory.py            the table of docs/lora.md

    MALLOC_MMAP_THRESHOLD_=65536 MALLOC_MMAP_MAX_=1000000 python bench/lora_memory.py --check 256

compares the count with one real step of SD 1.x' UNet in fp32 on the CPU, of 256 px. The variables (of glibc) give every
large tensor back to the system at once, so that the growth of the process is what tensors held, and oneDNN, which takes
memory of its own for its convolutions, is off. It needs about 5 GB of memory and a minute.
"""

from __future__ import annotations

import argparse
import resource
from types import SimpleNamespace

import torch

from generator.config import LoraSettings
from generator.lora.families import SD1, SDXL, Family
from generator.lora.memory import kept_bytes, memory_need
from generator.lora.session import add_adapters
from sdcore.optional_imports import import_diffusers

_GIB = 2**30
_ROWS: tuple[tuple[Family, int, bool, bool], ...] = tuple(
    (family, at_once, twice, text)
    for family in (SD1, SDXL)
    for at_once in (1, 4)
    for twice in (False, True)
    for text in (False, True)
)


def table() -> None:
    """Print the table."""
    print(
        "| base | pictures at once | gradient checkpointing | text encoder | weights | updates | activations | in all |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for family, at_once, twice, text in _ROWS:
        settings = LoraSettings(
            size_px=family.native_px, micro_batch=at_once, gradient_checkpointing=twice, text_encoder=text
        )
        need = memory_need(family, settings)
        words = (
            f"{family.name}, {family.native_px} px | {at_once} | {'yes' if twice else 'no'} | {'yes' if text else 'no'}"
        )
        parts = (need.weights, need.updates, need.activations + need.transient, need.total)
        print(f"| {words} | {' | '.join(f'{part / _GIB:.1f}' for part in parts)} |", flush=True)


def check(size_px: int) -> None:
    """Print what is counted without content beside what one real step keeps, and what the process grew by."""
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    settings = LoraSettings(size_px=size_px, micro_batch=1)
    need = memory_need(SD1, settings, half=False)
    torch.manual_seed(0)
    unet = import_diffusers().UNet2DConditionModel.from_config(dict(SD1.components["unet"])).requires_grad_(False)
    add_adapters(SimpleNamespace(unet=unet), settings, seed=0)  # type: ignore[arg-type]
    noised, context = torch.randn((1, 4, size_px // 8, size_px // 8)), torch.randn((1, 77, 768))
    before = _largest()
    losses: list[torch.Tensor] = []
    kept = kept_bytes(
        unet, lambda: losses.append(unet(noised, 500, encoder_hidden_states=context).sample.square().mean())
    )
    losses[0].backward()
    gradients = sum(p.numel() * 4 for p in unet.parameters() if p.requires_grad)
    print(f"SD 1.x UNet, fp32, {size_px} px, 1 picture, on the CPU")
    print(
        f"counted without content: {need.activations / _GIB:.3f} GiB kept, {need.transient / _GIB:.3f} on the way back"
    )
    print(f"kept by one real step:   {kept / _GIB:.3f} GiB")
    print(
        f"the process grew by:     {(_largest() - before - gradients) / _GIB:.3f} GiB, without gradients of the updates"
    )


def _largest() -> int:
    """Most memory this process has held, in bytes (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", type=int, metavar="PX", help="compare with a real step of this size")
    asked = parser.parse_args().check
    if asked:
        check(asked)
    else:
        table()
