"""The server under test: a real one with --webui-url, else the embedded one; its options are put back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sdclient import Img2ImgRequest, Timeouts, WebUI
from sdclient._http import parse_address
from sdclient.errors import NotFound
from sdclient.serve.background import running_server

EMBEDDED = {
    "with its page and a password": {"with_page": True, "api_auth": "live:secret", "job_ms": 30},
    "without its page": {"with_page": False, "job_ms": 30},
}
STRENGTH = 0.5
_T = TypeVar("_T")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("live", "the live suite (tests/live)")
    group.addoption("--webui-url", metavar="URL", help="run the live suite against this WebUI")
    group.addoption("--webui-auth", metavar="NAME:PASSWORD", help="its --api-auth; or set SDCLIENT_AUTH")
    group.addoption("--live-size", type=int, metavar="PX", help="side of the pictures it makes (default: 128)")
    group.addoption(
        "--live-wait", type=float, metavar="S", help="wait so long for the server to be ready (default: 600)"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test against the one real server, or against each kind of embedded one."""
    if "served" in metafunc.fixturenames:
        url = _option(metafunc.config, "webui_url")
        served, ids = ([url], ["real"]) if url else (list(EMBEDDED), None)  # an address may hold a password
        metafunc.parametrize("served", served, ids=ids, indirect=True, scope="session")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what was skipped and why."""
    url = _option(config, "webui_url")
    if not url:
        return
    stats = terminalreporter.stats
    terminalreporter.section(f"live suite against {parse_address(url).url}")
    counts = [f"{len(stats.get(kind, []))} {kind}" for kind in ("passed", "failed", "error", "skipped")]
    terminalreporter.write_line(", ".join(counts))
    for report in stats.get("skipped", []):
        reason = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
        terminalreporter.write_line(f"skipped {report.nodeid.rpartition('::')[2]}: {reason}")


def _option(config: pytest.Config, name: str) -> Any:
    """An option of this suite; None where pytest did not load this file early enough to know it."""
    return config.getoption(name, None)


@pytest.fixture(scope="session")
def credentials(pytestconfig: pytest.Config) -> tuple[str, str] | None:
    """Name and password for a real server."""
    given = _option(pytestconfig, "webui_auth") or os.environ.get("SDCLIENT_AUTH")
    if not given:
        return None
    name, colon, password = given.partition(":")
    if not colon:
        raise pytest.UsageError("--webui-auth: no colon in it; expected NAME:PASSWORD")
    return name, password


@pytest.fixture(scope="session")
def served(
    request: pytest.FixtureRequest, pytestconfig: pytest.Config, credentials: tuple[str, str] | None
) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """Address and credentials of the server under test."""
    if request.param not in EMBEDDED:
        if os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1") != "1":
            raise pytest.UsageError("--webui-url: run without -n; two tests at once would disturb each other")
        address = parse_address(request.param, credentials)
        yield address.url, address.auth
        return
    options: dict[str, Any] = EMBEDDED[request.param]
    auth = options.get("api_auth")
    with running_server(**options) as server:
        yield server.url, tuple(auth.split(":")) if auth else None


class Live:
    """The server under test and what the tests share."""

    def __init__(self, url: str, auth: tuple[str, str] | None, size_px: int) -> None:
        self.url = url
        self.auth = auth
        self.size_px = size_px
        self.webui = WebUI(url, auth=auth, timeouts=Timeouts(generate_s=900))
        self.before: dict[str, Any] = {}
        self._touched: set[str] = set()

    def options(self) -> dict[str, Any]:
        """All options, those unknown to the client too."""
        return dict(self.webui.call("GET", "/sdapi/v1/options"))

    def begin(self, wait_s: float) -> None:
        """Wait for the server, remember its options, and have pictures sent without loss."""
        self.webui.wait_until_ready(timeout_s=wait_s)
        self.before = self.options()
        if str(self.before.get("samples_format", "png")).lower() != "png":
            self.change({"samples_format": "png"})

    def change(self, options: dict[str, Any]) -> None:
        """Set options that `end` puts back."""
        self._touched |= set(options)
        self.webui.set_options(options)

    def end(self) -> None:
        """Put back every option that a test touched; fails when the server does not keep them."""
        former = {name: self.before[name] for name in self._touched if name in self.before}
        try:
            if former:
                self.webui.set_options(former)
                now = self.options()
                lost = {name: now.get(name) for name, value in former.items() if now.get(name) != value}
                assert not lost, f"options not put back: {lost}; they were {former}"
        finally:
            self.webui.close()

    @contextmanager
    def changed(self, **options: Any) -> Iterator[None]:
        """Other options for as long as the block lasts, also when it fails."""
        former = {name: self.options()[name] for name in options}
        self.change(options)
        try:
            yield
        finally:
            self.webui.set_options(former)

    def request(self, **fields: Any) -> Img2ImgRequest:
        """A small img2img request."""
        size = {"width": self.size_px, "height": self.size_px}
        return Img2ImgRequest.model_validate(
            {
                "init_images": [picture(self.size_px)],
                "prompt": "scratched metal surface",
                "denoising_strength": STRENGTH,
                "steps": 4,
                "seed": 1234,
                **size,
                **fields,
            }
        )

    def skip_if_busy(self) -> None:
        """Skip where somebody else's job runs: the test would take it for its own."""
        state = self.webui.progress().state
        if state.job or state.job_count > 0:
            pytest.skip(f"the server is busy with another job ({state.job!r})")


@pytest.fixture(scope="session")
def live(served: tuple[str, tuple[str, str] | None], pytestconfig: pytest.Config) -> Iterator[Live]:
    url, auth = served
    embedded = not _option(pytestconfig, "webui_url")
    server = Live(url, auth, _option(pytestconfig, "live_size") or (64 if embedded else 128))
    try:
        wait_s = _option(pytestconfig, "live_wait")
        server.begin(600 if wait_s is None else wait_s)
        yield server
    finally:
        server.end()


def picture(size_px: int) -> Image.Image:
    """A board: a textured ground, a trace and a dark spot."""
    ground = np.random.default_rng(0).normal(120, 10, (size_px, size_px, 3))
    image = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, size_px // 3, size_px, size_px // 2), fill=(190, 140, 60))
    draw.ellipse((size_px // 2, size_px // 2, size_px * 3 // 4, size_px * 3 // 4), fill=(30, 25, 20))
    return image


def if_there(what: str, call: Callable[[], _T]) -> _T:
    """The answer to a call that not every server has; skips where it is missing."""
    try:
        return call()
    except NotFound:
        pytest.skip(f"this server has no {what}")
