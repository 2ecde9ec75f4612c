"""`WebUIServer`, `serve_webui` and the fixture `webui_server`."""

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
"""Three tries, as the client's default, but without waits."""


class _Watcher:
    """Reports the server's jobs to the proxy, which is made after the server."""

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
        """The planned faults."""
        self.proxy = FaultProxy(upstream_port, self.faults)
        """Gets the jobs of the embedded server."""
        self._port = ReopenablePort(self.proxy.serve)
        self.url: str = f"http://127.0.0.1:{self._port.port}"
        """Address for `WebUI(url)` or for the code under test."""

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The generating requests that reached the server, in the order they came."""
        return self.proxy.log.jobs

    @property
    def requests(self) -> tuple[SeenRequest, ...]:
        """All requests that came, in order, with the faults they met; without refused connections."""
        return self.proxy.seen

    def assert_no_job_doubled(self) -> None:
        """Check that no job was sent while the server was doing the same work.

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
        """Refuse all connections during the block, also of other processes; not counted as a fault."""
        self._port.shut()
        try:
            yield
        finally:
            self._port.open()

    def close(self) -> None:
        """Release the held requests and stop listening."""
        self.faults.release_all()
        CONNECTIONS.forget(self._port.port)
        self._port.remove()

    def _refuse(self, times: int) -> None:
        self._refusals_left += times
        self._port.shut()
        CONNECTIONS.watch(self._port.port, self._before_connection)

    def _stop_refusing(self) -> None:
        self._refusals_left = 0
        CONNECTIONS.forget(self._port.port)
        self._port.open()

    def _before_connection(self) -> None:
        """Count a refusal, or listen again: the attempt after the last refusal ends the refusing."""
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
    """Run the embedded server in this process during the block.

    Args:
        with_page: answer `/internal/*` too, like a WebUI without `--nowebui`.
        job_ms: shortest time of a batch, in ms.
        api_auth: "user:password" that every call must send; None allows every call.
        loras: names to list and to report as used; they change no pixel.

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
