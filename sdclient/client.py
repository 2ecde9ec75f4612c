"""`WebUI`: a typed client of a Stable Diffusion WebUI's `/sdapi/v1`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, TypeVar

from PIL import Image
from pydantic import TypeAdapter, ValidationError

from ._echo import result_images, verify_echo
from ._http import Connection, Timeouts, parse_address
from ._images import ImageInput, decode, image_format
from .dialects import Dialect
from .errors import NotFound, SettingsError, UnexpectedReply
from .models import (
    CmdFlags,
    GenerationInfo,
    GenerationReply,
    Img2ImgRequest,
    Memory,
    Options,
    PngInfo,
    PngInfoRequest,
    Progress,
    Sampler,
    Scheduler,
    SDModel,
)

DEFAULT_URL = "http://127.0.0.1:7860"
_API = "/sdapi/v1"
_T = TypeVar("_T")


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


@dataclass(frozen=True)
class GenerationResult:
    """What a generating call made."""

    images: tuple[GeneratedImage, ...]
    info: GenerationInfo
    """What the server says it did."""
    request: Img2ImgRequest
    """What was sent, sampler names in the server's own spelling."""


class WebUI:
    """A client of one server; no network is touched until the first call. Use as a context manager.

    Args:
        url: the server's address; default `SDCLIENT_URL`, else `http://127.0.0.1:7860`. Credentials in it are
            taken as `auth`. Loopback addresses bypass system proxies.
        auth: name and password of the WebUI's `--api-auth`; default `SDCLIENT_AUTH` (`name:password`).
        timeouts: how long to wait for what.

    Raises:
        SettingsError: the address or `SDCLIENT_AUTH` cannot be used.

    Every call raises a leaf of `sdclient.errors.WebUIError` when something goes wrong.

    Example:
        >>> with WebUI() as webui:                                             # doctest: +SKIP
        ...     result = webui.img2img(Img2ImgRequest(init_images=["pad.png"], sampler_name="DPM++ SDE Karras"))
        ...     result.images[0].pil().show()
    """

    def __init__(
        self, url: str | None = None, *, auth: tuple[str, str] | None = None, timeouts: Timeouts | None = None
    ) -> None:
        address = parse_address(url or os.environ.get("SDCLIENT_URL") or DEFAULT_URL, auth or _auth_from_environment())
        self.url = address.url
        self._connection = Connection(address, timeouts or Timeouts())

    def __repr__(self) -> str:
        """Names the server, never the credentials."""
        return f"WebUI({self.url!r})"

    def __enter__(self) -> WebUI:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections."""
        self._connection.close()

    def img2img(self, request: Img2ImgRequest, *, verify: bool = True) -> GenerationResult:
        """Make images from an image.

        Sampler and schedule may be in either spelling ("DPM++ SDE Karras", or apart); they are sent as this
        server understands them.

        Args:
            request: what to make.
            verify: compare what the server says it used with what was asked.

        Raises:
            UnknownSetting: the server has no such sampler or schedule.
            SettingSubstituted: it used another setting than the one asked for.
            IncompleteReply: it sent fewer images than asked.
        """
        sampler, scheduler = request.sampler_name, request.scheduler
        if sampler is not None or scheduler is not None:
            sampler, scheduler = self.dialect.resolve(sampler, scheduler)
            request = request.model_copy(update={"sampler_name": sampler, "scheduler": scheduler})
        answer = self._connection.send(
            "POST", f"{_API}/img2img", json=request.payload(), read_s=self._connection.timeouts.generate_s
        )
        reply = _parse(GenerationReply, answer, "img2img")
        if not request.send_images:
            return GenerationResult((), reply.info, request)
        images = result_images(request, reply)
        if verify:
            verify_echo(request, reply.info, images)
        return GenerationResult(_attach_seeds(images, reply.info), reply.info, request)

    @cached_property
    def dialect(self) -> Dialect:
        """The sampler and schedule names of this server, asked once."""
        samplers = self.samplers()
        try:
            return Dialect(samplers, self.schedulers())
        except NotFound:
            return Dialect(samplers, None)

    def samplers(self) -> tuple[Sampler, ...]:
        """The samplers the server has."""
        return self._get("/samplers", tuple[Sampler, ...])

    def schedulers(self) -> tuple[Scheduler, ...]:
        """The noise schedules the server has.

        Raises:
            NotFound: a server from before samplers and schedules were apart.
        """
        return self._get("/schedulers", tuple[Scheduler, ...])

    def options(self) -> Options:
        """The server's settings."""
        return self._get("/options", Options)

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Change settings of the server, for everybody and until they are changed again."""
        self._connection.send("POST", f"{_API}/options", json=dict(options))

    def sd_models(self) -> tuple[SDModel, ...]:
        """The checkpoints the server has."""
        return self._get("/sd-models", tuple[SDModel, ...])

    def progress(self, *, skip_current_image: bool = True) -> Progress:
        """What the server is doing now, for whomever."""
        return self._get("/progress", Progress, {"skip_current_image": str(skip_current_image).lower()})

    def interrupt(self) -> None:
        """Stop the running job, whosever it is; its call then answers with fewer images."""
        self._connection.send("POST", f"{_API}/interrupt", json={})

    def png_info(self, image: ImageInput) -> PngInfo:
        """The infotext of an image, parsed by the server."""
        answer = self._connection.send("POST", f"{_API}/png-info", json=PngInfoRequest(image=image).payload())
        return _parse(PngInfo, answer, "png-info")

    def cmd_flags(self) -> CmdFlags:
        """The options the server was started with."""
        return self._get("/cmd-flags", CmdFlags)

    def memory(self) -> Memory:
        """Memory of the server's machine and GPU."""
        return self._get("/memory", Memory)

    def _get(self, path: str, kind: type[_T], params: Mapping[str, str] | None = None) -> _T:
        return _parse(kind, self._connection.send("GET", _API + path, params=params), path.strip("/"))


def _parse(kind: type[_T], answer: Any, call: str) -> _T:
    try:
        return TypeAdapter(kind).validate_python(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the reply"
        raise UnexpectedReply(
            f"{call}: the reply is not what a WebUI sends ({place}: {first['msg']}); check the address"
        ) from error


def _attach_seeds(images: Any, info: GenerationInfo) -> tuple[GeneratedImage, ...]:
    texts = info.infotexts[info.index_of_first_image :]
    if len(info.all_seeds) < len(images) or len(texts) < len(images):
        raise UnexpectedReply("the reply's info lacks a seed or an infotext for some image; check the server's version")
    return tuple(GeneratedImage(data, info.all_seeds[i], texts[i]) for i, data in enumerate(images))


def _auth_from_environment() -> tuple[str, str] | None:
    value = os.environ.get("SDCLIENT_AUTH")
    if not value:
        return None
    name, colon, password = value.partition(":")
    if not colon:
        raise SettingsError("SDCLIENT_AUTH: no colon in it; expected name:password")
    return name, password
