"""`WebUI`: every call of one server as a method, over one connection."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial
from types import TracebackType
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError
from typing_extensions import Unpack

from sdcore.images.decode import ImageInput

from ..errors import NotFound, ServerFault, ServerLoading, ServerUnreachable, UnexpectedReply
from ..loras import HASH_OPTION, loras_in, verify_loras
from ..models import Request, server
from ..models.generation import GenerationReply, Img2ImgRequest, Txt2ImgRequest
from ..models.scripts import ScriptInfo, ScriptsList
from .dialects import Dialect, Product, ServerKind, ServerVersion, detect_server, find_version, resolve_vae
from .generation_job import (
    CallOptions,
    GenerationResult,
    JobSender,
    RequestT,
    attach_seeds,
    new_task_id,
    result_images,
    verify_reply,
    watch_progress,
)
from .transport import Connection, Retrier, RetryPolicy, Timeouts, auth_from_environment, parse_address

DEFAULT_URL = "http://127.0.0.1:7860"
_POLL_S = 0.5
_READY_POLL_S = 2.0
API = "/sdapi/v1"
_T = TypeVar("_T")


class WebUI:
    """A client of one server; no network is touched until the first call. Use as a context manager.

    Args:
        url: the server's address; default `SDCLIENT_URL`, else `http://127.0.0.1:7860`. Credentials in it are
            taken as `auth`. Loopback addresses bypass system proxies.
        auth: name and password of the WebUI's `--api-auth`; default `SDCLIENT_AUTH` (`name:password`).
        timeouts: longest waits.
        retries: how often to try again after a temporary failure.

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
        return f"WebUI({self.url!r})"

    def __enter__(self) -> WebUI:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def img2img(self, request: Img2ImgRequest, **options: Unpack[CallOptions]) -> GenerationResult[Img2ImgRequest]:
        """Make images from an image.

        Sampler and schedule may be joined ("DPM++ SDE Karras") or separate; they are sent as this server
        understands them.

        Raises:
            UnknownSetting: the server has no such sampler or schedule.
            SettingSubstituted: it used another setting than the requested one.
            IncompleteReply: it sent fewer images than requested.
        """
        return self._generate("img2img", request, options)

    def txt2img(self, request: Txt2ImgRequest, **options: Unpack[CallOptions]) -> GenerationResult[Txt2ImgRequest]:
        """Make images from a prompt; otherwise as `img2img`."""
        return self._generate("txt2img", request, options)

    def call(
        self,
        method: Literal["GET", "POST"],
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        retries: RetryPolicy | None = None,
    ) -> Any:
        """Make a call that has no method here, with the same errors, timeouts and retries; gives the reply's JSON.

        The JSON of an empty reply is None. Only GET is sent again after a failure: a POST may change something twice.

        Args:
            path: from the root, for example "/sdapi/v1/create/embedding".
            timeout_s: seconds to wait for the answer; default `Timeouts.read_s`.
            retries: instead of the client's own policy.
        """

        def attempt() -> Any:
            return self._connection.send(method, path, json=json, params=params, read_s=timeout_s)

        if method != "GET":
            return attempt()
        return replace(self._retrier, policy=retries or self._retrier.policy).call(attempt)

    def samplers(self) -> tuple[server.Sampler, ...]:
        """The samplers the server has."""
        return self._get("/samplers", tuple[server.Sampler, ...])

    def schedulers(self) -> tuple[server.Scheduler, ...]:
        """The noise schedules the server lists; `kind.schedulers` also has those of servers that list none.

        Raises:
            NotFound: an old server, which does not separate samplers and schedules.
            UnexpectedReply: SD.Next, which lists something else under this name.
        """
        return self._get("/schedulers", tuple[server.Scheduler, ...])

    def sd_models(self) -> tuple[server.SDModel, ...]:
        """The checkpoints the server has."""
        return self._get("/sd-models", tuple[server.SDModel, ...])

    def sd_vaes(self) -> tuple[server.VAE, ...]:
        """The VAEs the server has.

        Raises:
            NotFound: Forge, which has `sd_modules` instead.
        """
        return self._get("/sd-vae", tuple[server.VAE, ...])

    def sd_modules(self) -> tuple[server.SDModule, ...]:
        """The VAEs and text encoders a Forge has.

        Raises:
            NotFound: every other server, which has `sd_vaes` instead.
        """
        return self._get("/sd-modules", tuple[server.SDModule, ...])

    def upscalers(self) -> tuple[server.Upscaler, ...]:
        """The upscalers the server has."""
        return self._get("/upscalers", tuple[server.Upscaler, ...])

    def latent_upscale_modes(self) -> tuple[server.LatentUpscaleMode, ...]:
        """The upscalers that work before the image is decoded."""
        return self._get("/latent-upscale-modes", tuple[server.LatentUpscaleMode, ...])

    def realesrgan_models(self) -> tuple[server.RealESRGANModel, ...]:
        """The Real-ESRGAN models the server has."""
        return self._get("/realesrgan-models", tuple[server.RealESRGANModel, ...])

    def face_restorers(self) -> tuple[server.FaceRestorer, ...]:
        """The face restorers the server has."""
        return self._get("/face-restorers", tuple[server.FaceRestorer, ...])

    def loras(self) -> tuple[server.Lora, ...]:
        """The LoRAs the server has."""
        return self._get("/loras", tuple[server.Lora, ...])

    def embeddings(self) -> server.Embeddings:
        """The textual-inversion embeddings the server has."""
        return self._get("/embeddings", server.Embeddings)

    def hypernetworks(self) -> tuple[server.Hypernetwork, ...]:
        """The hypernetworks the server has."""
        return self._get("/hypernetworks", tuple[server.Hypernetwork, ...])

    def prompt_styles(self) -> tuple[server.PromptStyle, ...]:
        """The prompt styles saved on the server."""
        return self._get("/prompt-styles", tuple[server.PromptStyle, ...])

    def scripts(self) -> ScriptsList:
        """The names of the scripts the server has."""
        return self._get("/scripts", ScriptsList)

    def script_info(self) -> tuple[ScriptInfo, ...]:
        """The scripts and their arguments."""
        return self._get("/script-info", tuple[ScriptInfo, ...])

    def extensions(self) -> tuple[server.Extension, ...]:
        """The extensions installed on the server."""
        return self._get("/extensions", tuple[server.Extension, ...])

    def refresh_checkpoints(self) -> None:
        """Make the server look for checkpoints again."""
        self._post("/refresh-checkpoints")

    def refresh_vae(self) -> None:
        """Make the server look for VAEs again."""
        self._post("/refresh-vae")

    def refresh_loras(self) -> None:
        """Make the server look for LoRAs again."""
        self._post("/refresh-loras")

    def refresh_embeddings(self) -> None:
        """Make the server look for embeddings again."""
        self._post("/refresh-embeddings")

    @cached_property
    def kind(self) -> ServerKind:
        """Which program this server is, asked once; see `sdclient.client.dialects`."""
        return detect_server(partial(self.call, "GET"))

    def version(self) -> ServerVersion:
        """The server's version, if it reports one; an A1111 needs some seconds for the answer."""
        return find_version(partial(self.call, "GET"), self.kind.product)

    @cached_property
    def dialect(self) -> Dialect:
        """The sampler and schedule names of this server, asked once."""
        samplers = self.samplers()
        try:
            return Dialect(samplers, self.schedulers())
        except (NotFound, ServerFault, UnexpectedReply):  # before 1.9.1, or SD.Next
            return Dialect(samplers, self.kind.schedulers, self.kind.schedule_option)

    @cached_property
    def tells_loras(self) -> bool:
        """Whether infotexts of this server name the LoRAs that an image was made with, asked once."""
        # SD.Next has other names for them.
        if self.kind.product is Product.SDNEXT or not self.options().model_dump().get(HASH_OPTION):
            return False
        try:
            return not self.cmd_flags().model_dump().get("no_hashing")
        except (NotFound, ServerFault, UnexpectedReply):  # a server without that call
            return True

    def vae_settings(self, *names: str) -> dict[str, Any]:
        """The `override_settings` that select a VAE on this server, on Forge text encoders as well.

        Args:
            names: as the server lists them, or without their suffix; none is the checkpoint's own VAE.

        Raises:
            UnknownSetting: the server does not list one, or takes only one.
        """
        takes_modules = self.kind.takes_modules
        return resolve_vae(names, self.sd_modules() if takes_modules else self.sd_vaes(), as_modules=takes_modules)

    def options(self) -> server.Options:
        """The server's settings."""
        return self._get("/options", server.Options)

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Change settings of the server, for every client and until they are changed again."""
        self._post("/options", options)

    def progress(self, *, skip_current_image: bool = True) -> server.Progress:
        """What the server is doing now, for any client."""
        return self._get("/progress", server.Progress, {"skip_current_image": str(skip_current_image).lower()})

    def task_progress(self, task: server.InternalProgressRequest) -> server.InternalProgress:
        """How far one job is, by its `force_task_id`.

        Raises:
            NotFound: a WebUI without its page (`--nowebui`).
        """
        answer = self.call("POST", "/internal/progress", json=task.payload())
        return parse_reply(server.InternalProgress, answer, "progress")

    def pending_tasks(self) -> server.PendingTasks:
        """The jobs that wait for their turn.

        Raises:
            NotFound: a WebUI without its page (`--nowebui`), or SD.Next.
        """
        return parse_reply(server.PendingTasks, self.call("GET", "/internal/pending-tasks"), "pending-tasks")

    def interrupt(self) -> None:
        """Stop the running job, also one of another client; its call then answers with fewer images."""
        self._post("/interrupt")

    def interrupt_job(self, task_id: str) -> bool:
        """Stop a job by its `force_task_id` if the server is working on it now; gives whether it was.

        The server's own interrupt stops any running job, also one of another client. A WebUI without its page
        (`--nowebui`) cannot say whose job runs; there this does nothing.
        """
        try:
            answer = self.call("POST", "/internal/progress", json={"id_task": task_id, "live_preview": False})
        except NotFound:
            return False
        if answer.get("active"):
            self.interrupt()
        return bool(answer.get("active"))

    def skip(self) -> None:
        """Skip the rest of the current image and go on with the next, also in a job of another client."""
        self._post("/skip")

    def reload_checkpoint(self) -> None:
        """Load the checkpoint back into the GPU after `unload_checkpoint`; takes as long as loading does."""
        self._post("/reload-checkpoint", read_s=self._connection.timeouts.generate_s)

    def unload_checkpoint(self) -> None:
        """Take the checkpoint out of the GPU's memory; the next job loads it again."""
        self._post("/unload-checkpoint", read_s=self._connection.timeouts.generate_s)

    def png_info(self, image: ImageInput) -> server.PngInfo:
        """The infotext of an image, parsed by the server."""
        answer = self._post("/png-info", server.PngInfoRequest(image=image).payload())
        return parse_reply(server.PngInfo, answer, "png-info")

    def extras(self, request: server.ExtrasSingleRequest) -> server.ExtrasSingleReply:
        """Enlarge an image or restore faces in it."""
        return self._work("/extra-single-image", request, server.ExtrasSingleReply)

    def extras_batch(self, request: server.ExtrasBatchRequest) -> server.ExtrasBatchReply:
        """Enlarge several images or restore faces in them."""
        return self._work("/extra-batch-images", request, server.ExtrasBatchReply)

    def interrogate(self, request: server.InterrogateRequest) -> server.InterrogateReply:
        """Describe an image in words."""
        return self._work("/interrogate", request, server.InterrogateReply)

    def cmd_flags(self) -> server.CmdFlags:
        """The options the server was started with."""
        return self._get("/cmd-flags", server.CmdFlags)

    def memory(self) -> server.Memory:
        """Memory of the server's machine and GPU."""
        return self._get("/memory", server.Memory)

    def wait_until_ready(self, timeout_s: float = 600.0) -> None:
        """Wait for a server that is starting or loading its model.

        Raises:
            ServerUnreachable: it did not answer in time.
            ServerLoading: it answered but was not ready in time.
            WebUIError: a failure that waiting does not cure.
        """
        waited_s = 0.0
        while True:
            try:
                self.call("GET", f"{API}/samplers", retries=RetryPolicy(attempts=1))
                return
            except (ServerUnreachable, ServerLoading):
                if waited_s >= timeout_s:
                    raise
            self._retrier.sleep(_READY_POLL_S)
            waited_s += _READY_POLL_S

    def _generate(self, call: str, request: RequestT, options: CallOptions) -> GenerationResult[RequestT]:
        sampler, scheduler = request.sampler_name, request.scheduler
        if sampler is not None or scheduler is not None:
            request = request.model_copy(update=self.dialect.fields(sampler, scheduler, request.override_settings))
        verify = options.get("verify", True)
        tells_loras = verify and bool(loras_in(request.prompt)) and self.tells_loras
        reply = parse_reply(GenerationReply, self._send_job(f"{API}/{call}", request.payload(), options), call)
        if not request.send_images:
            return GenerationResult((), reply.info, request)
        images = result_images(request, reply)
        if verify:
            verify_reply(request, reply.info, images)
        if tells_loras:
            verify_loras(request.prompt, reply.info)
        return GenerationResult(attach_seeds(images, reply.info), reply.info, request)

    def _send_job(self, path: str, payload: dict[str, Any], options: CallOptions) -> Any:
        """Send a job under its own task id, report its progress if requested, and give the reply's JSON."""
        task_id = payload.setdefault("force_task_id", new_task_id())
        read_s = options.get("timeout_s", self._connection.timeouts.generate_s)
        retrier = replace(self._retrier, policy=options.get("retries", self._retrier.policy))

        def send() -> Any:
            return JobSender(self._connection, retrier).send(path, payload, read_s=read_s)

        on_progress = options.get("on_progress")
        if on_progress is None:
            return send()
        poll_s, preview = options.get("poll_s", _POLL_S), options.get("preview", False)
        return watch_progress(send, self._connection, task_id, on_progress, poll_s=poll_s, preview=preview)

    def _post(self, path: str, json: Mapping[str, Any] | None = None, read_s: float | None = None) -> Any:
        """Send a POST once, without retries; gives the reply's JSON, None for an empty one."""
        return self._connection.send("POST", API + path, json=json or {}, read_s=read_s)

    def _work(self, path: str, request: Request, kind: type[_T]) -> _T:
        """Have images worked on, which may take as long as generating does."""
        answer = self._post(path, request.payload(), self._connection.timeouts.generate_s)
        return parse_reply(kind, answer, path.strip("/"))

    def _get(self, path: str, kind: type[_T], params: Mapping[str, str] | None = None) -> _T:
        return parse_reply(kind, self.call("GET", API + path, params=params), path.strip("/"))


def parse_reply(kind: type[_T], answer: Any, call: str) -> _T:
    """A reply as a typed payload.

    Raises:
        UnexpectedReply: it does not have the shape that the contract promises.
    """
    try:
        return TypeAdapter(kind).validate_python(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the reply"
        raise UnexpectedReply(
            f"{call}: the reply is not what a WebUI sends ({place}: {first['msg']}); check the address"
        ) from error
