"""The WebUIs of a cluster: found on its nodes, checked there, and found anew when a node joins or comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError

from .._http import parse_address
from ..batch.crew import Orders
from ..batch.failures import Meaning, meaning_of
from ..batch.server import CheckedServer, ServerLook, agree
from ..errors import SDClientError, ServerUnreachable, SettingsError, WebUIError
from .crew import RayCrew
from .nodes import Hailed, alive_nodes, hail, on_nodes, refuse_other_version
from .wire import Place
from .worker import look

_Key = tuple[str, str]


@dataclass(frozen=True)
class _Wanted:
    """What every WebUI is checked for."""

    samplers: Sequence[tuple[str, str | None]]
    loras: Sequence[str]
    allow_mixed: bool


class RayFleet:
    """The WebUIs on the nodes of the cluster that this process is connected to; a `Fleet`.

    Args:
        urls: where a WebUI may be on each node, as the node reaches it; none for what the node's SDCLIENT_URL says (one
            address, or several with commas), else the usual one.
        auth: name and password of the WebUIs; None for what each node's SDCLIENT_AUTH says.
        tell: hears of nodes that are left out.

    Raises:
        SettingsError: an address that is not one of the node's own, for all nodes would ask that one server.
    """

    def __init__(
        self,
        urls: Sequence[str] = (),
        *,
        auth: tuple[str, str] | None = None,
        tell: Callable[[str], object] = lambda words: None,
    ) -> None:
        for url in urls:
            address = parse_address(url)
            if not address.is_loopback:
                raise SettingsError(
                    f"--url {address.url} with --ray: every node would ask that one server; expected a loopback "
                    "address, as http://127.0.0.1:7860, that is each node's own"
                )
        self._urls = tuple(urls)
        self._auth = auth
        self._tell = tell
        self._wanted: _Wanted | None = None
        self._first: ServerLook | None = None
        self._taken: dict[_Key, Place] = {}
        self._refused: dict[str, str] = {}
        self._complete: set[str] = set()
        self._guard = threading.Lock()

    @property
    def places(self) -> list[Place]:
        """The WebUIs in use."""
        with self._guard:
            return list(self._taken.values())

    @property
    def refused(self) -> dict[str, str]:
        """Why a WebUI that was found while the run goes on is not used, by its name."""
        with self._guard:
            return dict(self._refused)

    def check(
        self, samplers: Sequence[tuple[str, str | None]], loras: Sequence[str], *, allow_mixed: bool
    ) -> CheckedServer:
        """Find the WebUIs and ask each, from its node, what it makes of a run's settings.

        Nodes where none listens, or one that is not ready, are left out and told of.

        Raises:
            ServerUnreachable: no node has a WebUI.
            WebUIError: one of them would spoil the run.
            SettingsError: they differ, and `allow_mixed` is not given; or a node has another version of this software.
        """
        self._wanted = _Wanted(tuple(samplers), tuple(loras), allow_mixed)
        hailed = hail(alive_nodes(), self._urls)
        found = self._places_of(hailed)
        looks = []
        taken = {}
        for place, seen in zip(found, self._looks(found), strict=True):
            if isinstance(seen, ServerLook):
                looks.append(seen)
                taken[_key(place)] = place
            elif not isinstance(seen, WebUIError) or meaning_of(seen) is not Meaning.SERVER_AWAY:
                raise seen
            else:
                self._tell(f"Left out: {seen}")
        if not looks:
            asked = ", ".join(f"{url} on {one.node.name}" for one in hailed for url in one.addresses)
            raise ServerUnreachable(
                f"no node of the cluster has a WebUI that answers; looked for {asked or 'nodes, and found none'}; "
                "start one on each node, and name other addresses with --url, or by SDCLIENT_URL at 'ray start'"
            )
        checked = agree(looks, allow_mixed=allow_mixed)
        with self._guard:
            self._taken, self._first = taken, looks[0]
        for one in hailed:
            self._note_complete(one)
        return checked

    def crew(self, orders: Orders) -> RayCrew:
        """A worker beside each WebUI; not started yet."""
        return RayCrew(self, orders)

    def newcomers(self, stopped: threading.Event) -> list[Place]:
        """WebUIs that came since, which fit the run.

        Args:
            stopped: ends the wait.
        """
        wanted, first = self._wanted, self._first
        if wanted is None or first is None:
            return []
        nodes = [node for node in alive_nodes() if node.id not in self._complete]
        new = []
        for one in hail(nodes, self._urls, stopped):
            try:
                found = [place for place in self._places_of([one], is_quiet=True) if _key(place) not in self._taken]
            except SettingsError as error:
                self._refuse(one.node.name, error)
                continue
            for place, seen in zip(found, self._looks(found, stopped), strict=True):
                try:
                    if isinstance(seen, SDClientError):
                        raise seen
                    agree([first, seen], allow_mixed=wanted.allow_mixed)
                except SDClientError as error:
                    self._refuse(place.name, error)
                    continue
                with self._guard:
                    self._taken[_key(place)] = place
                    self._refused.pop(place.name, None)
                new.append(place)
            self._note_complete(one)
        return new

    def lost(self, place: Place) -> None:
        """It is gone for good; when its node comes back, or another reaches it, it is a newcomer."""
        with self._guard:
            self._taken.pop(_key(place), None)
            self._complete.discard(place.node_id)

    def _note_complete(self, hailed: Hailed) -> None:
        """A node all of whose WebUIs are in use need not be hailed again."""
        places = hailed.places(self._auth)
        with self._guard:
            if len(places) == len(hailed.urls) and all(_key(place) in self._taken for place in places):
                self._complete.add(hailed.node.id)

    def _refuse(self, name: str, error: SDClientError) -> None:
        with self._guard:
            self._refused[name] = str(error)

    def _places_of(self, hailed: Sequence[Hailed], *, is_quiet: bool = False) -> list[Place]:
        """Each WebUI once, whichever nodes reach it.

        Raises:
            SettingsError: a node that has one has another version of this software.
        """
        found: dict[_Key, Place] = {}
        for one in hailed:
            places = one.places(self._auth)
            if places:
                refuse_other_version(one)
            elif not is_quiet:
                self._tell(f"Left out: node {one.node.name}, where nothing listens at {', '.join(one.addresses)}")
            for place in places:
                found.setdefault(_key(place), place)
        return list(found.values())

    def _looks(
        self, places: Sequence[Place], stopped: threading.Event | None = None
    ) -> list[ServerLook | SDClientError]:
        wanted = self._wanted
        if wanted is None:
            return []
        seen = on_nodes([(place.node_id, look, (place, wanted.samplers, wanted.loras)) for place in places], stopped)
        return [_look_or_error(place, one) for place, one in zip(places, seen, strict=True)]


def _look_or_error(place: Place, seen: Any) -> ServerLook | SDClientError:
    if isinstance(seen, RayError):
        first = str(seen).strip().splitlines()
        return ServerUnreachable(f"{place.name}: the node does not answer ({first[-1] if first else seen!r})")
    found: ServerLook | SDClientError = seen
    return found


def _key(place: Place) -> _Key:
    """What tells WebUIs apart: a loopback address is another one on each machine."""
    is_loopback = parse_address(place.url).is_loopback
    return (place.host if is_loopback else "", place.url)
