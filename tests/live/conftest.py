"""The server under test: a real one with --webui-url, else the embedded one; its options are put back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from sdclient.client.transport import parse_address
from sdclient.serve.app import EmbeddedServerOptions, running_server
from tests.support.live import Live

EMBEDDED = {
    "with its page and a password": {"with_page": True, "api_auth": "live:secret", "job_ms": 30},
    "without its page": {"with_page": False, "job_ms": 30},
}


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
    with running_server(EmbeddedServerOptions(**options)) as server:
        yield server.url, tuple(auth.split(":")) if auth else None


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
