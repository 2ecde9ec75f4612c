"""The listening socket: shut and open on one port, and who is told of connections."""

from __future__ import annotations

import socket
import sys

import pytest

from sdclient.testing import serve_webui
from sdclient.testing.fault_plan import failure
from sdclient.testing.fault_proxy import ReopenablePort, _Connections
from sdcore.errors import MissingExtra


def connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=10).close()


def test_a_door_keeps_its_port_while_shut_and_opening_or_shutting_twice_is_once() -> None:
    port = ReopenablePort(socket.socket.close)
    connect(port.port)
    port.shut()
    port.shut()
    with pytest.raises(ConnectionRefusedError):
        connect(port.port)
    with socket.socket() as other, pytest.raises(OSError, match=r"in use|permitted"):
        other.bind(("127.0.0.1", port.port))
    port.open()
    port.open()
    connect(port.port)
    port.shut()
    port.remove()
    with pytest.raises(ConnectionRefusedError):
        connect(port.port)


def test_only_connections_to_a_watched_port_are_told() -> None:
    """Called by hand: what runs in an audit hook is not seen by coverage."""
    connections, told = _Connections(), []
    connections._hear("socket.connect", (None, ("127.0.0.1", 80)))
    connections.watch(80, lambda: told.append(80))
    connections._hear("socket.bind", (None, ("127.0.0.1", 80)))
    connections._hear("socket.connect", (None, "/run/a.socket"))
    connections._hear("socket.connect", (None, ("127.0.0.1", 81)))
    assert told == []
    connections._hear("socket.connect", (None, ("::1", 80, 0, 0)))
    connections.forget(80)
    connections.forget(80)
    connections._hear("socket.connect", (None, ("127.0.0.1", 80)))
    assert told == [80]


def test_a_status_without_a_name_has_words_all_the_same() -> None:
    assert failure(599)["detail"] == "planned by the test"
    assert failure(503)["detail"] == "Service Unavailable"


def test_without_the_web_framework_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sdclient.serve.app", None)
    with pytest.raises(MissingExtra, match=r"sdclient\.testing.*sd-defects\[serve\]"), serve_webui():
        pass
