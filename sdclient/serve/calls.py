"""The calls img2img and txt2img."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from fastapi import HTTPException
from PIL import Image

from .bodies import decode_request_image, to_rgb
from .engine import GenerationRecipe, ImageSeed, ImageTask, SamplerChoice, StepMonitor
from .extras import find_second_pass_upscaler
from .generation import GeneratingCall, PreparedCall, make_recipe
from .inpaint import MaskSettings, PreparedMask, prepare_mask, resize_source
from .parameters import check_memory, check_source_count, schedule_steps, steps_to_run, working_size


@dataclass(frozen=True)
class Inputs:
    """A request's images, decoded."""

    sources: list[Image.Image]
    mask: Image.Image | None


class Img2Img(GeneratingCall):
    """Makes images out of images."""

    label = "scripts_img2img"

    def check(self, body: Any) -> Image.Image | None:
        """Refuse a request without a source or with an unreadable mask; returns the mask."""
        if body.init_images is None:
            raise HTTPException(404, "Init image not found")
        return decode_request_image(body.mask) if body.mask else None

    def read_inputs(self, body: Any, checked: Image.Image | None) -> Inputs:
        """Decode the sources."""
        return Inputs([decode_request_image(text) for text in body.init_images], checked)

    def prepare(self, body: Any, inputs: Inputs, choice: SamplerChoice) -> PreparedCall:
        """Resolve sizes and steps, and prepare the mask."""
        size = working_size(body.width, body.height)
        check_source_count(len(inputs.sources), body.batch_size)
        check_memory(body.batch_size, *size)
        strength, fix_steps = body.denoising_strength, bool(self.settings["img2img_fix_steps"])
        steps = steps_to_run(body.steps, strength, fix_steps=fix_steps)
        background = str(self.settings["img2img_background_color"])
        sources = [to_rgb(source, background) for source in inputs.sources]
        prepared = _prepared_mask(body, inputs.mask, sources[0].size, size)
        scheduled = schedule_steps(body.steps, strength, fix_steps=fix_steps)
        recipe = make_recipe(body, choice, size=size, strength=strength, steps=steps, schedule_steps=scheduled)

        def draw(seeds: Sequence[ImageSeed], monitor: StepMonitor) -> Iterator[Image.Image]:
            pairs = [(sources[place % len(sources)], seed) for place, seed in enumerate(seeds)]
            if prepared is None:
                tasks = [ImageTask(resize_source(source, body.resize_mode, size), seed) for source, seed in pairs]
                yield from self.engine.generate(tasks, recipe, monitor)
                return
            regions = [prepared.apply(source, size, np.random.default_rng(seed.numbers)) for source, seed in pairs]
            tasks = [ImageTask(one.canvas, seed, one.change_mask) for one, seed in zip(regions, seeds, strict=True)]
            for region, image in zip(regions, self.engine.generate(tasks, recipe, monitor), strict=True):
                yield region.finish(image)

        parameters = {"Denoising strength": strength, **_mask_parameters(body, prepared)}
        batch = body.batch_size if len(sources) == 1 else len(sources)
        return PreparedCall(steps, batch, {**parameters, **self.engine.describe_recipe(recipe)}, draw)

    def echo(self, body: Any) -> dict[str, Any]:
        """The request as it was read; its images only if `include_init_images` is set."""
        echo: dict[str, Any] = body.model_dump()
        if not body.include_init_images:
            echo["init_images"] = echo["mask"] = None
        return echo


def _mask_blur(body: Any) -> tuple[int, int]:
    """Horizontal and vertical blur, px; `mask_blur` wins over the two single fields."""
    if body.mask_blur is not None:
        return body.mask_blur, body.mask_blur
    return body.mask_blur_x or 0, body.mask_blur_y or 0


def _prepared_mask(
    body: Any, mask: Image.Image | None, source_size: tuple[int, int], size: tuple[int, int]
) -> PreparedMask | None:
    if mask is None:
        return None
    blur_x, blur_y = _mask_blur(body)
    settings = MaskSettings(
        blur_x=blur_x,
        blur_y=blur_y,
        fill=body.inpainting_fill,
        full_res=bool(body.inpaint_full_res),
        padding=body.inpaint_full_res_padding or 0,
        invert=bool(body.inpainting_mask_invert),
        round=body.mask_round is not False,
        resize_mode=body.resize_mode,
    )
    return prepare_mask(mask, settings, source_size, size)


