"""What training a LoRA takes of a GPU's memory, counted without a GPU; and how far such a count can be trusted.

    python bench/lora_memory.py            the table of docs/lora.md

    MALLOC_MMAP_THRESHOLD_=65536 MALLOC_MMAP_MAX_=1000000 python bench/lora_memory.py --check 256

compares the count with one real step of SD 1.x' UNet in fp32 on the CPU, of 256 px. The variables (of glibc) give every
large tensor back to the system at once, so that the growth of the process is what tensors held, and oneDNN, which takes
memory of its own for its convolutions, is off. It needs about 5 GB of memory and a minute.

The real networks are built on torch's meta device, where tensors have sizes and no content, and run forward once. What
the backward pass would keep is counted, each storage once. Autocast does not exist on that device, so its work is done
by hand: linear layers, convolutions and attention in half precision, normalisations in fp32. Attention is counted as
the fused kernels keep it: its inputs, its output, and one number a row.
"""

from __future__ import annotations

import argparse
import importlib
import resource
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from generator.config import LoraSettings
from generator.lora.families import SD1, SDXL, Family
from generator.lora.session import EncodedCaptions, adapted_models, add_adapters, run_unet, trainable_parameters
from sdcore.optional_imports import import_diffusers

_GIB = 2**30
_ROWS: tuple[tuple[Family, int, bool, bool], ...] = tuple(
    (family, at_once, twice, text)
    for family in (SD1, SDXL)
    for at_once in (1, 4)
    for twice in (False, True)
    for text in (False, True)
)

_META = torch.device("meta")
_TRAINED_BYTES = 4 + 4 + 2 * 4
"""Of a trained number: itself, its gradient and Adam's two moments, fp32."""
_TOKENS = 77
_PARTS = ("ResnetBlock2D", "BasicTransformerBlock", "CLIPEncoderLayer")
"""What gradient checkpointing computes twice; of each only what it is given is kept."""
_TRANSIENT = 3
"""So many of the largest kept tensor exist at once on the way back: a gradient in, one out, one being computed."""


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes, by what they are for."""

    weights: int
    """Of the frozen networks that stay on the device."""
    updates: int
    """The trained numbers, their gradients and the optimiser's moments."""
    activations: int
    """What the forward pass keeps for the backward pass."""
    transient: int
    """Gradients of activations while they are passed on."""

    @property
    def total(self) -> int:
        """All of it; CUDA itself takes some hundred MB more."""
        return self.weights + self.updates + self.activations + self.transient


def memory_need(family: Family, settings: LoraSettings, *, half: bool = True) -> MemoryNeed:
    """What a step takes, with `settings.micro_batch` or `settings.batch` pictures at once.

    Args:
        family: SD 1.x or SDXL, whose networks are known.
        settings: of the training.
        half: half precision as on CUDA; otherwise fp32.
    """
    base = _build(family, torch.float16 if half else torch.float32)
    frozen = [base.unet, *(base.text_encoders if settings.text_encoder else ())]
    weights = sum(_bytes(module.parameters()) + _bytes(module.buffers()) for module in frozen)
    add_adapters(base, settings, seed=settings.seed)
    adapted = [model for _, model in adapted_models(base, settings)]
    updates = _TRAINED_BYTES * sum(parameter.numel() for model in adapted for parameter in trainable_parameters(model))
    kept = _Kept(frozen)
    with kept.counting(), _HalfByHand(torch.float16 if half else torch.float32):
        _forward(base, settings)
    return MemoryNeed(
        weights,
        updates,
        kept.with_parts_computed_twice() if settings.gradient_checkpointing else kept.total,
        _TRANSIENT * kept.largest,
    )


def kept_bytes(model: nn.Module, forward: Any) -> int:
    """Bytes that a forward pass keeps for the backward pass, weights left out; on any device.

    Args:
        model: whose weights do not count.
        forward: runs it.
    """
    kept = _Kept([model])
    with kept.counting():
        forward()
    return kept.total


def _build(family: Family, dtype: torch.dtype) -> Any:
    """The family's networks without content, in the form of a `LoadedBase`."""
    diffusers, transformers = import_diffusers(), importlib.import_module("transformers")
    parts = family.components
    with _META:
        unet = diffusers.UNet2DConditionModel.from_config(dict(parts["unet"])).to(dtype)
        encoders = []
        for name in ("text_encoder", "text_encoder_2"):
            if name in parts:
                kind = getattr(transformers, parts[name]["architectures"][0])
                encoders.append(kind(transformers.CLIPTextConfig(**parts[name])).to(dtype))
    for module in (unet, *encoders):
        module.requires_grad_(False)
    return SimpleNamespace(family=family, unet=unet, text_encoders=tuple(encoders))


def _forward(base: Any, settings: LoraSettings) -> None:
    at_once = settings.micro_batch or settings.batch
    side = (settings.size_px or base.family.native_px) // 8
    dtype = next(base.unet.parameters()).dtype
    context, pooled = _texts(base, at_once, dtype, with_gradients=settings.text_encoder)
    noised = torch.empty((at_once, 4, side, side), device=_META)
    times = torch.empty((at_once,), device=_META, dtype=torch.long)
    told = run_unet(base, noised, times, EncodedCaptions(context, pooled))
    functional.mse_loss(told.float(), torch.empty_like(told, dtype=torch.float32))


