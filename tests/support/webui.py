"""Replies of a scripted WebUI, built by hand."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

from PIL import Image


def png_bytes(size: tuple[int, int] = (64, 64), mode: str = "RGB", color: Any = None) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, color if color is not None else 0).save(buffer, format="PNG")
    return buffer.getvalue()


def reply_body(
    *, images: int = 1, size: tuple[int, int] = (64, 64), seed: int = 42, data: bytes | None = None, **info: Any
) -> dict[str, Any]:
    """A reply of img2img to the request that `plain_request` makes, with changes."""
    image = data if data is not None else png_bytes(size)
    full_info = {
        "all_seeds": [seed + i for i in range(images)],
        "infotexts": [f"Steps: 20, Sampler: Euler, Seed: {seed + i}" for i in range(images)],
        "seed": seed,
        "sampler_name": "Euler",
        "steps": 20,
        "cfg_scale": 7.0,
        "width": size[0],
        "height": size[1],
        "denoising_strength": 0.25,
        "sd_model_name": "model",
        "sd_model_hash": "abc123",
        "index_of_first_image": 0,
        "extra_generation_params": {"Denoising strength": 0.25},
        "version": "1.10.1",
        **info,
    }
    encoded = base64.b64encode(image).decode()
    return {"images": [encoded] * images, "parameters": {}, "info": json.dumps(full_info)}


SAMPLERS = [
    {"name": "Euler", "aliases": ["k_euler"], "options": {}},
    {"name": "Euler a", "aliases": ["k_euler_a"], "options": {}},
    {"name": "DPM++ SDE", "aliases": ["k_dpmpp_sde"], "options": {"scheduler": "karras"}},
]


SCHEDULERS = [
    {"name": "automatic", "label": "Automatic", "aliases": None},
    {"name": "karras", "label": "Karras", "aliases": None},
    {"name": "sgm_uniform", "label": "SGM Uniform", "aliases": ["SGMUniform"]},
]