def _mask_parameters(body: Any, prepared: PreparedMask | None) -> dict[str, Any]:
    """Entries of the reply about the mask; for a blank mask only its blur."""
    blur_x, blur_y = _mask_blur(body)
    blur = blur_x if blur_x == blur_y else None
    if prepared is not None:
        return prepared.parameters(blur)
    return {"Mask blur": blur} if body.mask and blur else {}


class Txt2Img(GeneratingCall):
    """Makes images without a source; with `enable_hr` enlarges them and runs a second pass of img2img."""

    label = "scripts_txt2img"

    def check(self, body: Any) -> None:
        """Refuse nothing before the request queues."""

    def read_inputs(self, body: Any, checked: None) -> None:
        """Decode nothing."""

    def prepare(self, body: Any, inputs: None, choice: SamplerChoice) -> PreparedCall:
        """Resolve sizes and steps, and prepare the second pass."""
        del inputs
        size = working_size(body.width, body.height)
        final = _final_size(body, size)
        check_memory(body.batch_size, *final)
        steps = steps_to_run(body.steps, 1.0, fix_steps=True)
        first = make_recipe(body, choice, size=size, strength=1.0, steps=steps, schedule_steps=steps)
        parameters: dict[str, Any] = {}
        second: GenerationRecipe | None = None
        if body.enable_hr:
            parameters = {"Denoising strength": body.denoising_strength, **_second_pass_parameters(body)}
            second = _second_recipe(body, choice, final, fix_steps=bool(self.settings["img2img_fix_steps"]))
            find_second_pass_upscaler(body.hr_upscaler)

        def draw(seeds: Sequence[ImageSeed], monitor: StepMonitor) -> Iterator[Image.Image]:
            made = self.engine.generate([ImageTask(None, seed) for seed in seeds], first, monitor)
            if second is None:
                yield from made
                return
            upscaler = find_second_pass_upscaler(body.hr_upscaler)
            again = [
                ImageTask(image.resize(final, upscaler), replace(seed, is_second_pass=True))
                for image, seed in zip(made, seeds, strict=True)
            ]
            yield from self.engine.generate(again, second, monitor)

        return PreparedCall(steps, body.batch_size, {**parameters, **self.engine.describe_recipe(first)}, draw)

    def echo(self, body: Any) -> dict[str, Any]:
        """The request as it was read."""
        echo: dict[str, Any] = body.model_dump()
        return echo


def _second_recipe(body: Any, choice: SamplerChoice, size: tuple[int, int], *, fix_steps: bool) -> GenerationRecipe:
    """The second pass: img2img of the enlarged image.

    Raises:
        TypeError: no strength was given; with the WebUI's message.
    """
    strength = body.denoising_strength
    if strength is None:
        raise TypeError("'<' not supported between instances of 'NoneType' and 'int'")
    steps = body.hr_second_pass_steps or body.steps
    scheduled = schedule_steps(steps, strength, fix_steps=fix_steps)
    steps = steps_to_run(steps, strength, fix_steps=fix_steps)
    return make_recipe(body, choice, size=size, strength=strength, steps=steps, schedule_steps=scheduled)


def _final_size(body: Any, size: tuple[int, int]) -> tuple[int, int]:
    """Size of the finished image; a missing side follows from the other one."""
    if not body.enable_hr:
        return size
    width, height = body.hr_resize_x or 0, body.hr_resize_y or 0
    if not width and not height:
        return working_size(int(size[0] * body.hr_scale), int(size[1] * body.hr_scale))
    return working_size(width or height * size[0] // size[1], height or width * size[1] // size[0])


def _second_pass_parameters(body: Any) -> dict[str, Any]:
    """Entries of an infotext about the second pass."""
    width, height = body.hr_resize_x or 0, body.hr_resize_y or 0
    parameters = {"Hires resize": f"{width}x{height}"} if width or height else {"Hires upscale": body.hr_scale}
    if body.hr_second_pass_steps:
        parameters["Hires steps"] = body.hr_second_pass_steps
    return parameters | {"Hires upscaler": body.hr_upscaler or "Latent"}
