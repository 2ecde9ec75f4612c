"""One generating call: sent once, watched, and its reply compared with the request."""

import io
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypedDict, TypeVar

from PIL import Image, UnidentifiedImageError

from sdcore.images.decode import image_format, read_image

from .. import errors
from ..infotext import Infotext, parse_infotext
from ..models._base import from_base64
from ..models.generation import GenerationInfo, GenerationReply, GenerationRequest, Img2ImgRequest, Txt2ImgRequest
from ..sources.source import upright_size
from .dialects import AUTOMATIC, SDNEXT_AUTOMATIC, SDNEXT_SCHEDULE_IN_INFOTEXT, SDNEXT_SCHEDULE_OPTION
from .transport import Connection, Retrier, RetryPolicy

_POLL_S = 2.0


def new_task_id() -> str:
    """A unique name for a job, in the WebUI's own form."""
    return f"task(sdclient-{uuid.uuid4().hex})"


@dataclass(frozen=True)
class JobSender:
    """Sends generating requests; sends one again only when the server no longer works on it."""

    connection: Connection
    retrier: Retrier = field(default_factory=Retrier)

    def send(self, path: str, payload: dict[str, Any], *, read_s: float) -> Any:
        """Send one job, named by `payload["force_task_id"]`, and give the reply's JSON.

        After a failure the server may still be working on the job. Then this waits until the job has ended, and
        sends it again, because its result is lost.

        Raises:
            WebUIError: the last failure, when the policy gives up or the server does not report on the job.
        """
        failures = 0
        while True:
            try:
                return self.connection.send("POST", path, json=payload, read_s=read_s)
            except errors.WebUIError as error:
                failures += 1
                wait_s = self._wait_s(failures, error)
                if wait_s is None:
                    raise
                if may_have_arrived(error) and not self._wait_until_ended(payload["force_task_id"]):
                    raise
                self.retrier.sleep(wait_s)

    def _wait_s(self, failures: int, error: errors.WebUIError) -> float | None:
        """As in the policy; a job that took too long may be sent again, too."""
        policy = self.retrier.policy
        if isinstance(error, errors.RequestTimedOut) and error.phase == "read":
            return policy.first_wait_s if failures < policy.attempts else None
        return policy.wait_s(failures, error, self.retrier.rng())

    def _wait_until_ended(self, task_id: str) -> bool:
        """Wait until the server no longer has the job; False if it does not say so in time."""
        waited_s, unsure = 0.0, 0
        while waited_s <= self.connection.timeouts.generate_s:
            try:
                state = job_state(self.connection, task_id)
            except errors.WebUIError:
                return False
            unsure = unsure + 1 if state is JobState.UNSURE else 0  # twice in a row: the job was dropped
            if state is JobState.ENDED or unsure > 1:
                return True
            self.retrier.sleep(_POLL_S)
            waited_s += _POLL_S
        return False


def may_have_arrived(error: errors.WebUIError) -> bool:
    """Whether the server may be working on the request despite this failure."""
    if isinstance(error, errors.ServerUnreachable):
        return error.may_have_arrived
    if isinstance(error, errors.RequestTimedOut):
        return error.phase == "read"
    return isinstance(error, errors.ServerLoading)  # a gateway's 502 or 504 says nothing about the server behind it


class JobState(Enum):
    """What a server reports about a job."""

    WORKING = "the server is working on this job, or on another one that it cannot tell apart"
    UNSURE = "the job is in the queue, but nothing runs: between two jobs, or it was dropped silently"
    ENDED = "the server no longer has the job"


