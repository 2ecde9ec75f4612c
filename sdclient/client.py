"""`WebUI`: a typed client of a Stable Diffusion WebUI's `/sdapi/v1`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Generic, TypedDict, TypeVar

from PIL import Image
from typing_extensions import Unpack

from ._echo import result_images, verify_echo
from ._generation import JobSender, new_task_id
from ._http import Connection, Timeouts, parse_address
from ._images import decode, image_format
from ._retry import Retrier, RetryPolicy
from ._server_calls import API, ServerCalls, parse
from ._watching import JobProgress, watch
from .errors import NotFound, SettingsError, UnexpectedReply
from .loras import loras_in, verify_loras
from .models import GenerationInfo, GenerationReply, Img2ImgRequest, Txt2ImgRequest

DEFAULT_URL = "http://127.0.0.1:7860"
_POLL_S = 0.5


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
        return decode(self.data, "an image of the reply")


_R = TypeVar("_R", Img2ImgRequest, Txt2ImgRequest)


@dataclass(frozen=True)
class GenerationResult(Generic[_R]):
    """What a generating call made."""

    images: tuple[GeneratedImage, ...]
    info: GenerationInfo
    """What the server says it did."""
    request: _R
    """What was sent, sampler names in the server's own spelling."""


class CallOptions(TypedDict, total=False):
    """How a generating call is made; each may be left out."""

    verify: bool
    """Compare what the server says it used with what was asked; default True."""
    on_progress: Callable[[JobProgress], None]
    """Called in the caller's thread with the progress of this job, and of no other, while it runs."""
    poll_s: float
    """Seconds between two questions about progress; default 0.5."""
    preview: bool
    """Ask for preview images with the progress, which costs the server time; default False."""
    timeout_s: float
    """Seconds to wait for the answer; default `Timeouts.generate_s`."""
    retries: RetryPolicy
    """Instead of the client's own; a job is sent again only when the server no longer works on it."""


class WebUI(ServerCalls):
    """A client of one server; no network is touched until the first call. Use as a context manager.

    Args:
        url: the server's address; default `SDCLIENT_URL`, else `http://127.0.0.1:7860`. Credentials in it are
            taken as `auth`. Loopback addresses bypass system proxies.
        auth: name and password of the WebUI's `--api-auth`; default `SDCLIENT_AUTH` (`name:password`).
        timeouts: how long to wait for what.
        retries: how often to try again after a failure that may pass.

    Raises:
        SettingsError: the address or `SDCLIENT_AUTH` cannot be used.

    Every call raises a leaf of `sdclient.errors.WebUIError` when something goes wrong.

    Example:
        >>> with WebUI() as webui:                                             # doctest: +SKIP
        ...     result = webui.img2img(Img2ImgRequest(init_images=["pad.png"], sampler_name="DPM++ SDE Karras"))
        ...     result.images[0].pil().show()
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        auth: tuple[str, str] | None = None,
        timeouts: Timeouts | None = None,
        retries: RetryPolicy | None = None,
    ) -> None:
        address = parse_address(url or os.environ.get("SDCLIENT_URL") or DEFAULT_URL, auth or auth_from_environment())
        self.url = address.url
        self._connection = Connection(address, timeouts or Timeouts())
        self._retrier = Retrier(retries or RetryPolicy())

    def __repr__(self) -> str:
        """Names the server, never the credentials."""
        return f"WebUI({self.url!r})"

    def __enter__(self) -> WebUI:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def interrupt_job(self, task_id: str) -> bool:
        """Stop a job by its `force_task_id`, only when the server is working on it now; gives whether it was.

        The server's own interrupt stops whatever runs, another client's job too. A WebUI without its page
        (`--nowebui`) cannot say whose job runs; there this does nothing.
        """
        try:
            answer = self.call("POST", "/internal/progress", json={"id_task": task_id, "live_preview": False})
        except NotFound:
            return False
        if not answer.get("active"):
            return False
        self.interrupt()
        return True

    def close(self) -> None:
        """Give back the connections."""
        self._connection.close()

    def img2img(self, request: Img2ImgRequest, **options: Unpack[CallOptions]) -> GenerationResult[Img2ImgRequest]:
        """Make images from an image.

        Sampler and schedule may be in either spelling ("DPM++ SDE Karras", or apart); they are sent as this
        server understands them.

        Args:
            request: what to make.
            options: see `CallOptions`.

        Raises:
            UnknownSetting: the server has no such sampler or schedule.
            SettingSubstituted: it used another setting than the one asked for.
            IncompleteReply: it sent fewer images than asked.
        """
        return self._generate("img2img", request, options)

    def txt2img(self, request: Txt2ImgRequest, **options: Unpack[CallOptions]) -> GenerationResult[Txt2ImgRequest]:
        """Make images from a prompt; otherwise as `img2img`."""
        return self._generate("txt2img", request, options)

    def _generate(self, call: str, request: _R, options: CallOptions) -> GenerationResult[_R]:
        sampler, scheduler = request.sampler_name, request.scheduler
        if sampler is not None or scheduler is not None:
            spoken = self.dialect.fields(sampler, scheduler, request.override_settings)
            request = request.model_copy(update=spoken)
        verify = options.get("verify", True)
        tells_loras = verify and bool(loras_in(request.prompt)) and self.tells_loras
        reply = parse(GenerationReply, self._send_job(f"{API}/{call}", request.payload(), options), call)
        if not request.send_images:
            return GenerationResult((), reply.info, request)
        images = result_images(request, reply)
        if verify:
            verify_echo(request, reply.info, images)
        if tells_loras:
            verify_loras(request.prompt, reply.info)
        return GenerationResult(_attach_seeds(images, reply.info), reply.info, request)

    def _send_job(self, path: str, payload: dict[str, Any], options: CallOptions) -> Any:
        """Send a job under a name of its own, following its progress where wanted; gives the reply's JSON."""
        task_id = payload.setdefault("force_task_id", new_task_id())
        read_s = options.get("timeout_s", self._connection.timeouts.generate_s)
        retrier = replace(self._retrier, policy=options.get("retries", self._retrier.policy))

        def send() -> Any:
            return JobSender(self._connection, retrier).send(path, payload, read_s=read_s)

        on_progress = options.get("on_progress")
        if on_progress is None:
            return send()
        poll_s, preview = options.get("poll_s", _POLL_S), options.get("preview", False)
        return watch(send, self._connection, task_id, on_progress, poll_s=poll_s, preview=preview)


def _attach_seeds(images: Sequence[bytes], info: GenerationInfo) -> tuple[GeneratedImage, ...]:
    texts = info.infotexts[info.index_of_first_image :]
    if len(info.all_seeds) < len(images) or len(texts) < len(images):
        raise UnexpectedReply("the reply's info lacks a seed or an infotext for some image; check the server's version")
    return tuple(GeneratedImage(data, info.all_seeds[i], texts[i]) for i, data in enumerate(images))


def auth_from_environment() -> tuple[str, str] | None:
    """Name and password in `SDCLIENT_AUTH`; None where it is not set.

    Raises:
        SettingsError: no colon in it.
    """
    value = os.environ.get("SDCLIENT_AUTH")
    if not value:
        return None
    name, colon, password = value.partition(":")
    if not colon:
        raise SettingsError("SDCLIENT_AUTH: no colon in it; expected name:password")
    return name, password
