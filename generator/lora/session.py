"""A training as it stands: the networks, the updates and the optimiser, advanced one step at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..errors import OutOfMemory, TrainingDiverged
from .adapters import adapted_models, trained
from .base import Base
from .draws import Draw, micro_batches
from .latents import LatentCache
from .objective import add_noise, target, weights
from .pictures import TrainingImage
from .settings import LoraSettings
from .texts import Encoded, encode_texts

_CLIP = 1.0
"""Longest gradient of a step."""


class Session:
    """One training, ready for its next step.

    Args:
        base: holds the updates already; goes to the device.
        settings: of the training.
        images: the pictures.
        cache: their latents.
        device: where to compute.
        dtype: what the network computes in; fp32 on a CPU.
    """

    def __init__(
        self,
        base: Base,
        settings: LoraSettings,
        images: Sequence[TrainingImage],
        cache: LatentCache,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.base = base
        self.settings = settings
        self.models = adapted_models(base, settings)
        self._cache = cache
        self._device = device
        self._dtype = dtype
        self.generator = torch.Generator().manual_seed(settings.seed)
        self._draw = Draw([image.class_name for image in images], balance=settings.balance)
        self._captions = [image.caption for image in images]
        self.sizes = cache.sizes
        """(width, height) in px each picture is trained at."""
        self._alphas = base.schedule.alphas_cumprod.to(device)
        for encoder in base.text_encoders:
            encoder.to(device)
        # Before the UNet comes too: SDXL's and its text encoders together would be the most the device ever holds.
        self._known = None if settings.text_encoder else self._encode_once()
        base.unet.to(device)
        rates = (settings.lr, *[settings.text_encoder_lr] * (len(self.models) - 1))
        groups = [
            {"params": list(trained(model)), "lr": rate, "full_lr": rate}
            for (_, model), rate in zip(self.models, rates, strict=True)
        ]
        self.parameters: list[nn.Parameter] = [p for group in groups for p in group["params"]]  # type: ignore[attr-defined]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=1e-2)
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)

    def step(self, number: int) -> float:
        """One optimiser step, counted from 0; gives its loss, the mean over the batch.

        Raises:
            TrainingDiverged: the loss is no number any more.
            OutOfMemory: the device's memory does not hold the batch.
        """
        try:
            return self._step(number)
        except torch.cuda.OutOfMemoryError as error:
            size = max(self.sizes)
            raise OutOfMemory(
                f"out of memory on {self._device} at {size[0]} x {size[1]} px with {self._most()} pictures at once; "
                "give a smaller --micro-batch, --gradient-checkpointing, or a smaller --size"
            ) from error

    def _step(self, number: int) -> float:
        factor = self.settings.learning_rate_factor(number)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["full_lr"]
        self.optimizer.zero_grad(set_to_none=True)
        taken = self._draw.take(self.settings.batch, self.generator)
        # All that is drawn at once, in the order of the batch: how it is parted then changes no number.
        latents = [self._cache.draw(index, self.generator) for index in taken]
        noises = [torch.randn(latent.shape, generator=self.generator) for latent in latents]
        times = torch.randint(len(self._alphas), (len(taken),), generator=self.generator)
        total = 0.0
        for positions in micro_batches(taken, self.sizes, self._most()):
            losses = self._losses(
                torch.stack([latents[p] for p in positions]).to(self._device),
                torch.stack([noises[p] for p in positions]).to(self._device),
                times[positions].to(self._device),
                [taken[p] for p in positions],
            )
            loss = losses.sum() / len(taken)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        if not math.isfinite(total):
            raise TrainingDiverged(
                f"step {number + 1}: the loss is {total}; what was saved before is kept. Start again with a smaller "
                "--lr, or with --precision bf16 or fp32"
            )
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.parameters, _CLIP)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return total

    def _losses(
        self, latents: torch.Tensor, noises: torch.Tensor, times: torch.Tensor, taken: Sequence[int]
    ) -> torch.Tensor:
        """(N,) weighted loss of each picture; all of one size."""
        prediction = self.base.prediction
        noised = add_noise(latents, noises, self._alphas, times)
        wanted = target(latents, noises, self._alphas, times, prediction)
        with self.autocast():
            told = predict(self.base, noised, times, self._told(taken))
        losses = functional.mse_loss(told.float(), wanted, reduction="none").mean(dim=(1, 2, 3))
        return losses * weights(self._alphas, times, prediction, self.settings.min_snr)

    def _told(self, taken: Sequence[int]) -> Encoded:
        captions = [self._captions[index] for index in taken]
        if self._known is None:
            return encode_texts(self.base, captions, clip_skip=self.settings.clip_skip)
        rows, encoded = self._known
        return encoded.pick([rows[caption] for caption in captions])

    def _encode_once(self) -> tuple[dict[str, int], Encoded]:
        """Every different caption, encoded; the text encoders then leave the device."""
        distinct = list(dict.fromkeys(self._captions))
        with torch.no_grad(), self.autocast():
            encoded = encode_texts(self.base, distinct, clip_skip=self.settings.clip_skip)
        for encoder in self.base.text_encoders:
            encoder.to("cpu")
        return {caption: row for row, caption in enumerate(distinct)}, encoded

    def _most(self) -> int:
        return self.settings.micro_batch or self.settings.batch

    def autocast(self) -> AbstractContextManager[Any]:
        """Where networks compute, in the training's precision."""
        if self._dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype)


def predict(base: Base, noised: torch.Tensor, times: torch.Tensor, told: Encoded) -> torch.Tensor:
    """What the UNet says of noised latents (N, 4, H, W)."""
    extra: dict[str, Any] = {}
    if told.pooled is not None:
        height, width = 8 * noised.shape[-2], 8 * noised.shape[-1]
        # Size before scaling, corner of the crop, size after it: as a WebUI says them of a picture it makes.
        sizes = torch.tensor([[height, width, 0, 0, height, width]], device=noised.device, dtype=told.context.dtype)
        extra["added_cond_kwargs"] = {"text_embeds": told.pooled, "time_ids": sizes.repeat(len(noised), 1)}
    answer: torch.Tensor = base.unet(
        noised.to(told.context.dtype), times, encoder_hidden_states=told.context, return_dict=False, **extra
    )[0]
    return answer