def job_state(connection: Connection, task_id: str) -> JobState:
    """Ask a server about a job.

    "active" proves nothing: a failed job stays active until the next one begins (lllyasviel/stable-diffusion-webui-
    forge, modules/api/api.py, calls `finish_task` only on success). What counts is whether any job runs, also where
    the server does not know this one: a WebUI without its page (`--nowebui`), SD.Next and an A1111 before 1.8 cannot
    tell jobs apart (AUTOMATIC1111/stable-diffusion-webui, pull request 14314; vladmandic/sdnext,
    modules/api/generate.py, 175e9cbe).
    """
    try:
        task = connection.send("POST", "/internal/progress", json={"id_task": task_id, "live_preview": False})
    except errors.NotFound:
        task = {}
    if task.get("completed"):
        return JobState.ENDED
    progress = connection.send("GET", "/sdapi/v1/progress", params={"skip_current_image": "true"})
    state = progress.get("state") or {}
    if state.get("job") or state.get("job_count"):
        return JobState.WORKING
    return JobState.UNSURE if task.get("queued") else JobState.ENDED


_T = TypeVar("_T")


@dataclass(frozen=True)
class JobProgress:
    """How far one job is."""

    fraction: float
    """0 to 1."""
    step: int | None
    """Sampling step of the current batch, if the server reports it."""
    steps: int | None
    """Sampling steps of a batch, if the server reports them."""
    seconds_left: float | None
    """The server's estimate; None without one."""
    queued: bool
    """Whether the job still waits behind others."""
    preview: bytes | None
    """An image file's bytes, if previews were requested and the server makes them."""


def watch_progress(
    call: Callable[[], _T],
    connection: Connection,
    task_id: str,
    on_progress: Callable[[JobProgress], None],
    *,
    poll_s: float,
    preview: bool,
) -> _T:
    """Run `call` in another thread and report the progress of its job in this one until it ends.

    A failed question about progress is ignored: the call itself raises what is wrong.
    """
    # Leaving the block waits for the call, also when `on_progress` raises: no thread goes on behind the caller's back.
    with ThreadPoolExecutor(1) as pool:
        future: Future[_T] = pool.submit(call)
        last: JobProgress | None = None
        while not wait([future], timeout=poll_s).done:
            try:
                now = job_progress(connection, task_id, preview=preview)
            except errors.WebUIError:
                continue
            if now is not None and now != last:
                on_progress(now)
                last = now
        return future.result()


def job_progress(connection: Connection, task_id: str, *, preview: bool = False) -> JobProgress | None:
    """Progress of one job; None if the server does not know it, or works on another one.

    A WebUI without its page (`--nowebui`) cannot tell jobs apart: its running job counts as this one.

    Raises:
        WebUIError: the server does not answer.
    """
    state = connection.send("GET", "/sdapi/v1/progress", params={"skip_current_image": str(not preview).lower()})
    sampling: dict[str, Any] = state.get("state") or {}
    step, steps = sampling.get("sampling_step"), sampling.get("sampling_steps")
    try:
        job = connection.send("POST", "/internal/progress", json={"id_task": task_id, "live_preview": preview})
    except errors.NotFound:
        if not (sampling.get("job") or sampling.get("job_count")):
            return None
        eta, preview_text = state.get("eta_relative"), state.get("current_image")
        job = {"active": True, "progress": state.get("progress"), "eta": eta, "live_preview": preview_text}
    if job.get("queued"):
        return JobProgress(0.0, None, None, None, True, None)
    if not job.get("active"):
        return None
    try:
        image = from_base64(job["live_preview"]) if job.get("live_preview") else None
    except errors.BadImage:
        image = None  # a broken preview is no reason to stop
    return JobProgress(float(job.get("progress") or 0), step, steps, job.get("eta"), False, image)


_SCRIPT_ADVICE = "look at the server's log: the extension is missing a model or failed"


def result_images(request: GenerationRequest, reply: GenerationReply) -> Sequence[bytes]:
    """The requested images, without the grid in front and extra images behind.

    Raises:
        IncompleteReply: fewer images than requested; they are counted, for `all_seeds` always has full length.
    """
    requested = request.batch_size * request.n_iter
    images = (reply.images or ())[reply.info.index_of_first_image :]
    if len(images) < requested:
        found = f"the server sent {len(images)} of {requested} images"
        advice = "it was interrupted or skipped, run the command again"
        raise errors.IncompleteReply(f"{found}; {advice}", asked=requested, got=len(images))
    return images[:requested]


