"""One job at one server: send it, interrupt it, finish its reply, and classify its failure."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from sdcore.images.decode import LOSSLESS_FORMATS
from sdcore.images.text import PngFile

from .. import errors
from ..client.generation_job import GeneratedImage, GenerationResult
from ..infotext import ENGINE_KEY
from ..manifest.database import GENUINE_ENGINE, ImageRecord
from ..masks.mask import mask_file_of
from ..models.generation import GenerationInfo, Img2ImgRequest
from ..output.artifacts import ImageCheck
from ..output.store import MASK_SHA256, GeneratedFile, encode_with_texts, png_texts
from ..sources.source import restore_form
from .jobs import Job, PlannedImage
from .requests import PreparedJob, PreparedSource
from .servers import Server

_USED = ("sampler_name", "steps", "cfg_scale", "denoising_strength", "width", "height", "version")
_NOT_ASKED = {"init_images", "mask", "latent_mask", "firstpass_image", "force_task_id"}


@dataclass(frozen=True)
class ServerReply:
    """A server's reply to a job, not decoded yet."""

    job: Job
    server: str
    """Address, without credentials."""
    source: PreparedSource
    result: GenerationResult[Img2ImgRequest]


@dataclass(frozen=True)
class RejectedImage:
    """An image that the check found unusable."""

    planned: PlannedImage
    reason: str


def finish_reply(reply: ServerReply, check: ImageCheck | None = None) -> list[GeneratedFile | RejectedImage]:
    """Decode and check each image of a reply, and bring it back to the source's size and mode.

    If an image needs no change, the server's compressed pixels are kept and only text chunks are added: encoding costs
    more time than all other steps together.

    Raises:
        LossyFormat: the images came in a format that loses detail.
        BadImage: an image cannot be decoded, or its checksums are wrong.
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
        raise errors.LossyFormat(f"{reply.server}: sent {generated.format}; set its option samples_format to 'png'")
    with errors.unreadable_as(errors.BadImage):  # damaged on its way from the server, so it is asked for again
        file = PngFile(generated.data) if generated.format == "PNG" else None
    sent_back, mask = generated.pil(), reply.source.mask
    if check is not None:
        reason = check(sent_back, reply.source.image, None if mask is None else mask.sent_box)
        if reason is not None:
            return RejectedImage(planned, reason)
    info = reply.result.info
    engine = str(info.extra_generation_params.get(ENGINE_KEY, GENUINE_ENGINE))
    lineage = {"class": planned.source.class_name, "source_sha256": planned.source_sha256}
    texts = png_texts(generated.infotext, {**lineage, "key": planned.key, "engine": engine})
    form = reply.source.form
    kept_form = (form.mode, (form.width_px, form.height_px))
    if file is not None and mask is None and (file.plain_mode, sent_back.size) == kept_form:
        data = file.with_texts(texts)
    else:
        image = restore_form(sent_back, form)
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


def model_name(info: GenerationInfo) -> str:
    """The checkpoint's name and hash, as the server reports them."""
    parts = (info.sd_model_name, f"[{info.sd_model_hash}]" if info.sd_model_hash else "")
    return " ".join(part for part in parts if part)


def used_settings(info: GenerationInfo, seed: int) -> dict[str, Any]:
    """The settings that the server reports to have used, for the manifest."""
    used = {name: getattr(info, name) for name in _USED}
    return {**used, "seed": seed, "extra_generation_params": info.extra_generation_params}


_INTERRUPT_AGAIN_S = 0.25


class JobRunner:
    """Sends jobs, and knows which of them are at their server; many threads may call it.

    `too_large` is called at once with a job that a server had too little memory for.
    """

    def __init__(self, too_large: Callable[[Job], object]) -> None:
        self._too_large = too_large
        # Sending threads change `_running`, the interrupting thread reads it and changes `_interrupted`. Both need no
        # lock: each change is one operation on a dict or a set, and `interrupt_jobs` works on a copy.
        self._running: dict[str, Server] = {}
        """Task id -> server."""
        self._interrupted: set[str] = set()
        """Names of servers whose replies may be unfinished."""

    def send(self, server: Server, prepared: PreparedJob) -> ServerReply:
        """Send a job and wait for the reply.

        Raises:
            IncompleteReply: the server's jobs were interrupted meanwhile; unfinished images must not be kept.
            WebUIError: as the client.
        """
        self._running[prepared.task_id] = server
        try:
            result = server.webui.img2img(prepared.request)
        except errors.ServerOutOfMemory:
            self._too_large(prepared.job)
            raise
        finally:
            del self._running[prepared.task_id]
        if server.name in self._interrupted:
            asked = len(prepared.job.images)
            text = f"{server.name}: interrupted; its {asked} images may be unfinished"
            raise errors.IncompleteReply(text, asked=asked, got=0)
        return ServerReply(prepared.job, server.webui.url, prepared.source, result)

    def interrupt_jobs(self) -> None:
        """Interrupt our own jobs at the servers, and no other jobs; returns when none of ours is left there."""
        while self._running:
            for task_id, server in list(self._running.items()):
                # The reply to an interrupted job looks complete, but its images are unfinished. So the server is marked
                # before the call: no reply that arrives from now on may be kept.
                before = server.name in self._interrupted
                self._interrupted.add(server.name)
                with suppress(errors.WebUIError):
                    if not server.webui.interrupt_job(task_id) and not before:
                        self._interrupted.discard(server.name)
            time.sleep(_INTERRUPT_AGAIN_S)  # another of our jobs may have been waiting behind this one


class FailureKind(Enum):
    """What to do after a failure."""

    SERVER_AWAY = "set the server aside and do the work elsewhere"
    SMALLER_BATCH = "send fewer images at once"
    TRY_AGAIN = "try these images again within their budget, then give them up"
    STOP = "the same would happen to every image"


_NOT_READY = (errors.ServerLoading, errors.RequestTimedOut, errors.TooManyRequests)
_AWAY = (errors.ServerUnreachable, errors.NotAWebUI, *_NOT_READY)
_UNUSABLE_REPLY = (errors.IncompleteReply, errors.SettingSubstituted, errors.BadImage, errors.UnexpectedReply)
_AGAIN = (errors.ModelProducedNaN, errors.ServerFault, *_UNUSABLE_REPLY)


def classify_failure(error: errors.WebUIError) -> FailureKind:
    """What to do after a failed request.

    A fault of one image or of the moment may pass. A refused request, an unknown setting or a wrong password would fail
    in the same way for the whole run.
    """
    if isinstance(error, errors.ServerOutOfMemory):
        return FailureKind.SMALLER_BATCH
    if isinstance(error, _AWAY):
        return FailureKind.SERVER_AWAY
    if isinstance(error, _AGAIN):
        return FailureKind.TRY_AGAIN
    return FailureKind.STOP
