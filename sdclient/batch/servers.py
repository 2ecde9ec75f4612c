"""The servers of a run: how they are named in a file, and how each is doing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .._http import Timeouts
from ..client import WebUI
from ..errors import SettingsError, WebUIError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FIRST_PROBE_S = 1.0
LONGEST_PROBE_S = 30.0


@dataclass(frozen=True)
class Server:
    """A server to work with."""

    name: str
    webui: WebUI
    weight: float = 1.0
    """Its share of requests kept waiting; a fast server takes more work anyway."""


class _ServerEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str
    name: str | None = None
    weight: float = Field(default=1.0, gt=0, le=16)
    user: str | None = None
    password: str | None = None


def load_servers(path: Path, *, timeouts: Timeouts | None = None) -> list[Server]:
    """Read `servers.toml`: one `[[server]]` table each, with `url` and perhaps `name`, `weight`, `user`, `password`.

    Raises:
        SettingsError: missing, not TOML, an unknown or missing key, or two servers of one name.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    tables = content.get("server")
    if not isinstance(tables, list) or not tables or set(content) != {"server"}:
        raise SettingsError(f"{path}: expected one [[server]] table a server, each with a url")
    servers = [_server(path, number, table, timeouts) for number, table in enumerate(tables, 1)]
    names = [server.name for server in servers]
    if len(set(names)) < len(names):
        raise SettingsError(f"{path}: two servers are called {max(names, key=names.count)!r}; name each once")
    return servers


def _server(path: Path, number: int, table: Any, timeouts: Timeouts | None) -> Server:
    try:
        entry = _ServerEntry.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: server {number}: {key}: {first['msg']}") from error
    auth = (entry.user, entry.password or "") if entry.user is not None else None
    webui = WebUI(entry.url, auth=auth, timeouts=timeouts)
    return Server(entry.name or webui.url, webui, entry.weight)


@dataclass(frozen=True)
class ServerStatus:
    """One server's row in the table."""

    name: str
    state: str
    """"working"; "starting"; or "away", "lost" or "left out", with the reason."""
    made: int
    """Images made by it in this run."""
    images_per_s: float
    """Since it began."""
    waiting: int
    """Requests at the server."""
    errors: int


class ServerHealth:
    """Whether one server can be asked, shared by the threads that ask it.

    Args:
        name: what it is called.
        probe: a call that a server answers which is back; a `WebUIError` says that it is not.
        clock: seconds, monotonic.
    """

    def __init__(self, name: str, probe: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._ask = probe
        self._clock = clock
        self._changed = threading.Condition()
        self._begun = clock()
        self._away: WebUIError | None = None
        self._is_lost = False
        self._probe_s = FIRST_PROBE_S
        self._probing = False
        self._made = self._errors = self._waiting = 0

    @property
    def away(self) -> WebUIError | None:
        """Why it was set aside; None while it works."""
        with self._changed:
            return self._away

    @property
    def is_lost(self) -> bool:
        """Whether it does not come back."""
        with self._changed:
            return self._is_lost

    def asked(self) -> None:
        """A request is on its way."""
        with self._changed:
            self._waiting += 1

    def answered(self, made: int) -> None:
        """A request is over, with this many images."""
        with self._changed:
            self._waiting -= 1
            self._made += made
            self._errors += made == 0

    def set_aside(self, error: WebUIError) -> None:
        """Do not ask it again before a probe has succeeded."""
        with self._changed:
            self._away = error

    def lose(self, error: WebUIError) -> None:
        """It does not come back."""
        with self._changed:
            self._away = error
            self._is_lost = True
            self._changed.notify_all()

    def wait_until_back(self, stopped: threading.Event) -> None:
        """Return at once if it works or is lost; else probe it, one thread for all, until it is back or all stops."""
        while not stopped.is_set():
            with self._changed:
                if self._away is None or self._is_lost:
                    return
                if self._probing:
                    self._changed.wait(timeout=FIRST_PROBE_S)
                    continue
                self._probing = True
                pause_s = self._probe_s
            stopped.wait(pause_s)
            back = not stopped.is_set() and self._probe()
            with self._changed:
                self._probing = False
                self._probe_s = FIRST_PROBE_S if back else min(2 * self._probe_s, LONGEST_PROBE_S)
                if back and not self._is_lost:
                    self._away = None
                self._changed.notify_all()

    def _probe(self) -> bool:
        try:
            self._ask()
        except WebUIError:
            return False
        return True

    def status(self) -> ServerStatus:
        """Its row in the table."""
        with self._changed:
            seconds = max(self._clock() - self._begun, 1e-9)
            gone = "lost" if self._is_lost else "away"
            state = "working" if self._away is None else f"{gone}: {self._away}"
            return ServerStatus(self.name, state, self._made, self._made / seconds, self._waiting, self._errors)
