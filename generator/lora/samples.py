"""Sample pictures while a LoRA is trained: one of each class, made from noise alone, on one sheet."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image, ImageDraw

from sdcore.optional_imports import import_diffusers

from .base import Base
from .session import Session, predict
from .texts import Encoded, encode_texts

_STEPS = 20
_GUIDANCE = 6.0
_LABEL_PX = 24
_SHOWN_PX = 256


def sample_sheet(session: Session, captions: Mapping[str, str], *, size_px: int, device: torch.device) -> bytes:
    """A PNG with one picture of each class, always from the same noise, so that sheets can be laid side by side.

    Deterministic DDIM (arXiv 2010.02502), 20 steps, guidance 6 against the empty caption.

    Args:
        session: of the training; its random numbers are left alone.
        captions: by class.
        size_px: side of the square, a multiple of 64.
        device: where to compute.
    """
    base = session.base
    for encoder in base.text_encoders:
        encoder.to(device)
    base.vae.to(device)
    tiles = []
    with torch.no_grad():
        for name, caption in captions.items():
            with session.autocast():
                told = encode_texts(base, ["", caption], clip_skip=session.settings.clip_skip)
                latent = _denoise(base, told, size_px, device)
            decoded = base.vae.decode(latent.float() / base.vae.config.scaling_factor).sample[0]
            tiles.append((name, _picture(decoded)))
    base.vae.to("cpu")
    if not session.settings.text_encoder:
        for encoder in base.text_encoders:
            encoder.to("cpu")
    return _sheet(tiles)


def _denoise(base: Base, told: Encoded, size_px: int, device: torch.device) -> torch.Tensor:
    diffusers = import_diffusers()
    scheduler = diffusers.DDIMScheduler.from_config(base.schedule.config, timestep_spacing="trailing")
    scheduler.set_timesteps(_STEPS, device=device)
    noise = torch.randn((1, 4, size_px // 8, size_px // 8), generator=torch.Generator().manual_seed(0))
    latent: torch.Tensor = noise.to(device) * scheduler.init_noise_sigma
    for time in scheduler.timesteps:
        both = predict(base, latent.repeat(2, 1, 1, 1), time.repeat(2), told).float()
        without, with_caption = both.chunk(2)
        latent = scheduler.step(without + _GUIDANCE * (with_caption - without), time, latent).prev_sample
    return latent


def _picture(decoded: torch.Tensor) -> Image.Image:
    values = ((decoded.clamp(-1, 1) + 1) * 127.5).round().to(device="cpu", dtype=torch.uint8)
    return Image.fromarray(np.asarray(values.permute(1, 2, 0)))


def _sheet(tiles: list[tuple[str, Image.Image]]) -> bytes:
    sheet = Image.new("RGB", (_SHOWN_PX * len(tiles), _SHOWN_PX + _LABEL_PX), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, picture) in enumerate(tiles):
        left = number * _SHOWN_PX
        sheet.paste(picture.resize((_SHOWN_PX, _SHOWN_PX), Image.Resampling.BICUBIC), (left, _LABEL_PX))
        draw.text((left + 4, 6), name.encode("ascii", "replace").decode("ascii"), fill="black")
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()
