"""The server under test of the live suite, and what its tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sdclient.client import Timeouts, WebUI
from sdclient.errors import NotFound
from sdclient.models import Img2ImgRequest

STRENGTH = 0.5


_T = TypeVar("_T")


class Live:
    """The server under test and what the tests share."""

    def __init__(self, url: str, auth: tuple[str, str] | None, size_px: int) -> None:
        self.url = url
        self.auth = auth
        self.size_px = size_px
        self.webui = WebUI(url, auth=auth, timeouts=Timeouts(generate_s=900))
        self.before: dict[str, Any] = {}
        self._touched: set[str] = set()

    def options(self) -> dict[str, Any]:
        """All options, those unknown to the client too."""
        return dict(self.webui.call("GET", "/sdapi/v1/options"))

    def begin(self, wait_s: float) -> None:
        """Wait for the server, remember its options, and have pictures sent without loss."""
        self.webui.wait_until_ready(timeout_s=wait_s)
        self.before = self.options()
        if str(self.before.get("samples_format", "png")).lower() != "png":
            self.change({"samples_format": "png"})

    def change(self, options: dict[str, Any]) -> None:
        """Set options that `end` puts back."""
        self._touched |= set(options)
        self.webui.set_options(options)

    def end(self) -> None:
        """Put back every option that a test touched; fails when the server does not keep them."""
        former = {name: self.before[name] for name in self._touched if name in self.before}
        try:
            if former:
                self.webui.set_options(former)
                now = self.options()
                lost = {name: now.get(name) for name, value in former.items() if now.get(name) != value}
                assert not lost, f"options not put back: {lost}; they were {former}"
        finally:
            self.webui.close()

    @contextmanager
    def changed(self, **options: Any) -> Iterator[None]:
        """Other options for as long as the block lasts, also when it fails."""
        former = {name: self.options()[name] for name in options}
        self.change(options)
        try:
            yield
        finally:
            self.webui.set_options(former)

    def request(self, **fields: Any) -> Img2ImgRequest:
        """A small img2img request."""
        size = {"width": self.size_px, "height": self.size_px}
        return Img2ImgRequest.model_validate(
            {
                "init_images": [picture(self.size_px)],
                "prompt": "scratched metal surface",
                "denoising_strength": STRENGTH,
                "steps": 4,
                "seed": 1234,
                **size,
                **fields,
            }
        )

    def skip_if_busy(self) -> None:
        """Skip where somebody else's job runs: the test would take it for its own."""
        state = self.webui.progress().state
        if state.job or state.job_count > 0:
            pytest.skip(f"the server is busy with another job ({state.job!r})")


def picture(size_px: int) -> Image.Image:
    """A board: a textured ground, a trace and a dark spot."""
    ground = np.random.default_rng(0).normal(120, 10, (size_px, size_px, 3))
    image = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, size_px // 3, size_px, size_px // 2), fill=(190, 140, 60))
    draw.ellipse((size_px // 2, size_px // 2, size_px * 3 // 4, size_px * 3 // 4), fill=(30, 25, 20))
    return image


def if_there(what: str, call: Callable[[], _T]) -> _T:
    """The answer to a call that not every server has; skips where it is missing."""
    try:
        return call()
    except NotFound:
        pytest.skip(f"this server has no {what}")
