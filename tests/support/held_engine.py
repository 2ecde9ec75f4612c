"""An engine that waits until the test lets it go on."""

from __future__ import annotations

import threading

from PIL import Image

TIMEOUT_S = 20


class HeldEngine:
    """An engine that waits for the test before each image."""

    name = "held, not Stable Diffusion"

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.at_once = 0
        self.most_at_once = 0

    def vary(self, source: Image.Image, *, strength: float, seed: tuple[int, ...]) -> Image.Image:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.entered.release()
        assert self.go_on.acquire(timeout=TIMEOUT_S)
        self.at_once -= 1
        return source

    def wait_until_entered(self) -> None:
        assert self.entered.acquire(timeout=TIMEOUT_S)
