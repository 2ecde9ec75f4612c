"""Requests to the WebUI for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from sdclient.models import Img2ImgRequest


def picture() -> Image.Image:
    ground = np.random.default_rng(0).normal(120, 20, (64, 64, 3))
    return Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))


def request(**fields: Any) -> Img2ImgRequest:
    return Img2ImgRequest.model_validate(
        {
            "init_images": [picture()],
            "width": 64,
            "height": 64,
            "steps": 4,
            "seed": 7,
            "sampler_name": "DPM++ SDE",
            "scheduler": "Karras",
            **fields,
        }
    )
