"""The WebUIs of a cluster: found and checked on its nodes, also when a node joins or returns."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError

from ..batch.dispatcher import RunContext
from ..batch.job_execution import FailureKind, classify_failure
from ..batch.servers import ServerCheck, ServerFacts, combine_checks
from ..client.transport import parse_address
from ..errors import SDClientError, ServerUnreachable, SettingsError, WebUIError
from .dispatcher import RayDispatcher
from .nodes import NodeReport, alive_nodes, last_line, on_nodes, query_nodes, refuse_other_version
from .worker import Endpoint, check_endpoint

_Key = tuple[str, str]


@dataclass(frozen=True)
class _Wanted:
    """The settings that every WebUI is checked for."""

    samplers: Sequence[tuple[str, str | None]]
    loras: Sequence[str]
    allow_mixed: bool


class RayServerPool:
    """The WebUIs on the nodes of the cluster that this process is connected to; a `ServerPool`.

    Args:
        urls: address of a WebUI from each node; none for the node's SDCLIENT_URL (one address, or several separated by
            commas), else the default one.
        auth: name and password of the WebUIs; None for each node's SDCLIENT_AUTH.
        tell: called with a line about each node that is left out.

    Raises:
        SettingsError: an address that is not loopback, because all nodes would use that one server.
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
        self._first: ServerCheck | None = None
        self._taken: dict[_Key, Endpoint] = {}
        self._refused: dict[str, str] = {}
        self._complete: set[str] = set()
        self._guard = threading.Lock()

    @property
    def endpoints(self) -> list[Endpoint]:
        """The WebUIs in use."""
        with self._guard:
            return list(self._taken.values())

    @property
    def refused(self) -> dict[str, str]:
        """Name of each WebUI found during the run that is not used -> why."""
        with self._guard:
            return dict(self._refused)

    def check(
        self, samplers: Sequence[tuple[str, str | None]], loras: Sequence[str], *, allow_mixed: bool
    ) -> ServerFacts:
        """Find the WebUIs, and check each from its node for a run's settings.

        Nodes where none listens, or none is ready, are left out and reported.

        Raises:
            ServerUnreachable: no node has a WebUI.
            WebUIError: one of them would spoil the run.
            SettingsError: they differ, and `allow_mixed` is not set; or a node has another version of this software.
        """
        self._wanted = _Wanted(tuple(samplers), tuple(loras), allow_mixed)
        reports = query_nodes(alive_nodes(), self._urls)
        found = self._endpoints_of(reports)
        checks, taken = [], {}
        for endpoint, seen in zip(found, self._check_endpoints(found), strict=True):
            if isinstance(seen, ServerCheck):
                checks.append(seen)
                taken[_key(endpoint)] = endpoint
            elif not isinstance(seen, WebUIError) or classify_failure(seen) is not FailureKind.SERVER_AWAY:
                raise seen
            else:
                self._tell(f"Left out: {seen}")
        if not checks:
            asked = ", ".join(f"{url} on {one.node.name}" for one in reports for url in one.addresses)
            raise ServerUnreachable(
                f"no node of the cluster has a WebUI that answers; looked for {asked or 'nodes, and found none'}; "
                "start one on each node, and name other addresses with --url, or by SDCLIENT_URL at 'ray start'"
            )
        checked = combine_checks(checks, allow_mixed=allow_mixed)
        with self._guard:
            self._taken, self._first = taken, checks[0]
        for one in reports:
            self._note_complete(one)
        return checked

    def dispatcher(self, context: RunContext) -> RayDispatcher:
        """A worker beside each WebUI; not started yet."""
        return RayDispatcher(self, context)

    def find_new_endpoints(self, stopped: threading.Event) -> list[Endpoint]:
        """WebUIs that joined since the last search and fit the run."""
        wanted, first = self._wanted, self._first
        if wanted is None or first is None:
            return []
        nodes = [node for node in alive_nodes() if node.id not in self._complete]
        new = []
        for one in query_nodes(nodes, self._urls, stopped):
            try:
                endpoints = self._endpoints_of([one], is_quiet=True)
            except SettingsError as error:
                self._refuse(one.node.name, error)
                continue
            found = [endpoint for endpoint in endpoints if _key(endpoint) not in self._taken]
            for endpoint, seen in zip(found, self._check_endpoints(found, stopped), strict=True):
                try:
                    if isinstance(seen, SDClientError):
                        raise seen
                    combine_checks([first, seen], allow_mixed=wanted.allow_mixed)
                except SDClientError as error:
                    self._refuse(endpoint.name, error)
                    continue
                with self._guard:
                    self._taken[_key(endpoint)] = endpoint
                    self._refused.pop(endpoint.name, None)
                new.append(endpoint)
            self._note_complete(one)
        return new

    def lost(self, endpoint: Endpoint) -> None:
        """Forget a WebUI; if its node returns, or another node reaches it, it counts as new."""
        with self._guard:
            self._taken.pop(_key(endpoint), None)
            self._complete.discard(endpoint.node_id)

    def _note_complete(self, report: NodeReport) -> None:
        """A node whose WebUIs are all in use need not be queried again."""
        endpoints = report.endpoints(self._auth)
        with self._guard:
            if len(endpoints) == len(report.urls) and all(_key(endpoint) in self._taken for endpoint in endpoints):
                self._complete.add(report.node.id)

    def _refuse(self, name: str, error: SDClientError) -> None:
        with self._guard:
            self._refused[name] = str(error)

    def _endpoints_of(self, reports: Sequence[NodeReport], *, is_quiet: bool = False) -> list[Endpoint]:
        """Each WebUI once, whichever nodes reach it.

        Raises:
            SettingsError: a node that has one has another version of this software.
        """
        found: dict[_Key, Endpoint] = {}
        for one in reports:
            endpoints = one.endpoints(self._auth)
            if endpoints:
                refuse_other_version(one)
            elif not is_quiet:
                self._tell(f"Left out: node {one.node.name}, where nothing listens at {', '.join(one.addresses)}")
            for endpoint in endpoints:
                found.setdefault(_key(endpoint), endpoint)
        return list(found.values())

    def _check_endpoints(
        self, endpoints: Sequence[Endpoint], stopped: threading.Event | None = None
    ) -> list[ServerCheck | SDClientError]:
        wanted = self._wanted
        if wanted is None:
            return []
        settings = wanted.samplers, wanted.loras
        calls = [(endpoint.node_id, check_endpoint, (endpoint, *settings)) for endpoint in endpoints]
        seen = on_nodes(calls, stopped)
        return [_check_or_error(endpoint, one) for endpoint, one in zip(endpoints, seen, strict=True)]


def _check_or_error(endpoint: Endpoint, seen: Any) -> ServerCheck | SDClientError:
    if isinstance(seen, RayError):
        return ServerUnreachable(f"{endpoint.name}: the node does not answer ({last_line(seen)})")
    found: ServerCheck | SDClientError = seen
    return found


def _key(endpoint: Endpoint) -> _Key:
    """Identifies a WebUI: a loopback address means another one on each machine."""
    is_loopback = parse_address(endpoint.url).is_loopback
    return (endpoint.host if is_loopback else "", endpoint.url)
