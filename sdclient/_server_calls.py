"""The calls that ask and tell a server about itself; everything but making images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from ._http import Connection
from ._images import ImageInput
from ._retry import Retrier, RetryPolicy
from .dialects import Dialect
from .errors import NotFound, ServerLoading, ServerUnreachable, UnexpectedReply
from .models import (
    CmdFlags,
    Memory,
    Options,
    PngInfo,
    PngInfoRequest,
    Progress,
    Sampler,
    Scheduler,
    SDModel,
)

API = "/sdapi/v1"
_READY_POLL_S = 2.0
_T = TypeVar("_T")


class ServerCalls:
    """Questions to one server, and changes of its state."""

    _connection: Connection
    _retrier: Retrier

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
            json: the body of a POST.
            params: the query.
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
        self._connection.send("POST", f"{API}/options", json=dict(options))

    def sd_models(self) -> tuple[SDModel, ...]:
        """The checkpoints the server has."""
        return self._get("/sd-models", tuple[SDModel, ...])

    def progress(self, *, skip_current_image: bool = True) -> Progress:
        """What the server is doing now, for whomever."""
        return self._get("/progress", Progress, {"skip_current_image": str(skip_current_image).lower()})

    def interrupt(self) -> None:
        """Stop the running job, whosever it is; its call then answers with fewer images."""
        self._connection.send("POST", f"{API}/interrupt", json={})

    def png_info(self, image: ImageInput) -> PngInfo:
        """The infotext of an image, parsed by the server."""
        answer = self._connection.send("POST", f"{API}/png-info", json=PngInfoRequest(image=image).payload())
        return parse(PngInfo, answer, "png-info")

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

    def _get(self, path: str, kind: type[_T], params: Mapping[str, str] | None = None) -> _T:
        return parse(kind, self.call("GET", API + path, params=params), path.strip("/"))


def parse(kind: type[_T], answer: Any, call: str) -> _T:
    try:
        return TypeAdapter(kind).validate_python(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the reply"
        raise UnexpectedReply(
            f"{call}: the reply is not what a WebUI sends ({place}: {first['msg']}); check the address"
        ) from error
