"""A request of `POST /sdapi/v1/img2img`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import HTTPException
from PIL import Image

from .canvas import resize_source
from .catalogue import Choice
from .generation import GeneratingCall, PreparedCall, make_recipe
from .inpaint import MaskSettings, PreparedMask, prepare_mask
from .painting import ImageSeed, ImageTask, StepMonitor
from .pictures import decode_request_image, to_rgb
from .resolve import check_memory, check_source_count, schedule_steps, steps_to_run, working_size


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
