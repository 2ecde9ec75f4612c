"""`WebUI`: every call of one server as a method, over one connection."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError
from typing_extensions import Unpack

from sdcore.images.decode import ImageInput

from ..errors import NotFound, ServerFault, ServerLoading, ServerUnreachable, UnexpectedReply
from ..loras import HASH_OPTION, loras_in, verify_loras
from ..models.generation import GenerationReply, Img2ImgRequest, Txt2ImgRequest
from ..models.scripts import ScriptInfo, ScriptsList
from ..models.server import (
    VAE,
    CmdFlags,
    Embeddings,
    Extension,
    ExtrasBatchReply,
    ExtrasBatchRequest,
    ExtrasSingleReply,
    ExtrasSingleRequest,
    FaceRestorer,
    Hypernetwork,
    InternalProgress,
    InternalProgressRequest,
    InterrogateReply,
    InterrogateRequest,
    LatentUpscaleMode,
    Lora,
    Memory,
    Options,
    PendingTasks,
    PngInfo,
    PngInfoRequest,
    Progress,
    PromptStyle,
    RealESRGANModel,
    Sampler,
    Scheduler,
    SDModel,
    SDModule,
    Upscaler,
)
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

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def img2img(self, request: Img2ImgRequest, **options: Unpack[CallOptions]) -> GenerationResult[Img2ImgRequest]:
        """Make images from an image.

        Sampler and schedule may be in either spelling ("DPM++ SDE Karras", or apart); they are sent as this
        server understands them.

        Raises:
            UnknownSetting: the server has no such sampler or schedule.
            SettingSubstituted: it used another setting than the one asked for.
            IncompleteReply: it sent fewer images than asked.
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
        """Any call of the server that has no method of its own, with the same errors, timeouts and retries.

        Args:
            method: only GET is sent again after a failure; a POST may change something twice.
            path: from the root, for example "/sdapi/v1/create/embedding".
            timeout_s: seconds to wait for the answer; default `Timeouts.read_s`.
            retries: instead of the client's own policy.

        Returns:
            The reply's JSON; None for an empty reply.
        """

        def attempt() -> Any:
            return self._connection.send(method, path, json=json, params=params, read_s=timeout_s)

        if method != "GET":
            return attempt()
        policy = retries or self._retrier.policy
        return Retrier(policy, self._retrier.sleep, self._retrier.chance).call(attempt)

    def samplers(self) -> tuple[Sampler, ...]:
        """The samplers the server has."""
        return self._get("/samplers", tuple[Sampler, ...])

    def schedulers(self) -> tuple[Scheduler, ...]:
        """The noise schedules the server lists; `kind.schedulers` also knows those of servers that list none.

        Raises:
            NotFound: a server from before samplers and schedules were apart.
            UnexpectedReply: SD.Next, which lists something else under this name.
        """
        return self._get("/schedulers", tuple[Scheduler, ...])

    def sd_models(self) -> tuple[SDModel, ...]:
        """The checkpoints the server has."""
        return self._get("/sd-models", tuple[SDModel, ...])

    def sd_vaes(self) -> tuple[VAE, ...]:
        """The VAEs the server has.

        Raises:
            NotFound: Forge, which has `sd_modules` instead.
        """
        return self._get("/sd-vae", tuple[VAE, ...])

    def sd_modules(self) -> tuple[SDModule, ...]:
        """The VAEs and text encoders a Forge has.

        Raises:
            NotFound: every other server, which has `sd_vaes` instead.
        """
        return self._get("/sd-modules", tuple[SDModule, ...])

    def upscalers(self) -> tuple[Upscaler, ...]:
        """The upscalers the server has."""
        return self._get("/upscalers", tuple[Upscaler, ...])

    def latent_upscale_modes(self) -> tuple[LatentUpscaleMode, ...]:
        """The upscalers that work before the image is decoded."""
        return self._get("/latent-upscale-modes", tuple[LatentUpscaleMode, ...])

    def realesrgan_models(self) -> tuple[RealESRGANModel, ...]:
        """The Real-ESRGAN models the server has."""
        return self._get("/realesrgan-models", tuple[RealESRGANModel, ...])

    def face_restorers(self) -> tuple[FaceRestorer, ...]:
        """The face restorers the server has."""
        return self._get("/face-restorers", tuple[FaceRestorer, ...])

    def loras(self) -> tuple[Lora, ...]:
        """The LoRAs the server has."""
        return self._get("/loras", tuple[Lora, ...])

    def embeddings(self) -> Embeddings:
        """The textual-inversion embeddings the server has."""
        return self._get("/embeddings", Embeddings)

    def hypernetworks(self) -> tuple[Hypernetwork, ...]:
        """The hypernetworks the server has."""
        return self._get("/hypernetworks", tuple[Hypernetwork, ...])

    def prompt_styles(self) -> tuple[PromptStyle, ...]:
        """The prompt styles saved on the server."""
        return self._get("/prompt-styles", tuple[PromptStyle, ...])

    def scripts(self) -> ScriptsList:
        """The names of the scripts the server has."""
        return self._get("/scripts", ScriptsList)

    def script_info(self) -> tuple[ScriptInfo, ...]:
        """The scripts and their arguments."""
        return self._get("/script-info", tuple[ScriptInfo, ...])

    def extensions(self) -> tuple[Extension, ...]:
        """The extensions installed on the server."""
        return self._get("/extensions", tuple[Extension, ...])

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
        return detect_server(self._ask)

    def version(self) -> ServerVersion:
        """The server's version, if it reports one; an A1111 needs some seconds for the answer."""
        return find_version(self._ask, self.kind.product)

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
        if self.kind.product is Product.SDNEXT:  # which has names of its own for them
            return False
        options = self.options().model_dump()
        if not options.get(HASH_OPTION):
            return False
        try:
            return not self.cmd_flags().model_dump().get("no_hashing")
        except (NotFound, ServerFault, UnexpectedReply):  # a server without that call
            return True

    def vae_settings(self, *names: str) -> dict[str, Any]:
        """The `override_settings` that ask this server for a VAE, on Forge for text encoders as well.

        Args:
            names: as the server lists them, or without their suffix; none is the checkpoint's own VAE.

        Raises:
            UnknownSetting: the server does not list one, or takes only one.
        """
        takes_modules = self.kind.takes_modules
        return resolve_vae(names, self.sd_modules() if takes_modules else self.sd_vaes(), as_modules=takes_modules)

    def options(self) -> Options:
        """The server's settings."""
        return self._get("/options", Options)

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Change settings of the server, for everybody and until they are changed again."""
        self._post("/options", options)

    def progress(self, *, skip_current_image: bool = True) -> Progress:
        """What the server is doing now, for any client."""
        return self._get("/progress", Progress, {"skip_current_image": str(skip_current_image).lower()})

    def task_progress(self, task: InternalProgressRequest) -> InternalProgress:
        """How far one job is, by its `force_task_id`.

        Raises:
            NotFound: a WebUI without its page (`--nowebui`).
        """
        return parse_reply(InternalProgress, self.call("POST", "/internal/progress", json=task.payload()), "progress")

    def pending_tasks(self) -> PendingTasks:
        """The jobs that wait for their turn.

        Raises:
            NotFound: a WebUI without its page (`--nowebui`), or SD.Next.
        """
        return parse_reply(PendingTasks, self.call("GET", "/internal/pending-tasks"), "pending-tasks")

    def interrupt(self) -> None:
        """Stop the running job, also one of another client; its call then answers with fewer images."""
        self._post("/interrupt")

    def interrupt_job(self, task_id: str) -> bool:
        """Stop a job by its `force_task_id`, only when the server is working on it now; gives whether it was.

        The server's own interrupt stops any running job, also one of another client. A WebUI without its page
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

    def skip(self) -> None:
        """Skip the rest of the current image and go on with the next, also in a job of another client."""
        self._post("/skip")

    def reload_checkpoint(self) -> None:
        """Load the checkpoint back into the GPU after `unload_checkpoint`; takes as long as loading does."""
        self._post("/reload-checkpoint", read_s=self._connection.timeouts.generate_s)

    def unload_checkpoint(self) -> None:
        """Take the checkpoint out of the GPU's memory; the next job loads it again."""
        self._post("/unload-checkpoint", read_s=self._connection.timeouts.generate_s)

    def png_info(self, image: ImageInput) -> PngInfo:
        """The infotext of an image, parsed by the server."""
        return parse_reply(PngInfo, self._post("/png-info", PngInfoRequest(image=image).payload()), "png-info")

    def extras(self, request: ExtrasSingleRequest) -> ExtrasSingleReply:
        """Enlarge an image or restore faces in it."""
        answer = self._post("/extra-single-image", request.payload(), self._connection.timeouts.generate_s)
        return parse_reply(ExtrasSingleReply, answer, "extra-single-image")

    def extras_batch(self, request: ExtrasBatchRequest) -> ExtrasBatchReply:
        """Enlarge several images or restore faces in them."""
        answer = self._post("/extra-batch-images", request.payload(), self._connection.timeouts.generate_s)
        return parse_reply(ExtrasBatchReply, answer, "extra-batch-images")

    def interrogate(self, request: InterrogateRequest) -> InterrogateReply:
        """Describe an image in words."""
        answer = self._post("/interrogate", request.payload(), self._connection.timeouts.generate_s)
        return parse_reply(InterrogateReply, answer, "interrogate")

    def cmd_flags(self) -> CmdFlags:
        """The options the server was started with."""
        return self._get("/cmd-flags", CmdFlags)

    def memory(self) -> Memory:
        """Memory of the server's machine and GPU."""
        return self._get("/memory", Memory)

    def wait_until_ready(self, timeout_s: float = 600.0) -> None:
        """Wait for a server that is starting or loading its model.

        Raises:
            ServerUnreachable: it did not answer in time.
            ServerLoading: it answered but was not ready in time.
            WebUIError: it answered something that waiting does not change.
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
            spoken = self.dialect.fields(sampler, scheduler, request.override_settings)
            request = request.model_copy(update=spoken)
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
        """Send a job under its own task id and report its progress if asked; gives the reply's JSON."""
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

    def _get(self, path: str, kind: type[_T], params: Mapping[str, str] | None = None) -> _T:
        return parse_reply(kind, self.call("GET", API + path, params=params), path.strip("/"))

    def _ask(self, path: str) -> Any:
        return self.call("GET", path)


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
