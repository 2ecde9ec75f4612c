"""A caller of the embedded server, and what it sends."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image, ImageDraw

SHARED = Path(__file__).parents[2].parent / "shared" / "webui"


def recorded(name: str) -> Any:
    """A recording of the genuine server."""
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"no recordings of the genuine server at {SHARED}")
    return json.loads(path.read_text(encoding="utf-8"))


def board_image(width: int = 64, height: int = 64) -> Image.Image:
    """A small board: a textured background, a trace, a pad and a dark spot."""
    ground = np.random.default_rng(0).normal(120, 10, (height, width, 3))
    image = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, height // 3, width, height // 3 + height // 8), fill=(190, 140, 60))
    draw.ellipse((width // 2, height // 2, width * 3 // 4, height * 3 // 4), fill=(30, 25, 20))
    return image


def as_base64(image: Image.Image, kind: str = "PNG", **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def opened(text: str) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    image.load()
    return image


def pixels(text: str) -> np.ndarray:
    return np.asarray(opened(text).convert("RGB")).astype(int)


class Api:
    """Calls `/sdapi/v1` without this project's client."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, f"{self.url}{path}", timeout=30, allow_redirects=False, **options)

    def get(self, path: str) -> Any:
        answer = self.call("GET", f"/sdapi/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any) -> requests.Response:
        return self.call("POST", f"/sdapi/v1/{path}", json=body)

    def img2img(self, **fields: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The reply and its `info`, for a request of the recordings' usual shape."""
        answer = self.post("img2img", usual(**fields))
        assert answer.status_code == 200, answer.text
        reply = answer.json()
        return reply, json.loads(reply["info"])


def usual(**fields: Any) -> dict[str, Any]:
    """The body the recordings were made with; None stays null, `...` leaves a field out."""
    body = {
        "init_images": [as_base64(board_image())],
        "prompt": "scratched metal surface",
        "negative_prompt": "blurry",
        "denoising_strength": 0.25,
        "sampler_name": "DPM++ SDE",
        "scheduler": "Karras",
        "steps": 4,
        "cfg_scale": 7,
        "width": 64,
        "height": 64,
        "seed": 42,
        **fields,
    }
    return {name: value for name, value in body.items() if value is not ...}
