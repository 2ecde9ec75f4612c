"""A LoRA training in progress: adapters, encoded captions, the objective, and one step."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..config import LoraSettings, Targets
from ..errors import OutOfMemory, SettingsError, TrainingDiverged
from .base_model import LoadedBase, Prediction
from .dataset import LatentCache, TrainingImage, WeightedSampler, micro_batches

_CLIP = 1.0
"""Largest norm of the gradient of a step."""


class LoraSession:
    """One training, ready for its next step.

    `base` has adapters already; its networks are moved to the device. `dtype` is the number format of the frozen
    weights, fp32 on a CPU.
    """

    def __init__(
        self,
        base: LoadedBase,
        settings: LoraSettings,
        images: Sequence[TrainingImage],
        cache: LatentCache,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.base, self.settings = base, settings
        self.models = adapted_models(base, settings)
        self._cache, self._device, self._dtype = cache, device, dtype
        self.generator = torch.Generator().manual_seed(settings.seed)
        self._draw = WeightedSampler([image.class_name for image in images], balance=settings.balance)
        self._captions = [image.caption for image in images]
        self.sizes = cache.sizes
        """(width, height) in px of each image after scaling."""
        self._alphas = base.schedule.alphas_cumprod.to(device)
        for encoder in base.text_encoders:
            encoder.to(device)
        # Before the UNet is moved to the device: SDXL's UNet and text encoders together would set the memory peak.
        self._known = None if settings.text_encoder else self._encode_once()
        base.unet.to(device)
        rates = (settings.lr, *[settings.text_encoder_lr] * (len(self.models) - 1))
        groups: list[dict[str, Any]] = [
            {"params": list(trainable_parameters(model)), "lr": rate, "full_lr": rate}
            for (_, model), rate in zip(self.models, rates, strict=True)
        ]
        self.parameters: list[nn.Parameter] = [p for group in groups for p in group["params"]]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=1e-2)
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)

    def step(self, number: int) -> float:
        """Do one optimiser step; steps count from 0. Returns the mean loss over the batch.

        Raises:
            TrainingDiverged: the loss is no longer a number.
            OutOfMemory: the device's memory does not hold the batch.
        """
        try:
            return self._step(number)
        except torch.cuda.OutOfMemoryError as error:
            width, height = max(self.sizes)
            raise OutOfMemory(
                f"out of memory on {self._device} at {width} x {height} px with {self._most()} images at once; "
                "give a smaller --micro-batch, --gradient-checkpointing, or a smaller --size"
            ) from error

    def _step(self, number: int) -> float:
        factor = self.settings.learning_rate_factor(number)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["full_lr"]
        self.optimizer.zero_grad(set_to_none=True)
        taken = self._draw.take(self.settings.batch, self.generator)
        # All random numbers are drawn first, in the order of the batch, so they do not depend on the micro-batches.
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
                f"step {number + 1}: the loss is {total}; everything saved before is kept. Start again with a smaller "
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
        """(N,) weighted losses of images of one size."""
        prediction = self.base.prediction
        noised = add_noise(latents, noises, self._alphas, times)
        wanted = prediction_target(latents, noises, self._alphas, times, prediction)
        with self.autocast():
            predicted = run_unet(self.base, noised, times, self._encoded_captions(taken))
        losses = functional.mse_loss(predicted.float(), wanted, reduction="none").mean(dim=(1, 2, 3))
        return losses * loss_weights(self._alphas, times, prediction, self.settings.min_snr)

    def _encoded_captions(self, taken: Sequence[int]) -> EncodedCaptions:
        captions = [self._captions[index] for index in taken]
        if self._known is None:
            return encode_texts(self.base, captions, clip_skip=self.settings.clip_skip)
        rows, encoded = self._known
        return encoded.pick([rows[caption] for caption in captions])

    def _encode_once(self) -> tuple[dict[str, int], EncodedCaptions]:
        """Encode every distinct caption, then move the text encoders off the device."""
        distinct = list(dict.fromkeys(self._captions))
        with torch.no_grad(), self.autocast():
            encoded = encode_texts(self.base, distinct, clip_skip=self.settings.clip_skip)
        for encoder in self.base.text_encoders:
            encoder.to("cpu")
        return {caption: row for row, caption in enumerate(distinct)}, encoded

    def _most(self) -> int:
        return self.settings.micro_batch or self.settings.batch

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which the networks run, in the precision of the training."""
        if self._dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype)


