"""The listening socket: shut and open on one port, and who is told of connections."""

from __future__ import annotations

import socket
import sys

import pytest

from sdclient.errors import MissingExtra
from sdclient.testing import serve_webui, words
from sdclient.testing.door import Door, _Knocks


def connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=10).close()


def test_a_door_keeps_its_port_while_shut_and_opening_or_shutting_twice_is_once() -> None:
    door = Door(socket.socket.close)
    connect(door.port)
    door.shut()
    door.shut()
    with pytest.raises(ConnectionRefusedError):
        connect(door.port)
    with socket.socket() as other, pytest.raises(OSError, match=r"in use|permitted"):
        other.bind(("127.0.0.1", door.port))
    door.open()
    door.open()
    connect(door.port)
    door.shut()
    door.remove()
    with pytest.raises(ConnectionRefusedError):
        connect(door.port)


def test_only_connections_to_a_watched_port_are_told() -> None:
    """Called by hand: what runs in an audit hook is not seen by coverage."""
    knocks, told = _Knocks(), []
    knocks._hear("socket.connect", (None, ("127.0.0.1", 80)))
    knocks.watch(80, lambda: told.append(80))
    knocks._hear("socket.bind", (None, ("127.0.0.1", 80)))
    knocks._hear("socket.connect", (None, "/run/a.socket"))
    knocks._hear("socket.connect", (None, ("127.0.0.1", 81)))
    assert told == []
    knocks._hear("socket.connect", (None, ("::1", 80, 0, 0)))
    knocks.forget(80)
    knocks.forget(80)
    knocks._hear("socket.connect", (None, ("127.0.0.1", 80)))
    assert told == [80]


def test_a_status_without_a_name_has_words_all_the_same() -> None:
    assert words.failure(599)["detail"] == "planned by the test"
    assert words.failure(503)["detail"] == "Service Unavailable"


def test_without_the_web_framework_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sdclient.serve.background", None)
    with pytest.raises(MissingExtra, match=r"sdclient\.testing.*sd-defects\[serve\]"), serve_webui():
        pass
