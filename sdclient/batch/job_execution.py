"""One job at one server: sent, interrupted, what its failure means, its reply finished."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from PIL import Image

from .._images import LOSSLESS_FORMATS
from .._png import PngFile
from ..client.generation_job import GeneratedImage, GenerationResult
from ..errors import (
    BadImage,
    IncompleteReply,
    LossyFormat,
    ModelProducedNaN,
    NotAWebUI,
    RequestTimedOut,
    ServerFault,
    ServerLoading,
    ServerOutOfMemory,
    ServerUnreachable,
    SettingSubstituted,
    TooManyRequests,
    UnexpectedReply,
    WebUIError,
)
from ..infotext import ENGINE_KEY
from ..manifest.database import GENUINE_ENGINE, ImageRecord
from ..masks.mask import mask_file_of
from ..models.generation import GenerationInfo, Img2ImgRequest
from ..output.artifacts import ImageCheck
from ..output.store import MASK_SHA256, GeneratedFile, encode_with_texts, png_texts
from ..sources.source import ImageForm, restore_form
from .jobs import Job, PlannedImage
from .requests import PreparedJob, PreparedSource
from .servers import Server

_USED = ("sampler_name", "steps", "cfg_scale", "denoising_strength", "width", "height", "version")
_NOT_ASKED = {"init_images", "mask", "latent_mask", "firstpass_image", "force_task_id"}


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
class RejectedImage:
    """An image that is not worth keeping."""

    planned: PlannedImage
    reason: str


def finish_reply(reply: ServerReply, check: ImageCheck | None = None) -> list[GeneratedFile | RejectedImage]:
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
    check: ImageCheck | None,
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
    texts = png_texts(generated.infotext, lineage)
    form = reply.source.form
    data = _kept(file, picture, form, texts) if file is not None and mask is None else None
    if data is None:
        image = restore_form(picture, form)
        data = encode_with_texts(image if mask is None else mask.put_back(image), texts)
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


def _reason_spoiled(picture: Image.Image, source: PreparedSource, check: ImageCheck | None) -> str | None:
    if check is None:
        return None
    return check(picture, source.picture, None if source.mask is None else source.mask.sent_box)


def _kept(file: PngFile, picture: Image.Image, form: ImageForm, texts: Mapping[str, str]) -> bytes | None:
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


_INTERRUPT_AGAIN_S = 0.25


class JobRunner:
    """Sends jobs, and knows which are at their server; for many threads.

    Args:
        too_large: told at once of a job that a server's memory did not take.
    """

    def __init__(self, too_large: Callable[[Job], object]) -> None:
        self._too_large = too_large
        self._running: dict[str, Server] = {}
        self._interrupted: set[str] = set()

    def send(self, server: Server, prepared: PreparedJob) -> ServerReply:
        """Send a job and wait for the answer.

        Raises:
            IncompleteReply: its jobs were interrupted meanwhile, and what was half done must not be kept.
            WebUIError: as the client.
        """
        self._running[prepared.task_id] = server
        try:
            result = server.webui.img2img(prepared.request)
        except ServerOutOfMemory:
            self._too_large(prepared.job)
            raise
        finally:
            del self._running[prepared.task_id]
        if server.name in self._interrupted:
            asked = len(prepared.job.images)
            raise IncompleteReply(
                f"{server.name}: interrupted; its {asked} images may be unfinished", asked=asked, got=0
            )
        return ServerReply(prepared.job, server.webui.url, prepared.source, result)

    def interrupt_jobs(self) -> None:
        """Interrupt our own jobs at the servers, and nobody else's; returns when none is there any more."""
        while self._running:
            for task_id, server in list(self._running.items()):
                # An interrupted batch comes whole but unfinished, so nothing that comes from now on may be kept.
                before = server.name in self._interrupted
                self._interrupted.add(server.name)
                with suppress(WebUIError):
                    if not server.webui.interrupt_job(task_id) and not before:
                        self._interrupted.discard(server.name)
            time.sleep(_INTERRUPT_AGAIN_S)  # another of ours may have waited behind it


class FailureKind(Enum):
    """What to do about a failure."""

    SERVER_AWAY = "set the server aside and do the work elsewhere"
    SMALLER_BATCH = "send fewer images at once"
    TRY_AGAIN = "try these images again within their budget, then give them up"
    STOP = "the same would happen to every image"


_AWAY = (ServerUnreachable, ServerLoading, RequestTimedOut, TooManyRequests, NotAWebUI)
_AGAIN = (ModelProducedNaN, ServerFault, IncompleteReply, SettingSubstituted, BadImage, UnexpectedReply)


def classify_failure(error: WebUIError) -> FailureKind:
    """What a failed request means.

    A fault of the image or of the moment may pass; a request that the server refuses, a setting it does not have or a
    password it does not take would fail the whole run the same way.
    """
    if isinstance(error, ServerOutOfMemory):
        return FailureKind.SMALLER_BATCH
    if isinstance(error, _AWAY):
        return FailureKind.SERVER_AWAY
    if isinstance(error, _AGAIN):
        return FailureKind.TRY_AGAIN
    return FailureKind.STOP
