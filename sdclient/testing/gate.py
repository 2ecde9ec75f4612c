"""The way to the server: passes each request on, and lets happen what the plan says."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import socket
import struct
import sys
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import tampering
from .effects import Answer, Delay, Fault, Held, Reset, ShortReply, Substitute, Truncate
from .faults import GENERATING, FaultPlan
from .traffic import NAME_FIELD, JobLog, SeenRequest

_OF_ONE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})
_LINGER = "hh" if sys.platform == "win32" else "ii"


@dataclass(frozen=True)
class Reply:
    """A reply as it goes to the client."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class FaultProxy:
    """Serves one request a connection.

    Args:
        upstream_port: where the server is, on this machine.
        plan: what shall go wrong.
    """

    def __init__(self, upstream_port: int, plan: FaultPlan) -> None:
        self.plan = plan
        self.log = JobLog()
        self._upstream_port = upstream_port
        self._changing = threading.Lock()
        self._seen: list[SeenRequest] = []
        self._held_jobs: dict[str, Held] = {}

    @property
    def seen(self) -> tuple[SeenRequest, ...]:
        """All requests so far, in the order they came."""
        with self._changing:
            return tuple(self._seen)

    def serve(self, connection: socket.socket) -> None:
        """Answer the one request of a connection and close it."""
        with connection, contextlib.suppress(OSError, http.client.HTTPException):  # either side may go away
            _Handler(connection, self)

    def job_began(self, task: str) -> None:
        """The server works on this job now: hold it where that was planned. Called in the server's thread."""
        with self._changing:
            held = self._held_jobs.pop(task, None)
        if held is not None:
            held.hold()

    def job_ended(self, task: str) -> None:
        """The server is done with this job."""
        self.log.ended(task)

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[Reply | None, bool]:
        """The reply, None for a connection that breaks, and whether only half of it is to go out."""
        bare = path.partition("?")[0]
        fault = self.plan.take(bare)
        with self._changing:
            self._seen.append(SeenRequest(method, bare, None if fault is None else fault.name))
        effect = None if fault is None else fault.effect
        if fault is not None and not fault.after:
            if isinstance(effect, Reset):
                return None, False
            if isinstance(effect, Answer):
                return _as_reply(effect), False
        reply = self._work(method, path, headers, body, fault)
        if isinstance(effect, Reset):
            return None, False
        if isinstance(effect, Answer):
            return _as_reply(effect), False
        if isinstance(effect, Delay) and fault is not None and fault.after:
            effect.held.hold()
        return reply, isinstance(effect, Truncate)

    def _work(self, method: str, path: str, headers: Mapping[str, str], body: bytes, fault: Fault | None) -> Reply:
        """What the server makes of the request."""
        effect = None if fault is None else fault.effect
        held = effect.held if isinstance(effect, Delay) and fault is not None and not fault.after else None
        asked = _json_object(body)
        if path.partition("?")[0].rpartition("/")[2] not in GENERATING or asked is None:
            if held is not None:
                held.hold()
            return self._forward(method, path, headers, body)
        name = str(asked.get(NAME_FIELD) or f"task({uuid.uuid4().hex})")
        changes = {**(effect.changes if isinstance(effect, Substitute) else {}), NAME_FIELD: name}
        if held is not None:
            with self._changing:
                self._held_jobs[name] = held
        sent = tampering.swap_request(asked, changes)
        with self.log.running(name, path, asked) as outcome:
            reply = self._forward(method, path, headers, json.dumps(sent).encode("utf-8"))
            answered = _json_object(reply.body)
            images = answered.get("images") if answered is not None and reply.status == http.HTTPStatus.OK else None
            outcome |= {"status": reply.status, "images": len(images or ())}
        if not images or answered is None:
            return reply
        answered = tampering.hide_swap(answered, asked, changes)
        if isinstance(effect, ShortReply):
            answered = tampering.drop_images(answered, effect.missing)
        return Reply(reply.status, reply.headers, json.dumps(answered).encode("utf-8"))

    def _forward(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        upstream = http.client.HTTPConnection("127.0.0.1", self._upstream_port)
        try:
            upstream.request(method, path, body=body or None, headers=_passed_on(headers))
            response = upstream.getresponse()
            return Reply(response.status, _passed_on(dict(response.getheaders())), response.read())
        finally:
            upstream.close()


def _as_reply(answer: Answer) -> Reply:
    headers = {"Content-Type": "application/json", **answer.headers}
    return Reply(answer.status, headers, json.dumps(dict(answer.body)).encode("utf-8"))


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _OF_ONE_CONNECTION}


def _json_object(body: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        found = json.loads(body)
        return found if isinstance(found, dict) else None
    return None


class _Handler(http.server.BaseHTTPRequestHandler):
    """Reads one request from a connection and writes what the proxy answers."""

    protocol_version = "HTTP/1.0"  # so that each request comes on a connection of its own

    def __init__(self, connection: socket.socket, proxy: FaultProxy) -> None:
        self._proxy = proxy
        super().__init__(connection, connection.getpeername(), None)  # type: ignore[arg-type]

    def do_GET(self) -> None:  # named by http.server
        """Answer."""
        self._answer()

    do_POST = do_GET  # noqa: N815 - as above

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as above
        """Keep quiet; the test asks what it wants to know."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        reply, only_half = self._proxy.answer(self.command, self.path, dict(self.headers.items()), body)
        if reply is None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(_LINGER, 1, 0))
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body[: len(reply.body) // 2] if only_half else reply.body)