def run_unet(base: LoadedBase, noised: torch.Tensor, times: torch.Tensor, encoded: EncodedCaptions) -> torch.Tensor:
    """The prediction of the UNet for noised latents (N, 4, H, W)."""
    extra: dict[str, Any] = {}
    if encoded.pooled is not None:
        height, width = 8 * noised.shape[-2], 8 * noised.shape[-1]
        # Original size, corner of the crop, size: the values that a WebUI passes when it generates an image.
        sizes = torch.tensor([[height, width, 0, 0, height, width]], device=noised.device, dtype=encoded.context.dtype)
        extra["added_cond_kwargs"] = {"text_embeds": encoded.pooled, "time_ids": sizes.repeat(len(noised), 1)}
    answer: torch.Tensor = base.unet(
        noised.to(encoded.context.dtype), times, encoder_hidden_states=encoded.context, return_dict=False, **extra
    )[0]
    return answer


_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_UNET_TARGETS: Mapping[Targets, tuple[str, ...]] = {
    "attention": _ATTENTION,
    "transformer": (*_ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"),
}
_TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")


def adapted_models(base: LoadedBase, settings: LoraSettings) -> list[tuple[str, nn.Module]]:
    """The models that are adapted, each with the prefix of its keys in a LoRA file."""
    encoders = list(zip(base.family.text_prefixes, base.text_encoders, strict=True)) if settings.text_encoder else []
    return [("lora_unet", base.unet), *encoders]


def add_adapters(base: LoadedBase, settings: LoraSettings, *, seed: int) -> None:
    """Add an update to each layer. It changes nothing yet, because one of its two factors is zero.

    The other factor is drawn from the seed; the state of torch's global generator is kept.
    """
    peft = importlib.import_module("peft")
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about versions of other packages
        torch.manual_seed(seed)
        for prefix, model in adapted_models(base, settings):
            targets = _UNET_TARGETS[settings.targets] if prefix == "lora_unet" else _TEXT_TARGETS
            config = peft.LoraConfig(
                r=settings.rank, lora_alpha=settings.scale, lora_dropout=0.0, bias="none", target_modules=list(targets)
            )
            peft.inject_adapter_in_model(config, model)
            for parameter in trainable_parameters(model):
                parameter.data = parameter.data.float()  # peft creates them in the frozen layer's type


def trainable_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of the updates in a model."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


def adapter_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The updates by layer: `<layer>.lora_A.weight` maps down to the rank, `<layer>.lora_B.weight` up from it."""
    utils = importlib.import_module("peft.utils")
    tensors: dict[str, torch.Tensor] = utils.get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def load_adapter_tensors(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Restore the result of `adapter_tensors`.

    Raises:
        ValueError: names or shapes do not fit the model.
    """
    own = dict(model.named_parameters())
    # In the model, peft puts the adapter's name, here "default", before the last part of a parameter's name.
    named = {".default.".join(name.rsplit(".", 1)): tensor for name, tensor in tensors.items()}
    wanted = {name for name, parameter in own.items() if parameter.requires_grad}
    if set(named) != wanted or any(own[name].shape != tensor.shape for name, tensor in named.items()):
        raise ValueError("the layers of the state are not those of this base")
    with torch.no_grad():
        for name, tensor in named.items():
            own[name].copy_(tensor)


def add_noise(
    latent: torch.Tensor, noise: torch.Tensor, alphas_cumprod: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise (arXiv 2006.11239, equation 4)."""
    signal, spread = _coefficients(alphas_cumprod, timesteps)
    return signal * latent + spread * noise


def prediction_target(
    latent: torch.Tensor,
    noise: torch.Tensor,
    alphas_cumprod: torch.Tensor,
    timesteps: torch.Tensor,
    prediction: Prediction,
) -> torch.Tensor:
    """The noise, or the velocity sqrt(a_t) noise - sqrt(1 - a_t) x_0 (arXiv 2202.00512, appendix D)."""
    if prediction == "epsilon":
        return noise
    signal, spread = _coefficients(alphas_cumprod, timesteps)
    return signal * noise - spread * latent


def loss_weights(
    alphas_cumprod: torch.Tensor, timesteps: torch.Tensor, prediction: Prediction, min_snr: float | None
) -> torch.Tensor:
    """(N,) weight of each image's loss; ones without min-SNR weighting.

    min(SNR, gamma) / SNR for predicted noise, min(SNR, gamma) / (SNR + 1) for velocity, with SNR = a_t / (1 - a_t)
    (arXiv 2303.09556, section 3.4). At SNR 0 the first is its limit, 1.
    """
    if min_snr is None:
        return torch.ones(timesteps.shape, device=timesteps.device)
    kept = alphas_cumprod.to(timesteps.device)[timesteps].float()
    snr = kept / (1 - kept)
    clipped = snr.clamp(max=min_snr)
    if prediction == "v_prediction":
        return clipped / (snr + 1)
    return torch.where(snr > 0, clipped / snr.clamp(min=1e-12), torch.ones_like(snr))


def _coefficients(alphas_cumprod: torch.Tensor, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 1, 1, 1) shares of image and noise."""
    kept = alphas_cumprod.to(timesteps.device)[timesteps].float().view(-1, 1, 1, 1)
    return kept.sqrt(), (1 - kept).sqrt()


_TOKENS = 75
"""Most tokens of a caption; 77 with the start and end tokens."""


@dataclass(frozen=True)
class EncodedCaptions:
    """The text embeddings of N captions."""

    context: torch.Tensor
    """(N, 77, D): input of the UNet's cross-attention."""
    pooled: torch.Tensor | None
    """(N, P): one vector per caption; only for SDXL."""

    def pick(self, rows: Sequence[int]) -> EncodedCaptions:
        """The captions at these rows, in this order; a row may be repeated."""
        index = torch.tensor(list(rows), device=self.context.device)
        return EncodedCaptions(self.context[index], None if self.pooled is None else self.pooled[index])


def check_lengths(base: LoadedBase, captions: Iterable[str]) -> None:
    """Refuse captions that the text encoder would cut off.

    Raises:
        SettingsError: there is one; the message names the first.
    """
    for caption in captions:
        tokens = max(len(tokenizer(caption).input_ids) - 2 for tokenizer in base.tokenizers)
        if tokens > _TOKENS:
            raise SettingsError(f"caption {caption!r}: {tokens} tokens; at most {_TOKENS} are read, make it shorter")


def encode_texts(base: LoadedBase, captions: Sequence[str], *, clip_skip: int) -> EncodedCaptions:
    """Run the text encoders on their device; gradients are kept if they are enabled.

    SD 1.x and 2.x use the last layer, or an earlier one by `clip_skip`, after the final normalisation; SDXL
    concatenates the layer before the last of both encoders, and uses the pooled vector of the second one.
    """
    states: list[torch.Tensor] = []
    pooled: torch.Tensor | None = None
    for tokenizer, encoder in zip(base.tokenizers, base.text_encoders, strict=True):
        tokens = tokenizer(list(captions), padding="max_length", max_length=_TOKENS + 2, truncation=True)
        ids = torch.tensor(tokens.input_ids, device=next(encoder.parameters()).device)
        answer = encoder(ids, output_hidden_states=True)
        if base.family.is_sdxl:
            states.append(answer.hidden_states[-2])
            pooled = answer[0]
        elif clip_skip == 1:
            states.append(answer.last_hidden_state)
        else:
            states.append(encoder.text_model.final_layer_norm(answer.hidden_states[-clip_skip]))
    return EncodedCaptions(torch.cat(states, dim=-1), pooled)
