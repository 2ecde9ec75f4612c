"""Run the embedded server: in a thread for tests and scripts, or until stopped for the command line."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import uvicorn

from sdcore.web import listen, url_of

from .app import create_app
from .engines import SingleImageEngine
from .jobs import JobBoard, JobWatcher
from .painting import Engine

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 30.0
_GRACE_S = 5


@dataclass(frozen=True)
class RunningServer:
    """A server that answers."""

    url: str
    """Base address without a slash at the end, as `WebUI(url)` wants it."""


class EmbeddedServer(uvicorn.Server):
    """A uvicorn server that says when it is ready, and that does not let a job hold up its end."""

    def __init__(self, config: uvicorn.Config, board: JobBoard) -> None:
        super().__init__(config)
        self.settled = threading.Event()
        """Set when the server is ready, or has ended without getting there."""
        self._board = board

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets=sockets)
        self.settled.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Interrupt all jobs first, so that their clients get an answer."""
        self._board.close()
        await super().shutdown(sockets=sockets)


def make_server(
    bound: socket.socket,
    *,
    engine: SingleImageEngine | Engine | None = None,
    job_ms: float = 0,
    image_ms: float = 0,
    api_auth: str | None = None,
    with_page: bool = False,
    watcher: JobWatcher | None = None,
    loras: Sequence[str] = (),
) -> EmbeddedServer:
    """A server for a bound socket, not started yet; start it with `run(sockets=[bound])`."""
    host, port = bound.getsockname()[:2]
    app = create_app(
        engine=engine,
        job_ms=job_ms,
        image_ms=image_ms,
        api_auth=api_auth,
        host=host,
        port=port,
        with_page=with_page,
        watcher=watcher,
        loras=loras,
    )
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_level="warning",
        access_log=False,
        loop="asyncio",
        ws="none",
        timeout_graceful_shutdown=_GRACE_S,
    )
    return EmbeddedServer(config, app.state.board)


@contextmanager
def running_server(
    *,
    engine: SingleImageEngine | Engine | None = None,
    job_ms: float = 0,
    image_ms: float = 0,
    api_auth: str | None = None,
    with_page: bool = False,
    watcher: JobWatcher | None = None,
    loras: Sequence[str] = (),
) -> Iterator[RunningServer]:
    """Run the server on a free loopback port in a thread of this process, for as long as the block lasts.

    Args:
        engine: makes the pixels; None is the classical engine.
        job_ms: what a batch takes at least, in ms.
        image_ms: what each of its images adds to that.
        api_auth: "user:password", or None for no authentication.
        with_page: answer `/internal/*` too, as a WebUI that was started without `--nowebui`.
        watcher: is told of each generating job.
        loras: names to list and to tell of as used; they change no pixel.

    Raises:
        RuntimeError: it did not start; the thread's own traceback says why.
    """
    bound = listen("127.0.0.1", 0)
    server = make_server(
        bound,
        engine=engine,
        job_ms=job_ms,
        image_ms=image_ms,
        api_auth=api_auth,
        with_page=with_page,
        watcher=watcher,
        loras=loras,
    )

    def serve() -> None:
        try:
            server.run(sockets=[bound])
        finally:
            server.settled.set()

    thread = threading.Thread(target=serve, name="sdclient-serve", daemon=True)
    thread.start()
    try:
        if not server.settled.wait(_START_TIMEOUT_S) or not server.started:
            raise RuntimeError(f"the embedded server did not start at {url_of(bound)}")
        yield RunningServer(url_of(bound))
    finally:
        server.should_exit = True
        thread.join(_STOP_TIMEOUT_S)
        bound.close()


def run_until_stopped(
    bound: socket.socket,
    *,
    engine: SingleImageEngine | Engine | None = None,
    job_ms: float = 0,
    image_ms: float = 0,
    api_auth: str | None = None,
    with_page: bool = False,
) -> None:
    """Serve on a bound socket in this thread until Ctrl-C or a termination signal."""
    with suppress(KeyboardInterrupt):
        server = make_server(
            bound, engine=engine, job_ms=job_ms, image_ms=image_ms, api_auth=api_auth, with_page=with_page
        )
        server.run(sockets=[bound])
