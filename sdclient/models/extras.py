"""Payloads about finished pictures: enlarging, restoring faces, putting a picture into words.

Field names, types and defaults are those of AUTOMATIC1111 1.10.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from .._images import ImageInput
from ._base import Many, ReceivedImage, Reply, Request, SentImage


class ExtrasRequest(Request):
    """What both calls of the "Extras" tab take."""

    resize_mode: Literal[0, 1] = 0
    """0 enlarges by `upscaling_resize`, 1 to `upscaling_resize_w` x `upscaling_resize_h`."""
    show_extras_results: bool = True
    """Send the picture back; without it the server only keeps it."""
    gfpgan_visibility: float = Field(default=0, ge=0, le=1)
    """Share of the picture with faces restored by GFPGAN; 0 off."""
    codeformer_visibility: float = Field(default=0, ge=0, le=1)
    """Share of the picture with faces restored by CodeFormer; 0 off."""
    codeformer_weight: float = Field(default=0, ge=0, le=1)
    """CodeFormer's own weight: 0 changes a face most, 1 least."""
    upscaling_resize: float = Field(default=2, gt=0)
    """Factor of the enlargement, for `resize_mode` 0."""
    upscaling_resize_w: int = Field(default=512, ge=1)
    """Width in px, for `resize_mode` 1."""
    upscaling_resize_h: int = Field(default=512, ge=1)
    """Height in px, for `resize_mode` 1."""
    upscaling_crop: bool = True
    """Crop what stands over when the sides' ratio differs, for `resize_mode` 1."""
    upscaler_1: str = "None"
    """Upscaler as the server lists it. "None", the default, sends the picture back in its own size whatever
    the factor. An unknown name is a 500, but one that is listed and cannot be loaded gives 200 with a plainer
    enlargement: look at the server's log, or keep to "Lanczos" and "Nearest", which need no model."""
    upscaler_2: str = "None"
    """A second upscaler whose picture is blended in."""
    extras_upscaler_2_visibility: float = Field(default=0, ge=0, le=1)
    """Share of the second upscaler's picture."""
    upscale_first: bool = False
    """Enlarge before faces are restored."""


class ExtrasSingleRequest(ExtrasRequest):
    """One picture for `/sdapi/v1/extra-single-image`."""

    image: SentImage
    """The picture; the server's default is an empty text, which it answers with 500."""


class ExtrasSingleReply(Reply):
    """Reply of `/sdapi/v1/extra-single-image`."""

    html_info: str
    """What was done, as HTML; "<p></p>" when nothing was."""
    image: ReceivedImage | None = None
    """The picture as an image file's bytes; empty or None without `show_extras_results`."""


class NamedImage(Request):
    """One picture of a batch."""

    data: SentImage
    """The picture."""
    name: str
    """A file name for it; the server does not send it back, replies keep the order."""


def _name_each(images: object) -> object:
    """Pictures without a name get their file's, or a number from 1."""
    if not isinstance(images, Sequence) or isinstance(images, str | bytes):
        return images  # refused by the field's own type
    return [
        image
        if isinstance(image, NamedImage | dict)
        else {"data": image, "name": Path(image).name if isinstance(image, Path | str) else f"{number}.png"}
        for number, image in enumerate(images, 1)
    ]


class ExtrasBatchRequest(ExtrasRequest):
    """Several pictures for `/sdapi/v1/extra-batch-images`."""

    images: Annotated[Many[NamedImage | ImageInput], BeforeValidator(_name_each)] = Field(
        min_length=1, serialization_alias="imageList"
    )
    """The pictures, named or plain; held as `NamedImage`. Sent as `imageList`."""


class ExtrasBatchReply(Reply):
    """Reply of `/sdapi/v1/extra-batch-images`."""

    html_info: str
    """What was done, as HTML."""
    images: tuple[ReceivedImage, ...]
    """The pictures as image files' bytes, in the order of the request."""


class InterrogateRequest(Request):
    """A picture that the server is to put into words, for `/sdapi/v1/interrogate`."""

    image: SentImage
    """The picture."""
    model: str = "clip"
    """"clip" writes a sentence, "deepdanbooru" a list of tags; an unknown name is a 404 "Model not found"."""


class InterrogateReply(Reply):
    """Reply of `/sdapi/v1/interrogate`."""

    caption: str
    """The words. A server that could not load its model (offline, say) answers 200 with "<error>" here, alone or
    after the words it did find: look for it before the caption is used."""
