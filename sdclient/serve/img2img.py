"""A request of `POST /sdapi/v1/img2img`, from its body to its reply."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from fastapi import HTTPException
from PIL import Image

from . import told
from .canvas import resize
from .catalogue import Choice, choose
from .engines import Engine
from .inpaint import MaskSettings, PreparedMask, prepare_mask
from .jobs import JobBoard
from .pictures import decode_image, encode_image, to_rgb
from .resolve import Seeds, check_memory, check_source_count, resolve_seeds, steps_to_run, working_size
from .scripts import check_scripts
from .settings import Settings


class Img2Img:
    """Runs requests, one at a time.

    Args:
        engine: makes the pixels.
        settings: the server's options.
        board: the lock and the state that `/progress` shows.
        job_s: how long a batch takes at least; real servers take seconds.
    """

    def __init__(self, engine: Engine, settings: Settings, board: JobBoard, *, job_s: float) -> None:
        self._engine = engine
        self._settings = settings
        self._board = board
        self._job_s = job_s

    def run(self, body: Any) -> dict[str, Any]:
        """The reply to a request.

        Raises:
            HTTPException: refused, in the WebUI's words.
            Exception: whatever the WebUI fails with on such a request.
        """
        if body.init_images is None:
            raise HTTPException(404, "Init image not found")
        mask = decode_image(body.mask) if body.mask else None
        check_scripts(body.script_name, body.alwayson_scripts)
        choice = choose(body.sampler_name or body.sampler_index, body.scheduler)
        with self._board.turn(count=max(body.n_iter, 1)):
            sources = [decode_image(text) for text in body.init_images]
            overrides = body.override_settings or {}
            restore = body.override_settings_restore_afterwards is not False
            with self._settings.overridden(overrides, restore=restore):
                return self._generate(body, choice, sources, mask)

    def _generate(
        self, body: Any, choice: Choice, sources: list[Image.Image], mask: Image.Image | None
    ) -> dict[str, Any]:
        if body.prompt is None:
            raise AssertionError
        seeds = resolve_seeds(body)
        size = working_size(body.width, body.height)
        check_source_count(len(sources), body.batch_size)
        check_memory(body.batch_size, *size)
        strength = body.denoising_strength
        steps = steps_to_run(body.steps, strength, fix_steps=bool(self._settings["img2img_fix_steps"]))

        background = str(self._settings["img2img_background_color"])
        pictures = [to_rgb(source, background) for source in sources]
        prepared = _prepared_mask(body, mask, pictures[0].size, size)
        extra = told.extra_parameters(body, choice, _mask_words(body, prepared), self._engine.name)
        made = list(self._batches(body, pictures, prepared, size, seeds, steps))
        infotexts = [told.infotext(body, choice, seeds, index, extra, self._settings) for index in range(len(made))]
        first = 0
        if body.save_images and len(made) > 1 and self._settings["return_grid"]:
            made.insert(0, _grid(made))
            infotexts.insert(0, infotexts[0])
            first = 1
        info = told.info(
            body,
            choice,
            seeds,
            extra=extra,
            infotexts=infotexts,
            index_of_first_image=first,
            timestamp=self._board.timestamp,
            settings=self._settings,
        )
        pairs = zip(made, infotexts, strict=True) if body.send_images else ()
        return {
            "images": [encode_image(image, text, self._settings) for image, text in pairs],
            "parameters": _echo(body),
            "info": json.dumps(info),
        }

    def _batches(
        self,
        body: Any,
        pictures: list[Image.Image],
        prepared: PreparedMask | None,
        size: tuple[int, int],
        seeds: Seeds,
        steps: int,
    ) -> Iterator[Image.Image]:
        """The images of all batches; an interrupt lets the running batch end and starts no other."""
        batch = body.batch_size if len(pictures) == 1 else len(pictures)
        for number in range(body.n_iter):
            if self._board.interrupted:
                return
            self._board.begin_batch(number, steps=steps)
            self._walk_steps(steps)
            for place in range(batch):
                picture = pictures[place % len(pictures)]
                seed = seeds.of(number * body.batch_size + place)
                image = self._vary(body, picture, prepared, size, seed)
                self._board.current_image = image
                yield image

    def _walk_steps(self, steps: int) -> None:
        """Spend the batch's time, step by step as far as people can tell."""
        if self._job_s > 0:
            for step in range(steps):
                if self._board.interrupted:
                    return
                self._board.pause(self._job_s / steps)
                self._board.step(step + 1)
        self._board.step(steps)

    def _vary(
        self,
        body: Any,
        picture: Image.Image,
        prepared: PreparedMask | None,
        size: tuple[int, int],
        seed: tuple[int, ...],
    ) -> Image.Image:
        strength = body.denoising_strength
        if prepared is None:
            canvas = resize(picture, body.resize_mode, size)
            return self._engine.vary(canvas, strength=strength, seed=seed)
        repaint = prepared.apply(picture, size, np.random.default_rng(seed))
        return repaint.finish(self._engine.vary(repaint.canvas, strength=strength, seed=seed))


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


def _echo(body: Any) -> dict[str, Any]:
    """`parameters`: the request as it was read, images only where that was asked."""
    echo: dict[str, Any] = body.model_dump()
    if not body.include_init_images:
        echo["init_images"] = echo["mask"] = None
    return echo


def _grid(images: list[Image.Image]) -> Image.Image:
    """All images in one, in rows."""
    rows = round(math.sqrt(len(images)))
    columns = math.ceil(len(images) / rows)
    width, height = images[0].size
    grid = Image.new("RGB", (columns * width, rows * height))
    for index, image in enumerate(images):
        grid.paste(image, (index % columns * width, index // columns * height))
    return grid
