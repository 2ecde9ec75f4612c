"""How a question goes out and its answer comes back typed; the ground the groups of calls stand on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from ._http import Connection
from ._retry import Retrier, RetryPolicy
from .errors import UnexpectedReply

API = "/sdapi/v1"
_T = TypeVar("_T")


class Calls:
    """Calls to one server, typed and untyped."""

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

    def _post(self, path: str, json: Mapping[str, Any] | None = None, read_s: float | None = None) -> Any:
        """Tell the server something, once; gives the reply's JSON, None for an empty one."""
        return self._connection.send("POST", API + path, json=json or {}, read_s=read_s)

    def _get(self, path: str, kind: type[_T], params: Mapping[str, str] | None = None) -> _T:
        return parse(kind, self.call("GET", API + path, params=params), path.strip("/"))


def parse(kind: type[_T], answer: Any, call: str) -> _T:
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
