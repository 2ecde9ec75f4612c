"""A fake WebUI that answers img2img with images of the asked size."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable
from typing import Any

from PIL import Image
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response


class FakeWebUI:
    """Records requests and answers them; `before_answer` may count, wait or return another response."""

    def __init__(self, server: HTTPServer) -> None:
        self.url = server.url_for("")
        self.requests: list[dict[str, Any]] = []
        self.samples_format = "png"
        self.checkpoint = "model.safetensors [abc123]"
        self.image_format = "PNG"
        self.info: dict[str, Any] = {}
        self.before_answer: Callable[[int], Response | None] = lambda number: None
        self._lock = threading.Lock()
        server.expect_request("/internal/progress").respond_with_json({"active": False, "completed": True})
        server.expect_request("/sdapi/v1/options").respond_with_handler(self._options)
        server.expect_request("/sdapi/v1/samplers").respond_with_json([{"name": "DPM++ SDE"}, {"name": "Euler"}])
        server.expect_request("/sdapi/v1/schedulers").respond_with_json([{"name": "karras", "label": "Karras"}])
        server.expect_request("/sdapi/v1/img2img", method="POST").respond_with_handler(self._img2img)

    def _options(self, _: Request) -> Response:
        return _json({"samples_format": self.samples_format, "sd_model_checkpoint": self.checkpoint})

    def _img2img(self, request: Request) -> Response:
        asked = json.loads(request.get_data())
        with self._lock:
            self.requests.append(asked)
            number = len(self.requests)
        other = self.before_answer(number)
        if other is not None:
            return other
        source = Image.open(io.BytesIO(base64.b64decode(asked["init_images"][0])))
        assert source.size == (asked["width"], asked["height"])
        seeds = [asked["seed"] + i for i in range(asked["batch_size"])]
        images = [base64.b64encode(self._picture(source, seed)).decode() for seed in seeds]
        info = {
            "all_seeds": seeds,
            "infotexts": [f"焊盘\nSteps: {asked['steps']}, Sampler: DPM++ SDE, Seed: {seed}" for seed in seeds],
            "sampler_name": asked["sampler_name"],
            "steps": asked["steps"],
            "cfg_scale": asked["cfg_scale"],
            "denoising_strength": asked["denoising_strength"],
            "sd_model_name": "model",
            "sd_model_hash": "abc123",
            "extra_generation_params": {"Schedule type": asked.get("scheduler", "Automatic")},
            **self.info,
        }
        return _json({"images": images, "parameters": {}, "info": json.dumps(info)})

    def _picture(self, source: Image.Image, seed: int) -> bytes:
        """The source with its seed in one colour: which image is which can be told from its pixels."""
        buffer = io.BytesIO()
        Image.blend(source, Image.new("RGB", source.size, (seed % 256,) * 3), 0.5).save(buffer, self.image_format)
        return buffer.getvalue()


def _json(body: Any) -> Response:
    return Response(json.dumps(body), content_type="application/json")
