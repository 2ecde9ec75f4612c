"""A request of `POST /sdapi/v1/txt2img`: pictures out of seeds, for the prompt has no influence here."""

from __future__ import annotations

from typing import Any

from PIL import Image

from .engines.texture import texture
from .generation import GeneratingCall, Work
from .resolve import check_memory, steps_to_run, working_size
from .upscalers import enlarge, find_second_pass_upscaler

_DEPARTURE = 0.5
"""How far the engine takes its start image, as img2img's strength; fixed, for txt2img has none."""


class Txt2Img(GeneratingCall):
    """Makes images out of nothing but seeds; on demand enlarges them and goes over them once more."""

    label = "scripts_txt2img"

    def check(self, body: Any) -> None:
        """Nothing is refused before the request queues."""

    def read_inputs(self, body: Any, checked: None) -> None:
        """There are no images to decode."""

    def prepare(self, body: Any, inputs: None) -> Work:
        """Resolve sizes, and say what a second pass will do."""
        del inputs
        size = working_size(body.width, body.height)
        final = _final_size(body, size)
        check_memory(body.batch_size, *final)
        steps = steps_to_run(body.steps, 1.0, fix_steps=True)
        words: dict[str, Any] = {}
        if body.enable_hr:
            words = {"Denoising strength": body.denoising_strength, **_second_pass_words(body)}
            if body.denoising_strength is None:
                raise TypeError("'<' not supported between instances of 'NoneType' and 'int'")
            find_second_pass_upscaler(body.hr_upscaler)

        def draw(place: int, seed: tuple[int, ...]) -> Image.Image:
            del place
            image = self.engine.vary(texture(size, seed), strength=_DEPARTURE, seed=seed)
            if not body.enable_hr:
                return image
            enlarged = enlarge(image, find_second_pass_upscaler(body.hr_upscaler), final)
            return self.engine.vary(enlarged, strength=body.denoising_strength, seed=(*seed, 1))

        return Work(steps=steps, batch=body.batch_size, words=words, draw=draw)

    def echo(self, body: Any) -> dict[str, Any]:
        """The request as it was read."""
        echo: dict[str, Any] = body.model_dump()
        return echo


def _final_size(body: Any, size: tuple[int, int]) -> tuple[int, int]:
    """Size of the finished picture; a side that is not given follows the other."""
    if not body.enable_hr:
        return size
    width, height = body.hr_resize_x or 0, body.hr_resize_y or 0
    if not width and not height:
        return working_size(int(size[0] * body.hr_scale), int(size[1] * body.hr_scale))
    return working_size(width or height * size[0] // size[1], height or width * size[1] // size[0])


def _second_pass_words(body: Any) -> dict[str, Any]:
    """What an infotext says about the second pass."""
    words: dict[str, Any] = {}
    if body.hr_resize_x or body.hr_resize_y:
        words["Hires resize"] = f"{body.hr_resize_x or 0}x{body.hr_resize_y or 0}"
    else:
        words["Hires upscale"] = body.hr_scale
    if body.hr_second_pass_steps:
        words["Hires steps"] = body.hr_second_pass_steps
    words["Hires upscaler"] = body.hr_upscaler or "Latent"
    return words