def verify_reply(request: GenerationRequest, info: GenerationInfo, images: Sequence[bytes]) -> None:
    """Compare the settings that the server used with the requested ones.

    Args:
        request: as it was sent, with names in the server's own spelling.
        info: the reply's `info`; its `parameters` only repeats the request.
        images: the result images' bytes.

    Raises:
        SettingSubstituted: the first setting that differs, with both values.
    """
    if request.sampler_name is not None and info.sampler_name != request.sampler_name:
        raise errors.SettingSubstituted("sampler", request.sampler_name, info.sampler_name)
    _verify_schedule(request, info)
    _verify_scripts(request, info)
    _verify_numbers(request, info)
    _verify_seeds(request, info)
    _verify_model(request, info)
    _verify_sizes(request, images)


def _verify_schedule(request: GenerationRequest, info: GenerationInfo) -> None:
    """Look where A1111 and SD.Next report the schedule."""
    if request.scheduler is not None and request.scheduler.casefold() != AUTOMATIC.casefold():
        used = str(info.extra_generation_params.get("Schedule type", AUTOMATIC))
        if used.casefold() != request.scheduler.casefold():
            raise errors.SettingSubstituted("scheduler", request.scheduler, used)
    requested = (request.override_settings or {}).get(SDNEXT_SCHEDULE_OPTION)
    if requested is not None and info.infotexts:
        settings = parse_infotext(info.infotexts[-1]).settings
        used = settings.get(SDNEXT_SCHEDULE_IN_INFOTEXT, SDNEXT_AUTOMATIC)
        if used != requested:
            raise errors.SettingSubstituted("scheduler", requested, used)


def _verify_scripts(request: GenerationRequest, info: GenerationInfo) -> None:
    """ControlNet and ADetailer report failures only in the server's log; the infotext names what worked."""
    text = parse_infotext(info.infotexts[-1]) if info.infotexts else Infotext()
    for number, unit in enumerate(_enabled_units(request.alwayson_scripts, "ControlNet")):
        if f"ControlNet {number}" not in text.settings:
            raise errors.SettingSubstituted(f"ControlNet unit {number}", unit.get("model"), None, _SCRIPT_ADVICE)
    if _enabled_units(request.alwayson_scripts, "ADetailer") and "ADetailer model" not in text.settings:
        raise errors.SettingSubstituted("ADetailer", "on", None, _SCRIPT_ADVICE)


