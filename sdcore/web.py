"""A socket to serve on, its address, and a server that reports when it is ready."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .errors import SettingsError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_GRACE_S = 2
_START_TIMEOUT_S = _STOP_TIMEOUT_S = 30.0


def listen(host: str, port: int, *, command: str = "sdclient serve", usual_port: int = 7861) -> socket.socket:
    """A socket bound to the address; port 0 takes a free one.

    The error names the `command` that serves and advises `usual_port`.

    Raises:
        SettingsError: the address cannot be used, above all because another program has the port.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise SettingsError(f"--host {host}: no such address ({error.strerror}); try 127.0.0.1") from error
    bound = socket.socket(family, kind, protocol)
    try:
        # On Windows this option would let two servers share one port.
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"port {port} on {host} is taken by another program (another '{command}'?); "
                f"stop that one, or take another port: --port {port + 1}"
            ) from error
        raise SettingsError(
            f"cannot listen on {host} port {port}: {error.strerror}; try 127.0.0.1 and --port {usual_port}"
        ) from error
    return bound


def url_of(bound: socket.socket) -> str:
    """The address for a client on this machine."""
    host, port = bound.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared with, not bound to
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class ReadyServer:
    """Serves an application until it is stopped; running requests then have `grace_s` whole seconds to end.

    Attributes:
        when_ready: called once, in the serving thread, when it answers; set it before `run`.
        when_stopping: called once, in the serving thread, before it waits for requests that are still running.
    """

    def __init__(self, app: ASGIApp, *, grace_s: int = _GRACE_S, server_header: bool = False) -> None:
        import uvicorn

        self.when_ready: Callable[[], object] = lambda: None
        self.when_stopping: Callable[[], object] = lambda: None
        own = self

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[Any] | None = None) -> None:
                await super().startup(sockets=sockets)
                own.when_ready()

            async def shutdown(self, sockets: list[Any] | None = None) -> None:
                own.when_stopping()
                await super().shutdown(sockets=sockets)

        config = uvicorn.Config(
            app,
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=server_header,
            loop="asyncio",
            ws="none",
            timeout_graceful_shutdown=grace_s,
        )
        self._server = Server(config)

    def run(self, bound: socket.socket) -> None:
        """Serve on a bound socket, in this thread, until `stop`, Ctrl-C or a termination signal."""
        self._server.run(sockets=[bound])

    def stop(self) -> None:
        """Let `run` end soon; may be called from another thread."""
        # uvicorn reads this flag ten times a second.
        self._server.should_exit = True

    @contextmanager
    def in_background(self, bound: socket.socket, name: str) -> Iterator[None]:
        """Serve on a bound socket in a thread of this name, for as long as the block lasts.

        Raises:
            RuntimeError: it did not start; the thread's own traceback says why.
        """
        settled = threading.Event()  # it answers, or `run` has ended without getting there
        self.when_ready = settled.set

        def serve() -> None:
            try:
                self.run(bound)
            finally:
                settled.set()

        thread = threading.Thread(target=serve, name=name, daemon=True)
        thread.start()
        try:
            if not settled.wait(_START_TIMEOUT_S) or not self._server.started:
                raise RuntimeError(f"{name} did not start at {url_of(bound)}")
            yield
        finally:
            self.stop()
            thread.join(_STOP_TIMEOUT_S)
