"""A source as it is sent, and the request that goes with it: one way for runs and probes."""

from __future__ import annotations

import zlib
from typing import Any

from PIL import Image

from .. import sizing
from .._images import encode_png
from ..models import Img2ImgRequest
from .masking import SourceMask, mask_source, picture_to_send
from .parameters import ImageParameters, InpaintFill, Inpainting

_QUICK_PNG = 1
"""zlib level."""
_FILL_NUMBERS: dict[InpaintFill, int] = {"fill": 0, "original": 1, "latent-noise": 2, "latent-nothing": 3}


def prepare_request(
    picture: Image.Image,
    parameters: ImageParameters,
    *,
    native_px: int,
    seed: int,
    batch_size: int,
    task_id: str | None = None,
    mask: Image.Image | None = None,
) -> tuple[Img2ImgRequest, Image.Image, SourceMask | None]:
    """What asks for `batch_size` images of one source, the source as it is sent, and its mask.

    Args:
        picture: the source as `photos.read_photo` gives it.
        parameters: what the images are made with.
        native_px: side of the square the model was trained on, used where `parameters` name none.
        seed: of the first image; each further one has the next.
        batch_size: how many images.
        task_id: a name for the job, so that it can be told from others' at the server.
        mask: mode "L", of the source's size, where `parameters` say how to repaint.
    """
    size = sizing.generation_size(picture.width, picture.height, native_px=parameters.native_px or native_px)
    inpainting = parameters.inpainting
    source_mask = None
    prepared = sizing.prepare(picture, size)
    if mask is not None and inpainting is not None:
        source_mask = mask_source(picture, mask, inpainting, size)
        prepared = picture_to_send(picture, inpainting, size)
    request = build_request(
        encode_source(prepared),
        parameters,
        size=size,
        seed=seed,
        batch_size=batch_size,
        task_id=task_id,
        mask=None if source_mask is None else encode_source(source_mask.sent),
    )
    return request, prepared, source_mask


def encode_source(prepared: Image.Image) -> bytes:
    """A source as the PNG file that is sent: a quick one, for it is read once and thrown away."""
    return encode_png(prepared, level=_QUICK_PNG, strategy=zlib.Z_RLE)


def build_request(
    data: bytes,
    parameters: ImageParameters,
    *,
    size: tuple[int, int],
    seed: int,
    batch_size: int,
    task_id: str | None = None,
    mask: bytes | None = None,
) -> Img2ImgRequest:
    """What asks for `batch_size` images of the source in `data`, a PNG file of the generation `size`.

    Args:
        data: the source.
        parameters: what the images are made with.
        size: (width, height) to generate at, px.
        seed: of the first image; each further one has the next.
        batch_size: how many images.
        task_id: a name for the job.
        mask: a PNG file as large as the source, white where to repaint; needs `parameters.inpainting`. With the area
            "masked" both have the source's own size, from which the server cuts and enlarges what it repaints.
    """
    return Img2ImgRequest(
        init_images=(data,),
        prompt=parameters.prompt,
        negative_prompt=parameters.negative_prompt,
        sampler_name=parameters.sampler,
        scheduler=parameters.scheduler,
        steps=parameters.steps,
        cfg_scale=parameters.cfg_scale,
        denoising_strength=parameters.denoising_strength,
        seed=seed,
        batch_size=batch_size,
        width=size[0],
        height=size[1],
        force_task_id=task_id,
        **_inpainting_fields(parameters.inpainting, mask),
    )


def _inpainting_fields(inpainting: Inpainting | None, mask: bytes | None) -> dict[str, Any]:
    """The request's fields about a mask; without one they are left as the API has them."""
    if inpainting is None or mask is None:
        return {}
    return {
        "mask": mask,
        # The feather is ours, at the source's resolution; the server's own would blend a second time.
        "mask_blur": 0,
        "inpainting_fill": _FILL_NUMBERS[inpainting.inpaint_fill],
        "inpaint_full_res": inpainting.inpaint_area == "masked",
        "inpaint_full_res_padding": inpainting.inpaint_padding,
    }
