"""A proxy in front of the server: it forwards requests, makes the planned faults happen, and logs the jobs."""

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
    """A reply as the client gets it."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class FaultProxy:
    """Forwards requests, one a connection, to the server at `upstream_port` on this machine."""

    def __init__(self, upstream_port: int, plan: FaultPlan) -> None:
        self.plan = plan
        self.log = JobLog()
        self._upstream_port = upstream_port
        self._changing = threading.Lock()  # guards the two below: each connection has a thread of its own
        self._seen: list[SeenRequest] = []
        self._held_jobs: dict[str, Held] = {}

    @property
    def seen(self) -> tuple[SeenRequest, ...]:
        """All requests so far, in the order they came."""
        with self._changing:
            return tuple(self._seen)

    def serve(self, connection: socket.socket) -> None:
        """Answer the request of a connection and close it."""
        with connection, contextlib.suppress(OSError, http.client.HTTPException):  # either side may disconnect
            _Handler(connection, self)

    def job_began(self, task: str) -> None:
        """Hold this job, which the server begins now, if that was planned; called in the server's thread."""
        with self._changing:
            held = self._held_jobs.pop(task, None)
        if held is not None:
            held.hold()

    def job_ended(self, task: str) -> None:
        """Note that the server has finished this job."""
        self.log.ended(task)

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[Reply | None, bool]:
        """The reply (None for a connection that breaks), and whether only half of it is sent."""
        bare = path.partition("?")[0]
        fault = self.plan.take(bare)
        with self._changing:
            self._seen.append(SeenRequest(method, bare, None if fault is None else fault.name))
        effect = None if fault is None else fault.effect
        replaces_reply = isinstance(effect, Reset | Answer)
        if fault is None or fault.after or not replaces_reply:
            reply = self._work(method, path, headers, body, fault)
            if isinstance(effect, Delay) and fault is not None and fault.after:
                effect.held.hold()
            if not replaces_reply:
                return reply, isinstance(effect, Truncate)
        return (_as_reply(effect) if isinstance(effect, Answer) else None), False

    def _work(self, method: str, path: str, headers: Mapping[str, str], body: bytes, fault: Fault | None) -> Reply:
        """The server's reply, with the planned changes to request and reply."""
        effect = None if fault is None else fault.effect
        held = effect.held if isinstance(effect, Delay) and fault is not None and not fault.after else None
        request = _json_object(body)
        if path.partition("?")[0].rpartition("/")[2] not in GENERATING or request is None:
            if held is not None:
                held.hold()
            return self._forward(method, path, headers, body)
        name = str(request.get(NAME_FIELD) or f"task({uuid.uuid4().hex})")
        changes = {**(effect.changes if isinstance(effect, Substitute) else {}), NAME_FIELD: name}
        if held is not None:
            with self._changing:
                self._held_jobs[name] = held
        with self.log.running(name, path, request) as outcome:
            reply = self._forward(method, path, headers, json.dumps(request | changes).encode("utf-8"))
            content = _json_object(reply.body)
            images = content.get("images") if content is not None and reply.status == http.HTTPStatus.OK else None
            outcome |= {"status": reply.status, "images": len(images or ())}
        if not images or content is None:
            return reply
        # As a WebUI: its `parameters` repeat the request, whatever it used.
        content["parameters"] |= {field: request.get(field) for field in changes}
        if isinstance(effect, ShortReply):
            content = drop_images(content, effect.missing)
        return Reply(reply.status, reply.headers, json.dumps(content).encode("utf-8"))

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
    """Reads one request from a connection and writes the proxy's reply."""

    protocol_version = "HTTP/1.0"  # so that each request has its own connection

    def __init__(self, connection: socket.socket, proxy: FaultProxy) -> None:
        self._proxy = proxy
        super().__init__(connection, connection.getpeername(), None)  # type: ignore[arg-type]

    def do_GET(self) -> None:  # named by http.server
        """Answer."""
        self._answer()

    do_POST = do_GET  # noqa: N815 - as above

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as above
        """Print nothing; tests read `FaultProxy.seen`."""

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
    """Accepts connections on a free loopback port; `serve` gets each in its own thread and must close it.

    While it is shut, the port stays taken but nothing listens, so that connections are really refused.
    """

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        # Guards the socket and its accepting thread: tests and the threads that connect both open and shut the port.
        self._changing = threading.RLock()
        self._socket = _bound(0)
        self.port: int = self._socket.getsockname()[1]
        self._accepting: threading.Thread | None = None
        self._wake, self._woken = socket.socketpair()
        self.open()

    def open(self) -> None:
        """Listen; without effect on a port that listens already."""
        with self._changing:
            if self._accepting is not None:
                return
            self._socket.listen(_BACKLOG)
            self._accepting = threading.Thread(target=self._accept, name="sdclient-testing-port", daemon=True)
            self._accepting.start()

    def shut(self) -> None:
        """Refuse connections; those that were accepted go on."""
        with self._changing:
            if self._accepting is not None:
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
            name = "sdclient-testing-request"
            threading.Thread(target=self._serve, args=(connection,), name=name, daemon=True).start()


