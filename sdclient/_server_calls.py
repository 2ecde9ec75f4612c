"""The calls that ask and tell a server about itself; everything but making images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ._calls import API as API
from ._calls import parse as parse
from ._images import ImageInput
from ._resource_calls import ResourceCalls
from ._retry import RetryPolicy
from .dialects import Dialect, resolve_vae
from .errors import NotFound, ServerFault, ServerLoading, ServerUnreachable, UnexpectedReply
from .loras import HASH_OPTION
from .models import (
    CmdFlags,
    ExtrasBatchReply,
    ExtrasBatchRequest,
    ExtrasSingleReply,
    ExtrasSingleRequest,
    InternalProgress,
    InternalProgressRequest,
    InterrogateReply,
    InterrogateRequest,
    Memory,
    Options,
    PendingTasks,
    PngInfo,
    PngInfoRequest,
    Progress,
)
from .server_kind import Product, ServerKind, ServerVersion, detect, find_version

_READY_POLL_S = 2.0


class ServerCalls(ResourceCalls):
    """Questions to one server, and changes of its state."""

    @cached_property
    def kind(self) -> ServerKind:
        """Which program this server is, asked once; see `sdclient.server_kind`."""
        return detect(self._ask)

    def version(self) -> ServerVersion:
        """The server's version, where it tells; takes an A1111 some seconds."""
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
        """What the server is doing now, for whomever."""
        return self._get("/progress", Progress, {"skip_current_image": str(skip_current_image).lower()})

    def task_progress(self, task: InternalProgressRequest) -> InternalProgress:
        """How far one job is, by its `force_task_id`.

        Raises:
            NotFound: a WebUI without its page (`--nowebui`).
        """
        return parse(InternalProgress, self.call("POST", "/internal/progress", json=task.payload()), "progress")

    def pending_tasks(self) -> PendingTasks:
        """The jobs that wait for their turn.

        Raises:
            NotFound: a WebUI without its page (`--nowebui`), or SD.Next.
        """
        return parse(PendingTasks, self.call("GET", "/internal/pending-tasks"), "pending-tasks")

    def interrupt(self) -> None:
        """Stop the running job, whosever it is; its call then answers with fewer images."""
        self._post("/interrupt")

    def skip(self) -> None:
        """Leave the image that is being made unfinished and go on with the next, whosever job it is."""
        self._post("/skip")

    def reload_checkpoint(self) -> None:
        """Load the checkpoint back into the GPU after `unload_checkpoint`; takes as long as loading does."""
        self._post("/reload-checkpoint", read_s=self._connection.timeouts.generate_s)

    def unload_checkpoint(self) -> None:
        """Take the checkpoint out of the GPU's memory; the next job loads it again."""
        self._post("/unload-checkpoint", read_s=self._connection.timeouts.generate_s)

    def png_info(self, image: ImageInput) -> PngInfo:
        """The infotext of an image, parsed by the server."""
        return parse(PngInfo, self._post("/png-info", PngInfoRequest(image=image).payload()), "png-info")

    def extras(self, request: ExtrasSingleRequest) -> ExtrasSingleReply:
        """Enlarge a picture or restore faces in it."""
        answer = self._post("/extra-single-image", request.payload(), self._connection.timeouts.generate_s)
        return parse(ExtrasSingleReply, answer, "extra-single-image")

    def extras_batch(self, request: ExtrasBatchRequest) -> ExtrasBatchReply:
        """Enlarge several pictures or restore faces in them."""
        answer = self._post("/extra-batch-images", request.payload(), self._connection.timeouts.generate_s)
        return parse(ExtrasBatchReply, answer, "extra-batch-images")

    def interrogate(self, request: InterrogateRequest) -> InterrogateReply:
        """Put a picture into words."""
        answer = self._post("/interrogate", request.payload(), self._connection.timeouts.generate_s)
        return parse(InterrogateReply, answer, "interrogate")

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

    def _ask(self, path: str) -> Any:
        return self.call("GET", path)
