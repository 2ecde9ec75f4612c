"""A reply turned into files to write and rows to enter; runs beside the threads that ask and the one that writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeAlias

from PIL import Image

from .. import sizing
from .._images import LOSSLESS_FORMATS
from .._images import encode_png as encode_pixels
from .._png import PngFile
from ..client import GeneratedImage, GenerationResult
from ..errors import LossyFormat
from ..infotext import ENGINE_KEY, PNG_KEYWORD
from ..manifest import ImageRecord
from ..masks import mask_file_of
from ..models import GenerationInfo, Img2ImgRequest
from .jobs import Job, PlannedImage
from .masking import Box
from .preparing import PreparedSource

LINEAGE_KEYWORD = "sdclient"
"""Keyword of the PNG text chunk that holds class, source sha256, key and engine as JSON."""
MASK_SHA256 = "mask_sha256"
"""Key, in what was asked for an image, of the sha256 of its mask file's bytes."""
GENUINE_ENGINE = "Stable Diffusion WebUI"

_PNG_LEVEL = 4
"""zlib level: files as small as at the usual 6 to within a few percent, in less than half the time."""
_USED = ("sampler_name", "steps", "cfg_scale", "denoising_strength", "width", "height", "version")
_NOT_ASKED = {"init_images", "mask", "latent_mask", "firstpass_image", "force_task_id"}

Check: TypeAlias = "Callable[[Image.Image, Image.Image, Box | None], str | None]"
"""(image as the server sent it, source as it was sent, box outside of which the one is the other) -> why the image is
spoiled, or None. The box is None where the whole picture was made anew."""


@dataclass(frozen=True)
class ServerReply:
    """A server's reply to a job, and what is needed to finish it."""

    job: Job
    server: str
    """Address, without credentials."""
    source: PreparedSource
    """As it was sent."""
    result: GenerationResult[Img2ImgRequest]


@dataclass(frozen=True)
class GeneratedFile:
    """An image that is ready to be written."""

    record: ImageRecord
    data: bytes
    """The whole PNG file."""
    mask: bytes | None = None
    """The mask's whole PNG file, where the image has one."""


@dataclass(frozen=True)
class RejectedImage:
    """An image that is not worth keeping."""

    planned: PlannedImage
    reason: str


def finish(reply: ServerReply, check: Check | None = None) -> list[GeneratedFile | RejectedImage]:
    """Decode and check each image of a reply, and bring it back to the source's form.

    An image that has this form already keeps the server's own compressed pixels and gets its texts alone; encoding
    costs more than all else together.

    Raises:
        LossyFormat: the images came in a format that loses detail.
        BadImage: one cannot be decoded, or does not fit its check sums.
    """
    asked = reply.result.request.model_dump(mode="json", exclude=_NOT_ASKED, exclude_none=True)
    return [
        _finish_one(reply, planned, generated, asked, check)
        for planned, generated in zip(reply.job.images, reply.result.images, strict=True)
    ]


def _finish_one(
    reply: ServerReply,
    planned: PlannedImage,
    generated: GeneratedImage,
    asked: Mapping[str, Any],
    check: Check | None,
) -> GeneratedFile | RejectedImage:
    if generated.format not in LOSSLESS_FORMATS:
        raise LossyFormat(f"{reply.server}: sent {generated.format}; set its option samples_format to 'png'")
    file = PngFile(generated.data) if generated.format == "PNG" else None
    picture, mask = generated.pil(), reply.source.mask
    reason = _reason_spoiled(picture, reply.source, check)
    if reason is not None:
        return RejectedImage(planned, reason)
    info = reply.result.info
    engine = str(info.extra_generation_params.get(ENGINE_KEY, GENUINE_ENGINE))
    lineage = {
        "class": planned.source.class_name,
        "source_sha256": planned.source_sha256,
        "key": planned.key,
        "engine": engine,
    }
    texts = _texts(generated.infotext, lineage)
    form = reply.source.form
    data = _kept(file, picture, form, texts) if file is not None and mask is None else None
    if data is None:
        image = sizing.restore(picture, form)
        data = _encoded(image if mask is None else mask.put_back(image), texts)
    record = ImageRecord(
        file=planned.file,
        class_name=planned.source.class_name,
        source=planned.source.relative,
        source_sha256=planned.source_sha256,
        k=planned.k,
        seed=planned.seed,
        key=planned.key,
        sha256=hashlib.sha256(data).hexdigest(),
        width=form.width_px,
        height=form.height_px,
        server=reply.server,
        model=model_name(info),
        engine=engine,
        asked={**asked, "seed": planned.seed, **({} if mask is None else {MASK_SHA256: mask.sha256})},
        used=used_settings(info, generated.seed),
        infotext=generated.infotext,
        created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        mask="" if mask is None else mask_file_of(planned.file),
    )
    return GeneratedFile(record, data, None if mask is None else mask.data)


def _reason_spoiled(picture: Image.Image, source: PreparedSource, check: Check | None) -> str | None:
    if check is None:
        return None
    return check(picture, source.picture, None if source.mask is None else source.mask.sent_box)


def encode_png(image: Image.Image, *, infotext: str, lineage: Mapping[str, Any]) -> bytes:
    """A PNG file with its infotext and its lineage."""
    return _encoded(image, _texts(infotext, lineage))


def _texts(infotext: str, lineage: Mapping[str, Any]) -> dict[str, str]:
    return {PNG_KEYWORD: infotext, LINEAGE_KEYWORD: json.dumps(lineage, sort_keys=True)}


def _encoded(image: Image.Image, texts: Mapping[str, str]) -> bytes:
    return PngFile(encode_pixels(image, level=_PNG_LEVEL)).with_texts(texts)


def _kept(file: PngFile, picture: Image.Image, form: sizing.SourceForm, texts: Mapping[str, str]) -> bytes | None:
    """The server's own file with our texts, where it shows just what `sizing.restore` would make of it; else None.

    Args:
        file: as it came.
        picture: the same, decoded.
        form: what is to be kept.
        texts: by keyword.
    """
    fits = file.plain_mode == form.mode and picture.size == (form.width_px, form.height_px)
    return file.with_texts(texts) if fits else None


def model_name(info: GenerationInfo) -> str:
    """The checkpoint's name and hash, as the server tells them."""
    parts = (info.sd_model_name, f"[{info.sd_model_hash}]" if info.sd_model_hash else "")
    return " ".join(part for part in parts if part)


def used_settings(info: GenerationInfo, seed: int) -> dict[str, Any]:
    """What the server says it used, for the manifest."""
    used = {name: getattr(info, name) for name in _USED}
    return {**used, "seed": seed, "extra_generation_params": info.extra_generation_params}
