"""WebUIServer and the fixture."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from ..client.transport import RetryPolicy, Timeouts
from ..client.webui import WebUI
from ..errors import MissingExtra
from .fault_plan import FaultPlan
from .fault_proxy import CONNECTIONS, FaultProxy, Job, ReopenablePort, SeenRequest

AT_ONCE = RetryPolicy(first_wait_s=0)
"""Tries three times, as the client does by itself, but without waiting in between."""


class _Watcher:
    """Tells the proxy of the server's jobs; the server has to be there before its proxy."""

    proxy: FaultProxy | None = None

    def job_began(self, task: str) -> None:
        if self.proxy is not None:
            self.proxy.job_began(task)

    def job_ended(self, task: str) -> None:
        if self.proxy is not None:
            self.proxy.job_ended(task)


class WebUIServer:
    """A WebUI in this process. Made by `serve_webui` and by the fixture `webui_server`."""

    def __init__(self, upstream_port: int, api_auth: str | None) -> None:
        self._auth = tuple(api_auth.split(":", 1)) if api_auth else None
        self._refusals_left = 0
        self._counting = threading.Lock()
        self.faults: FaultPlan = FaultPlan(self._refuse, self._stop_refusing)
        """What shall go wrong."""
        self.proxy = FaultProxy(upstream_port, self.faults)
        """For the embedded server, which tells it of its jobs."""
        self._port = ReopenablePort(self.proxy.serve)
        self.url: str = f"http://127.0.0.1:{self._port.port}"
        """Address for `WebUI(url)` or for the code under test."""

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The generating requests that reached the server, in the order they came."""
        return self.proxy.log.jobs

    @property
    def requests(self) -> tuple[SeenRequest, ...]:
        """All requests that came, in order, and the faults they met; refused connections are not among them."""
        return self.proxy.seen

    def assert_no_job_doubled(self) -> None:
        """No job was sent while the server was doing the same work.

        Raises:
            AssertionError: names the jobs.
        """
        doubled = [job for job in self.jobs if job.doubled]
        if doubled:
            raise AssertionError(f"sent while the same work was being done: {doubled}")

    def client(self, *, timeouts: Timeouts | None = None, retries: RetryPolicy = AT_ONCE) -> WebUI:
        """A client of this server with its password; close it, or use it in a `with` block."""
        auth = None if self._auth is None else (self._auth[0], self._auth[1])
        return WebUI(self.url, auth=auth, timeouts=timeouts, retries=retries)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Nothing listens at the address for as long as the block lasts, for any process; not counted as a fault."""
        self._port.shut()
        try:
            yield
        finally:
            self._port.open()

    def close(self) -> None:
        """Release what is held up and stop listening."""
        self.faults.release_all()
        CONNECTIONS.forget(self._port.port)
        self._port.remove()

    def _refuse(self, times: int) -> None:
        self._refusals_left += times
        self._port.shut()
        CONNECTIONS.watch(self._port.port, self._knocked)

    def _stop_refusing(self) -> None:
        self._refusals_left = 0
        CONNECTIONS.forget(self._port.port)
        self._port.open()

    def _knocked(self) -> None:
        """This process is about to connect: the last refusal is over when the next attempt comes."""
        with self._counting:
            refused = self._refusals_left > 0
            self._refusals_left -= refused
        if refused:
            self.faults.count_refusal()
        else:
            self._stop_refusing()


@contextmanager
def serve_webui(
    *, with_page: bool = True, job_ms: float = 0, api_auth: str | None = None, loras: Sequence[str] = ()
) -> Iterator[WebUIServer]:
    """Run the embedded server in this process for as long as the block lasts.

    Args:
        with_page: answer `/internal/*` too, as a WebUI does that was started without `--nowebui`.
        job_ms: what a batch takes at least, in ms.
        api_auth: "user:password" that every call must carry; None lets everybody in.
        loras: names to list and to tell of as used, as a WebUI does; they change no pixel.

    Raises:
        MissingExtra: the extra `serve` is not installed.
    """
    try:
        from ..serve.app import EmbeddedServerOptions, running_server
    except ModuleNotFoundError as error:
        raise MissingExtra("sdclient.testing", "serve") from error
    watcher = _Watcher()
    options = EmbeddedServerOptions(with_page=with_page, job_ms=job_ms, api_auth=api_auth, watcher=watcher, loras=loras)
    with running_server(options) as upstream:
        port = urlsplit(upstream.url).port
        assert port is not None  # noqa: S101 - it was just started on one
        server = WebUIServer(port, api_auth)
        watcher.proxy = server.proxy
        try:
            yield server
        finally:
            server.close()


@pytest.fixture
def webui_server() -> Iterator[WebUIServer]:
    """A fresh WebUI for each test, in this process; see `sdclient.testing.WebUIServer`."""
    with serve_webui() as server:
        yield server