def _bound(port: int) -> socket.socket:
    """A socket on this port, not yet listening."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((_LOOPBACK, port))
    return bound


class _Connections:
    """Listeners for the connections that this process makes, by port.

    Only the process that makes a connection notices its refusal. Python reports each attempt as an audit event just
    before it is made. An audit hook cannot be removed, so there is only one, added on first use.
    """

    def __init__(self) -> None:
        self._listeners: dict[int, Callable[[], None]] = {}
        self._hooked = False

    def watch(self, port: int, listener: Callable[[], None]) -> None:
        """Call `listener` just before each connection to this port."""
        self._listeners[port] = listener
        if not self._hooked:
            self._hooked = True
            sys.addaudithook(self._on_audit_event)

    def forget(self, port: int) -> None:
        """Stop calling the listener of this port."""
        self._listeners.pop(port, None)

    def _on_audit_event(self, event: str, args: tuple[Any, ...]) -> None:
        if event != "socket.connect" or not self._listeners:
            return
        address = args[1]  # not a tuple in other families, for example a path
        if isinstance(address, tuple) and len(address) > 1 and (listener := self._listeners.get(address[1])):
            listener()


CONNECTIONS = _Connections()


def drop_images(reply: Mapping[str, Any], missing: int) -> dict[str, Any]:
    """The reply without its last images and their infotexts; their seeds stay, as after an interrupt."""
    info = json.loads(reply["info"])
    kept = max(len(reply["images"]) - missing, 0)
    info["infotexts"] = info["infotexts"][:kept]
    return {**reply, "images": reply["images"][:kept], "info": json.dumps(info)}


NAME_FIELD = "force_task_id"
"""The request field with the job's name."""


@dataclass(frozen=True)
class SeenRequest:
    """A request that came."""

    method: str
    path: str
    fault: str | None
    """Name of the planned fault that it met."""


@dataclass(frozen=True)
class Job:
    """One generating request that reached the server."""

    path: str
    body: Mapping[str, Any] = field(repr=False)
    """The request's JSON."""
    doubled: bool
    """Whether the server was already doing the same work when it came."""
    status: int | None = None
    """Status of the server's reply, even if the client never got it; None while the job runs."""
    images: int = 0
    """Number of images the server made."""

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
    """The jobs in the order they came; safe to use from many threads."""

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
        """Log a job from its arrival to its reply; the block fills in `status` and `images`.

        It counts as running until the server calls `ended`, which is before the reply is sent.
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
        """Note that the server no longer works on the job of this name; the first one, if there are several."""
        with self._changing:
            mine = next((running for running in self._running if running.name == name), None)
            self._running = [other for other in self._running if other is not mine]
