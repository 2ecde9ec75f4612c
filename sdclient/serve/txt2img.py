"""A request of `POST /sdapi/v1/txt2img`: pictures out of a seed, and of the prompt where the engine heeds one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from .catalogue import Choice
from .generation import GeneratingCall, PreparedCall, make_recipe
from .painting import GenerationRecipe, ImageSeed, ImageTask, StepMonitor
from .resolve import check_memory, schedule_steps, steps_to_run, working_size
from .upscalers import enlarge, find_second_pass_upscaler


class Txt2Img(GeneratingCall):
    """Makes images without a source; on demand enlarges them and goes over them once more."""

    label = "scripts_txt2img"

    def check(self, body: Any) -> None:
        """Nothing is refused before the request queues."""

    def read_inputs(self, body: Any, checked: None) -> None:
        """There are no images to decode."""

    def prepare(self, body: Any, inputs: None, choice: Choice) -> PreparedCall:
        """Resolve sizes, and say what a second pass will do."""
        del inputs
        size = working_size(body.width, body.height)
        final = _final_size(body, size)
        check_memory(body.batch_size, *final)
        steps = steps_to_run(body.steps, 1.0, fix_steps=True)
        first = make_recipe(body, choice, size=size, strength=1.0, steps=steps, schedule_steps=steps)
        words: dict[str, Any] = {}
        second: GenerationRecipe | None = None
        if body.enable_hr:
            words = {"Denoising strength": body.denoising_strength, **_second_pass_words(body)}
            second = _second_recipe(body, choice, final, fix_steps=bool(self.settings["img2img_fix_steps"]))
            find_second_pass_upscaler(body.hr_upscaler)

        def draw(seeds: Sequence[ImageSeed], walk: StepMonitor) -> Iterator[Image.Image]:
            made = self.painter.paint([ImageTask(None, seed) for seed in seeds], first, walk)
            if second is None:
                yield from made
                return
            upscaler = find_second_pass_upscaler(body.hr_upscaler)
            enlarged = [enlarge(image, upscaler, final) for image in made]
            again = [
                ImageTask(image, replace(seed, is_second_pass=True))
                for image, seed in zip(enlarged, seeds, strict=True)
            ]
            yield from self.painter.paint(again, second, walk)

        return PreparedCall(steps=steps, batch=body.batch_size, words={**words, **self.painter.told(first)}, draw=draw)

    def echo(self, body: Any) -> dict[str, Any]:
        """The request as it was read."""
        echo: dict[str, Any] = body.model_dump()
        return echo


def _second_recipe(body: Any, choice: Choice, size: tuple[int, int], *, fix_steps: bool) -> GenerationRecipe:
    """The second pass: img2img of the enlarged picture.

    Raises:
        TypeError: no strength was given, in the WebUI's words.
    """
    strength = body.denoising_strength
    if strength is None:
        raise TypeError("'<' not supported between instances of 'NoneType' and 'int'")
    asked = body.hr_second_pass_steps or body.steps
    return make_recipe(
        body,
        choice,
        size=size,
        strength=strength,
        steps=steps_to_run(asked, strength, fix_steps=fix_steps),
        schedule_steps=schedule_steps(asked, strength, fix_steps=fix_steps),
    )


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
