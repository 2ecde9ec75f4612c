from __future__ import annotations

import socket
import threading

import pytest
import requests

from sdclient.serve.app import EmbeddedServer, running_server
from sdcore.errors import SettingsError
from sdcore.web import listen, url_of


def test_two_servers_run_side_by_side_and_stop() -> None:
    before = set(threading.enumerate())  # another test's server may be running
    with running_server() as one, running_server() as two:
        assert one.url != two.url
        for server in (one, two):
            assert requests.get(f"{server.url}/sdapi/v1/progress", timeout=10).status_code == 200
        urls = one.url, two.url
    for url in urls:
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{url}/sdapi/v1/progress", timeout=10)
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name == "sdclient-serve"]


def test_it_stops_when_the_block_fails() -> None:
    with pytest.raises(KeyError), running_server() as server:
        raise KeyError
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=10)


def test_a_taken_port_is_named_with_the_next_one_to_try() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"port {port} .*taken.*--port {port + 1}"):
            listen("127.0.0.1", port)


def test_an_unknown_host_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"--host no\.such\.host\.invalid"):
        listen("no.such.host.invalid", 0)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", 7861)


def test_an_open_address_is_reached_over_loopback() -> None:
    with listen("0.0.0.0", 0) as bound:
        assert url_of(bound) == f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_six_gets_brackets() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        bound = listen("::1", 0)
    except SettingsError:
        pytest.skip("no IPv6 loopback here")
    with bound:
        assert url_of(bound).startswith("http://[::1]:")


def test_a_server_that_does_not_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmbeddedServer, "run", lambda self, sockets: None)
    with pytest.raises(RuntimeError, match="did not start"), running_server():
        pass
