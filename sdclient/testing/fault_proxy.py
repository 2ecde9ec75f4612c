"""Passes requests on and lets the plan happen; port, traffic."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import select
import socket
import struct
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from .fault_plan import GENERATING, Answer, Delay, Fault, FaultPlan, Held, Reset, ShortReply, Substitute, Truncate

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
        sent = swap_request(asked, changes)
        with self.log.running(name, path, asked) as outcome:
            reply = self._forward(method, path, headers, json.dumps(sent).encode("utf-8"))
            answered = _json_object(reply.body)
            images = answered.get("images") if answered is not None and reply.status == http.HTTPStatus.OK else None
            outcome |= {"status": reply.status, "images": len(images or ())}
        if not images or answered is None:
            return reply
        answered = hide_swap(answered, asked, changes)
        if isinstance(effect, ShortReply):
            answered = drop_images(answered, effect.missing)
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


_BACKLOG = 128
_LOOPBACK = "127.0.0.1"


class ReopenablePort:
    """Accepts connections on a free loopback port and hands each to a thread of its own.

    While it is shut the port stays taken but nothing listens, so that connections are truly refused.

    Args:
        serve: called with each connection, which it must close.
    """

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._changing = threading.RLock()
        self._socket = _bound(0)
        self.port: int = self._socket.getsockname()[1]
        self._accepting: threading.Thread | None = None
        self._wake, self._woken = socket.socketpair()
        self.open()

    def open(self) -> None:
        """Listen; a port that listens already goes on."""
        with self._changing:
            if self._accepting is not None:
                return
            self._socket.listen(_BACKLOG)
            self._accepting = threading.Thread(target=self._accept, name="sdclient-testing-port", daemon=True)
            self._accepting.start()

    def shut(self) -> None:
        """Refuse connections; those that were accepted go on."""
        with self._changing:
            if self._accepting is None:
                return
            self._stop_accepting()
            self._socket = _bound(self.port)

    def remove(self) -> None:
        """Give the port back."""
        with self._changing:
            if self._accepting is not None:
                self._stop_accepting()
            self._socket.close()
            self._wake.close()
            self._woken.close()

    def _stop_accepting(self) -> None:
        accepting, self._accepting = self._accepting, None
        self._wake.send(b"x")
        if accepting is not None:
            accepting.join()
        self._socket.close()

    def _accept(self) -> None:
        while True:
            ready, _, _ = select.select([self._socket, self._woken], [], [])
            if self._woken in ready:
                self._woken.recv(1)
                return
            connection, _ = self._socket.accept()
            threading.Thread(
                target=self._serve, args=(connection,), name="sdclient-testing-request", daemon=True
            ).start()


def _bound(port: int) -> socket.socket:
    """A socket on this port that does not listen yet."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((_LOOPBACK, port))
    return bound


class _Connections:
    """Who wants to know of connections that this process makes, by port.

    Nobody sees a refused connection but the one who makes it. Python reports each attempt as an audit event just
    before it is made; an audit hook stays for the rest of the process, so there is one, put there on first need.
    """

    def __init__(self) -> None:
        self._listeners: dict[int, Callable[[], None]] = {}
        self._hooked = False

    def watch(self, port: int, listener: Callable[[], None]) -> None:
        """Call `listener` just before each connection to this port."""
        self._listeners[port] = listener
        if not self._hooked:
            self._hooked = True
            sys.addaudithook(self._hear)

    def forget(self, port: int) -> None:
        """No longer."""
        self._listeners.pop(port, None)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if event != "socket.connect" or not self._listeners:
            return
        address = args[1]
        if not isinstance(address, tuple) or len(address) < 2:
            return  # of another family, a path for example
        listener = self._listeners.get(address[1])
        if listener is not None:
            listener()


CONNECTIONS = _Connections()


def swap_request(body: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The request with other values."""
    return {**body, **changes}


def hide_swap(reply: Mapping[str, Any], asked: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The reply to a swapped request, whose `parameters` still repeat what was asked."""
    parameters = {**reply["parameters"], **{name: asked.get(name) for name in changes}}
    return {**reply, "parameters": parameters}


def drop_images(reply: Mapping[str, Any], missing: int) -> dict[str, Any]:
    """The reply without its last images: their infotexts go, their seeds stay, as after an interrupt."""
    info = json.loads(reply["info"])
    kept = max(len(reply["images"]) - missing, 0)
    info["infotexts"] = info["infotexts"][:kept]
    return {**reply, "images": reply["images"][:kept], "info": json.dumps(info)}


NAME_FIELD = "force_task_id"
"""The request field with the job's name."""


@dataclass(frozen=True)
class SeenRequest:
    """One request."""

    method: str
    path: str
    fault: str | None
    """Name of the planned fault it met."""


@dataclass(frozen=True)
class Job:
    """One generating request that reached the server."""

    path: str
    body: Mapping[str, Any] = field(repr=False)
    """The request's JSON."""
    doubled: bool
    """Whether the same work was being done already when it came."""
    status: int | None = None
    """The server's answer, also where the client never got it; None while the job runs."""
    images: int = 0
    """How many images the server made."""

    @property
    def task_id(self) -> str | None:
        """The name the client gave it."""
        name = self.body.get(NAME_FIELD)
        return None if name is None else str(name)


@dataclass(frozen=True)
class _Running:
    name: str
    work: str


class JobLog:
    """Keeps the jobs in the order they came; safe to use from many threads."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._jobs: list[Job] = []
        self._running: list[_Running] = []

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs so far."""
        with self._changing:
            return tuple(self._jobs)

    @contextmanager
    def running(self, name: str, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Note a job from its coming to its answer; the block fills in `status` and `images`.

        The server is done with it when it says so with `ended`, which is before its reply has been sent.
        """
        work = json.dumps([path, {name: value for name, value in body.items() if name != NAME_FIELD}], sort_keys=True)
        outcome: dict[str, Any] = {}
        with self._changing:
            number = len(self._jobs)
            self._jobs.append(Job(path, body, doubled=any(other.work == work for other in self._running)))
            mine = _Running(name, work)
            self._running.append(mine)
        try:
            yield outcome
        finally:
            with self._changing:
                self._running = [other for other in self._running if other is not mine]
                self._jobs[number] = replace(self._jobs[number], **outcome)

    def ended(self, name: str) -> None:
        """The server says that it no longer works on the job of this name; the first of them, where several are."""
        with self._changing:
            mine = next((running for running in self._running if running.name == name), None)
            self._running = [other for other in self._running if other is not mine]