def _texts(base: Any, at_once: int, dtype: torch.dtype, *, with_gradients: bool) -> tuple[torch.Tensor, Any]:
    if not with_gradients:
        width = base.unet.config.cross_attention_dim
        pooled = torch.empty((at_once, 1280), device=_META, dtype=dtype) if base.family.is_sdxl else None
        return torch.empty((at_once, _TOKENS, width), device=_META, dtype=dtype), pooled
    ids = torch.zeros((at_once, _TOKENS), device=_META, dtype=torch.long)
    answers = [encoder(ids, output_hidden_states=True) for encoder in base.text_encoders]
    if not base.family.is_sdxl:
        return answers[0].last_hidden_state, None
    return torch.cat([answer.hidden_states[-2] for answer in answers], dim=-1), answers[1][0]


class _Kept:
    """Counts what a forward pass keeps, apart for each part that checkpointing would compute twice."""

    def __init__(self, models: Iterable[nn.Module]) -> None:
        self._models = list(models)
        self._own = {_place(tensor) for model in self._models for tensor in (*model.parameters(), *model.buffers())}
        self._seen: set[int] = set()
        self._alive: list[torch.Tensor] = []  # or a freed storage's place would be taken for another's
        self._inside: list[int] = []
        self._parts: list[int] = []
        self._outside = 0
        self._given: dict[int, int] = {}
        self.largest = 0
        """Of one storage."""

    @property
    def total(self) -> int:
        """Bytes kept when nothing is computed twice."""
        return self._outside + sum(self._parts)

    def with_parts_computed_twice(self) -> int:
        """Bytes kept when of each part only its inputs are, and one part at a time is whole."""
        return self._outside + sum(self._given.values()) + max(self._parts, default=0)

    def counting(self) -> Any:
        """Counts what is kept in forward passes within."""
        return _Counting(self, self._models)

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """Called by torch for each tensor kept."""
        place, size = _place(tensor), tensor.untyped_storage().nbytes()
        if place not in self._own and place not in self._seen:
            self._seen.add(place)
            self._alive.append(tensor)
            self.largest = max(self.largest, size)
            if self._inside:
                self._parts[-1] += size
            else:
                self._outside += size
        return tensor

    def enter(self, _module: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """A part begins; what it is given is kept either way."""
        self._inside.append(1)
        self._parts.append(0)
        for tensor in (*given, *named.values()):
            if isinstance(tensor, torch.Tensor):
                self._alive.append(tensor)
                self._given[_place(tensor)] = tensor.untyped_storage().nbytes()

    def leave(self, *_: Any) -> None:
        """A part ends."""
        self._inside.pop()


class _Counting:
    def __init__(self, kept: _Kept, models: Iterable[nn.Module]) -> None:
        self._kept = kept
        self._parts = [part for model in models for part in model.modules() if type(part).__name__ in _PARTS]
        self._hooks: list[Any] = []
        self._saved = torch.autograd.graph.saved_tensors_hooks(kept.keep, lambda tensor: tensor)

    def __enter__(self) -> None:
        for part in self._parts:
            self._hooks.append(part.register_forward_pre_hook(self._kept.enter, with_kwargs=True))
            self._hooks.append(part.register_forward_hook(self._kept.leave))
        self._saved.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._saved.__exit__(*error)
        for hook in self._hooks:
            hook.remove()


class _HalfByHand(TorchFunctionMode):
    """What autocast does on CUDA, for the operations of these networks (PyTorch's documentation of torch.amp)."""

    _NARROW = frozenset({functional.linear, functional.conv2d, torch.conv2d, torch.matmul, torch.bmm, torch.baddbmm})
    _WIDE = frozenset({functional.group_norm, functional.layer_norm})

    def __init__(self, narrow: torch.dtype) -> None:
        super().__init__()
        self._narrow = narrow

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.scaled_dot_product_attention:
            return _FusedAttention.apply(*(self._cast(tensor, self._narrow) for tensor in args[:3]))  # type: ignore[no-untyped-call]
        to = self._narrow if func in self._NARROW else torch.float32 if func in self._WIDE else None
        if to is not None:
            args = tuple(self._cast(value, to) for value in args)
            kwargs = {name: self._cast(value, to) for name, value in (kwargs or {}).items()}
        return func(*args, **(kwargs or {}))

    @staticmethod
    def _cast(value: Any, to: torch.dtype) -> Any:
        return value.to(to) if isinstance(value, torch.Tensor) and value.is_floating_point() else value


class _FusedAttention(torch.autograd.Function):
    """Keeps what fused attention keeps; computes nothing."""

    @staticmethod
    def forward(context: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        out = torch.empty((*query.shape[:-1], value.shape[-1]), device=query.device, dtype=query.dtype)
        rows = torch.empty(query.shape[:-1], device=query.device, dtype=torch.float32)
        context.save_for_backward(query, key, value, out, rows)
        return out


def _place(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


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
