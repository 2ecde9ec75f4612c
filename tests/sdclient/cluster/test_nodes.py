"""The way into a cluster: wrong addresses and silent ports are told in one line, and in time."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest
import ray
from click.testing import CliRunner

from sdclient.cli import cli
from sdclient.cluster import nodes
from sdclient.cluster.nodes import check_address, connected
from sdcore.errors import MissingExtra, SettingsError


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this process were in no cluster, whatever other tests have begun."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


@pytest.mark.parametrize("address", ["auto", "192.168.1.10:6379", "gpu-pc:6379", "[::1]:6379"])
def test_what_an_address_may_be(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize(
    "address", ["", "local", "gpu-pc", "gpu-pc:", "gpu-pc:0", "gpu-pc:65536", "http://gpu-pc:6379"]
)
def test_other_words_are_no_address(address: str) -> None:
    with pytest.raises(SettingsError, match=r"expected auto, or the head's HOST:PORT"):
        check_address(address)


def test_rays_proxy_is_refused_with_the_way_round_it() -> None:
    with pytest.raises(SettingsError, match=r"'ray start --address HOST:6379 --num-cpus 0', and give --ray auto$"):
        check_address("ray://gpu-pc:10001")


@pytest.mark.usefixtures("outside")
def test_a_port_where_nothing_listens_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(SettingsError, match=rf"--ray 127.0.0.1:{port}: nothing answers .*'ray start --head'"):
        connected(f"127.0.0.1:{port}").__enter__()


@pytest.mark.usefixtures("outside")
def test_a_port_of_something_else_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "ANSWER_S", 1.5)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(SettingsError, match=r"no Ray cluster answers within 1\.5 s; check that it is the port of"):
            connected(address).__enter__()


@pytest.mark.usefixtures("outside")
def test_rays_own_reason_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_TRY", "raise SystemExit('Could not find any running Ray instance.')")
    with pytest.raises(SettingsError, match=r"auto: cannot connect \(Could not find any running Ray"):
        connected("auto").__enter__()


def test_without_the_extra_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"'--ray' needs the extra 'ray': pip install \"sd-defects\[ray\]\""):
        connected("auto").__enter__()


def test_a_connection_that_is_there_is_used_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    there = ModuleType("ray")
    monkeypatch.setattr(there, "is_initialized", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "ray", there)
    with connected("auto"):
        pass


def test_rays_handlers_of_signals_do_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def take_over(*_: object, **__: object) -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(nodes, "_try_out", lambda _: None)
    monkeypatch.setattr(ray, "init", take_over)
    monkeypatch.setattr(ray, "shutdown", take_over)
    former = signal.getsignal(signal.SIGTERM)
    with connected("auto"):
        assert signal.getsignal(signal.SIGTERM) is former
    assert signal.getsignal(signal.SIGTERM) is former


def test_another_thread_connects_without_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(nodes, "_try_out", lambda _: None)
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    inside: list[bool] = []

    def work() -> None:
        with connected("auto"):
            inside.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [True]


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--servers", "servers.toml"], "with --ray, give --url"), (["--dry-run"], "give its --url without --ray")],
)
def test_what_does_not_go_together(options: list[str], words: str, tmp_path: Path) -> None:
    asked = ["generate", str(tmp_path), str(tmp_path / "out"), "--per-source", "1", "--ray", "auto", *options]
    result = CliRunner().invoke(cli, asked)
    assert result.exit_code == 2
    assert words in result.output
