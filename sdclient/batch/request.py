"""A source as it is sent, and the request that goes with it: one way for runs and probes."""

from __future__ import annotations

import io

from PIL import Image

from .. import sizing
from ..models import Img2ImgRequest
from .parameters import ImageParameters

_QUICK_PNG = 1
"""zlib level."""


def prepare_request(
    picture: Image.Image,
    parameters: ImageParameters,
    *,
    native_px: int,
    seed: int,
    batch_size: int,
    task_id: str | None = None,
) -> tuple[Img2ImgRequest, Image.Image]:
    """What asks for `batch_size` images of one source, and the source as it is sent.

    Args:
        picture: the source as `photos.read_photo` gives it.
        parameters: what the images are made with.
        native_px: side of the square the model was trained on, used where `parameters` name none.
        seed: of the first image; each further one has the next.
        batch_size: how many images.
        task_id: a name for the job, so that it can be told from others' at the server.
    """
    size = sizing.generation_size(picture.width, picture.height, native_px=parameters.native_px or native_px)
    prepared = sizing.prepare(picture, size)
    request = build_request(
        encode_source(prepared), parameters, size=size, seed=seed, batch_size=batch_size, task_id=task_id
    )
    return request, prepared


def encode_source(prepared: Image.Image) -> bytes:
    """A source as the PNG file that is sent: a quick one, for it is read once and thrown away."""
    buffer = io.BytesIO()
    prepared.save(buffer, format="PNG", compress_level=_QUICK_PNG)
    return buffer.getvalue()


def build_request(
    data: bytes,
    parameters: ImageParameters,
    *,
    size: tuple[int, int],
    seed: int,
    batch_size: int,
    task_id: str | None = None,
) -> Img2ImgRequest:
    """What asks for `batch_size` images of the source in `data`, a PNG file of the generation `size`."""
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
    )