def _enabled_units(scripts: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The active units of an always-on script; ADetailer's first two arguments are not units."""
    arguments = (scripts.get(name) or {}).get("args") or []
    if name == "ADetailer" and arguments[:1] == [False]:
        return []
    units = [argument for argument in arguments if isinstance(argument, dict)]
    return [unit for unit in units if unit.get("enabled", True) and unit.get("ad_model") != "None"]


def _verify_numbers(request: GenerationRequest, info: GenerationInfo) -> None:
    settings = ["steps", "cfg_scale"]
    if isinstance(request, Img2ImgRequest) or (isinstance(request, Txt2ImgRequest) and request.enable_hr):
        settings.append("denoising_strength")
    for setting in settings:
        requested, used = getattr(request, setting), getattr(info, setting)
        if used is None or not math.isclose(requested, used, rel_tol=1e-6, abs_tol=1e-9):
            raise errors.SettingSubstituted(
                setting.replace("_", " "), requested, used, "its options may limit this setting"
            )


def _verify_seeds(request: GenerationRequest, info: GenerationInfo) -> None:
    if request.seed == -1 or request.subseed_strength:
        return
    requested = tuple(range(request.seed, request.seed + request.batch_size * request.n_iter))
    if info.all_seeds != requested:
        raise errors.SettingSubstituted("seeds", list(requested), list(info.all_seeds), "an extension may change seeds")


def _verify_model(request: GenerationRequest, info: GenerationInfo) -> None:
    requested = (request.override_settings or {}).get("sd_model_checkpoint")
    if requested is None:
        return
    used = {word for word in (info.sd_model_name, info.sd_model_hash) if word}
    if not any(word in str(requested) for word in used):
        raise errors.SettingSubstituted("model", requested, info.sd_model_name)


def _verify_sizes(request: GenerationRequest, images: Sequence[bytes]) -> None:
    """Sizes are as requested; with a mask also the source's; after a second pass the server decides."""
    if isinstance(request, Txt2ImgRequest) and request.enable_hr:
        return
    expected = {(request.width, request.height)}
    if isinstance(request, Img2ImgRequest) and request.mask is not None and request.inpaint_full_res:
        # If the server finds the mask blank, it makes the whole image, at the requested size.
        expected |= {_size_of(image) for image in request.init_images if isinstance(image, bytes)}
    for data in images:
        try:
            size = _size_of(data)
        except (UnidentifiedImageError, OSError) as error:
            raise errors.BadImage(f"an image of the reply cannot be read: {error}") from error
        if size not in expected:
            requested = " or ".join("{}x{}".format(*one) for one in sorted(expected))
            raise errors.SettingSubstituted("size", requested, "{}x{}".format(*size))


def _size_of(data: bytes) -> tuple[int, int]:
    """Size of the upright image; the server turns a source upright."""
    with Image.open(io.BytesIO(data)) as image:
        return upright_size(image)


@dataclass(frozen=True)
class GeneratedImage:
    """One image of a reply."""

    data: bytes
    """The image file as the server sent it."""
    seed: int
    infotext: str

    @property
    def format(self) -> str | None:
        """Image format by the magic bytes: "PNG" unless the server's option `samples_format` says otherwise."""
        return image_format(self.data)

    def pil(self) -> Image.Image:
        """The decoded image.

        Raises:
            BadImage: the bytes are damaged.
        """
        with errors.unreadable_as(errors.BadImage):
            return read_image(self.data, "an image of the reply")


RequestT = TypeVar("RequestT", Img2ImgRequest, Txt2ImgRequest)


@dataclass(frozen=True)
class GenerationResult(Generic[RequestT]):
    """The images of a generating call, with what was sent and used."""

    images: tuple[GeneratedImage, ...]
    info: GenerationInfo
    """The server's own report."""
    request: RequestT
    """What was sent, with sampler names in the server's spelling."""


class CallOptions(TypedDict, total=False):
    """How a generating call is made; each may be left out."""

    verify: bool
    """Compare the settings that the server used with the requested ones; default True."""
    on_progress: Callable[[JobProgress], None]
    """Called in the caller's thread with the progress of this job only, while it runs."""
    poll_s: float
    """Seconds between two questions about progress; default 0.5."""
    preview: bool
    """Ask for preview images, which cost the server time; default False."""
    timeout_s: float
    """Seconds to wait for the reply; default `Timeouts.generate_s`."""
    retries: RetryPolicy
    """Instead of the client's own; a job is sent again only when the server no longer works on it."""


def attach_seeds(images: Sequence[bytes], info: GenerationInfo) -> tuple[GeneratedImage, ...]:
    """Pair each image with its seed and infotext."""
    texts = info.infotexts[info.index_of_first_image :]
    if len(info.all_seeds) < len(images) or len(texts) < len(images):
        raise errors.UnexpectedReply(
            "the reply's info lacks a seed or an infotext for some image; check the server's version"
        )
    return tuple(GeneratedImage(data, info.all_seeds[i], texts[i]) for i, data in enumerate(images))
