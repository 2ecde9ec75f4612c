"""Img2img and txt2img."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from fastapi import HTTPException
from PIL import Image

from .bodies import decode_request_image, to_rgb
from .engine import Choice, GenerationRecipe, ImageSeed, ImageTask, StepMonitor
from .extras import enlarge, find_second_pass_upscaler
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
        """Refuse a request without a source, and a mask that is none; gives the mask."""
        if body.init_images is None:
            raise HTTPException(404, "Init image not found")
        return decode_request_image(body.mask) if body.mask else None

    def read_inputs(self, body: Any, checked: Image.Image | None) -> Inputs:
        """Decode the sources."""
        return Inputs([decode_request_image(text) for text in body.init_images], checked)

    def prepare(self, body: Any, inputs: Inputs, choice: Choice) -> PreparedCall:
        """Resolve sizes and steps, and make the mask ready."""
        size = working_size(body.width, body.height)
        check_source_count(len(inputs.sources), body.batch_size)
        check_memory(body.batch_size, *size)
        strength, fix_steps = body.denoising_strength, bool(self.settings["img2img_fix_steps"])
        steps = steps_to_run(body.steps, strength, fix_steps=fix_steps)
        background = str(self.settings["img2img_background_color"])
        sources = [to_rgb(source, background) for source in inputs.sources]
        prepared = _prepared_mask(body, inputs.mask, sources[0].size, size)
        recipe = make_recipe(
            body,
            choice,
            size=size,
            strength=strength,
            steps=steps,
            schedule_steps=schedule_steps(body.steps, strength, fix_steps=fix_steps),
        )

        def draw(seeds: Sequence[ImageSeed], walk: StepMonitor) -> Iterator[Image.Image]:
            of_batch = [sources[place % len(sources)] for place in range(len(seeds))]
            if prepared is None:
                starts = [resize_source(source, body.resize_mode, size) for source in of_batch]
                pictures = [ImageTask(start, seed) for start, seed in zip(starts, seeds, strict=True)]
                yield from self.painter.paint(pictures, recipe, walk)
                return
            repaints = [
                prepared.apply(source, size, np.random.default_rng(seed.numbers))
                for source, seed in zip(of_batch, seeds, strict=True)
            ]
            pictures = [
                ImageTask(repaint.canvas, seed, repaint.where) for repaint, seed in zip(repaints, seeds, strict=True)
            ]
            for repaint, answer in zip(repaints, self.painter.paint(pictures, recipe, walk), strict=True):
                yield repaint.finish(answer)

        return PreparedCall(
            steps=steps,
            batch=body.batch_size if len(sources) == 1 else len(sources),
            words={"Denoising strength": strength, **_mask_words(body, prepared), **self.painter.told(recipe)},
            draw=draw,
        )

    def echo(self, body: Any) -> dict[str, Any]:
        """The request as it was read, images only where that was asked."""
        echo: dict[str, Any] = body.model_dump()
        if not body.include_init_images:
            echo["init_images"] = echo["mask"] = None
        return echo


def _mask_blur(body: Any) -> tuple[int, int]:
    """Blur across and down, px; the single field wins over the two."""
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


def _mask_words(body: Any, prepared: PreparedMask | None) -> dict[str, Any]:
    """What the reply says about the mask; one that was blank is told by its blur alone."""
    blur_x, blur_y = _mask_blur(body)
    blur = blur_x if blur_x == blur_y else None
    if prepared is not None:
        return dict(prepared.words(blur))
    return {"Mask blur": blur} if body.mask and blur else {}


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
