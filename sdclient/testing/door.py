"""A listening socket that can be shut and opened again on the same port, and who connects meanwhile."""

from __future__ import annotations

import select
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

_BACKLOG = 128
_LOOPBACK = "127.0.0.1"


class ReopenablePort:
    """Accepts connections on a free loopback port and hands each to a thread of its own.

    While it is shut the port stays taken but nothing listens, so that connections are truly refused.

    Args:
        serve: called with each connection, which it must close.
    """

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._changing = threading.RLock()
        self._socket = _bound(0)
        self.port: int = self._socket.getsockname()[1]
        self._accepting: threading.Thread | None = None
        self._wake, self._woken = socket.socketpair()
        self.open()

    def open(self) -> None:
        """Listen; a port that listens already goes on."""
        with self._changing:
            if self._accepting is not None:
                return
            self._socket.listen(_BACKLOG)
            self._accepting = threading.Thread(target=self._accept, name="sdclient-testing-port", daemon=True)
            self._accepting.start()

    def shut(self) -> None:
        """Refuse connections; those that were accepted go on."""
        with self._changing:
            if self._accepting is None:
                return
            self._stop_accepting()
            self._socket = _bound(self.port)

    def remove(self) -> None:
        """Give the port back."""
        with self._changing:
            if self._accepting is not None:
                self._stop_accepting()
            self._socket.close()
            self._wake.close()
            self._woken.close()

    def _stop_accepting(self) -> None:
        accepting, self._accepting = self._accepting, None
        self._wake.send(b"x")
        if accepting is not None:
            accepting.join()
        self._socket.close()

    def _accept(self) -> None:
        while True:
            ready, _, _ = select.select([self._socket, self._woken], [], [])
            if self._woken in ready:
                self._woken.recv(1)
                return
            connection, _ = self._socket.accept()
            threading.Thread(
                target=self._serve, args=(connection,), name="sdclient-testing-request", daemon=True
            ).start()


def _bound(port: int) -> socket.socket:
    """A socket on this port that does not listen yet."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((_LOOPBACK, port))
    return bound


class _Connections:
    """Who wants to know of connections that this process makes, by port.

    Nobody sees a refused connection but the one who makes it. Python reports each attempt as an audit event just
    before it is made; an audit hook stays for the rest of the process, so there is one, put there on first need.
    """

    def __init__(self) -> None:
        self._listeners: dict[int, Callable[[], None]] = {}
        self._hooked = False

    def watch(self, port: int, listener: Callable[[], None]) -> None:
        """Call `listener` just before each connection to this port."""
        self._listeners[port] = listener
        if not self._hooked:
            self._hooked = True
            sys.addaudithook(self._hear)

    def forget(self, port: int) -> None:
        """No longer."""
        self._listeners.pop(port, None)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if event != "socket.connect" or not self._listeners:
            return
        address = args[1]
        if not isinstance(address, tuple) or len(address) < 2:
            return  # of another family, a path for example
        listener = self._listeners.get(address[1])
        if listener is not None:
            listener()


CONNECTIONS = _Connections()
