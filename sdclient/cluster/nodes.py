"""Which nodes a cluster has, and what each says of itself: the version of this software, and its WebUIs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sdcore import __version__

from .._http import parse_address
from ..client import DEFAULT_URL
from ..errors import SettingsError
from .wire import Endpoint

_WAIT_S = 0.25
_ANSWER_S = 60.0


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, or a process that stands for one."""

    id: str
    name: str
    host: str
    cpus: float


@dataclass(frozen=True)
class NodeReport:
    """What a node says of itself."""

    node: Node
    version: str
    """Of this software; "" where it is not installed."""
    urls: tuple[tuple[str, bool], ...]
    """Address of each WebUI it should have, and whether something listens there."""

    @property
    def addresses(self) -> list[str]:
        """Of the WebUIs it should have, without credentials."""
        return [parse_address(url).url for url, _ in self.urls]

    def endpoints(self, auth: tuple[str, str] | None) -> list[Endpoint]:
        """Where something listens.

        Args:
            auth: for a WebUI whose address holds no credentials.

        Raises:
            SettingsError: an address that is none.
        """
        found = []
        for url, listens in self.urls:
            if listens:
                address = parse_address(url)
                endpoint = Endpoint(self.node.id, self.node.name, self.node.host, address.url, address.auth or auth)
                found.append(endpoint)
        return found


def alive_nodes() -> list[Node]:
    """The nodes that Ray counts as alive, by name."""
    found = []
    for one in ray.nodes():  # type: ignore[no-untyped-call]
        if one["Alive"]:
            host, given = one["NodeManagerAddress"], one.get("NodeName")
            # Without a name of its own, a node is called by its address.
            name = given if given and given != host else one["NodeManagerHostname"]
            found.append(Node(one["NodeID"], name, host, one["Resources"].get("CPU", 0.0)))
    return sorted(found, key=lambda node: (node.name, node.id))


def query_nodes(nodes: Iterable[Node], urls: Sequence[str], stopped: threading.Event | None = None) -> list[NodeReport]:
    """Ask nodes about themselves; one that goes away meanwhile is left out.

    Args:
        nodes: whom.
        urls: where a WebUI may be on each; none for what the node's SDCLIENT_URL says, or the usual address.
        stopped: ends the wait.
    """
    asked = list(nodes)
    # Made here, a function goes over by its code and not by its name: the node may not have this software, or another
    # version of it.
    answers = on_nodes([(node.id, _say(), (tuple(urls), DEFAULT_URL)) for node in asked], stopped)
    return [
        NodeReport(node, answer[0], answer[1])
        for node, answer in zip(asked, answers, strict=True)
        if not isinstance(answer, Exception)
    ]


def on_nodes(
    calls: Sequence[tuple[str, Callable[..., Any], tuple[Any, ...]]], stopped: threading.Event | None = None
) -> list[Any]:
    """Call each function on its node, all at once; gives what they return, or a RayError where nothing came.

    Args:
        calls: (node's id, function, arguments).
        stopped: ends the wait.
    """
    refs = [
        _remote(function).options(num_cpus=0, max_retries=0, scheduling_strategy=on_node(node_id)).remote(*arguments)
        for node_id, function, arguments in calls
    ]
    waited_s = 0.0
    ready: list[Any] = []
    while len(ready) < len(refs) and waited_s < _ANSWER_S and not (stopped is not None and stopped.is_set()):
        ready, _ = ray.wait(refs, num_returns=len(refs), timeout=_WAIT_S, fetch_local=False)
        waited_s += _WAIT_S
    return [_value_of(ref) if ref in ready else RayError(f"no answer within {_ANSWER_S:g} s") for ref in refs]


def on_node(node_id: str) -> NodeAffinitySchedulingStrategy:
    """On this node, and on no other when it is gone."""
    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def refuse_other_version(report: NodeReport) -> None:
    """Refuse a node that has not this version.

    Raises:
        SettingsError: it has another, or none.
    """
    if report.version != __version__:
        found = f"sd-defects {report.version}" if report.version else "no sd-defects"
        raise SettingsError(
            f"node {report.node.name} ({report.node.host}): has {found}, this machine {__version__}; install the same "
            "version there, in the Python that runs 'ray start'"
        )


def _value_of(ref: Any) -> Any:
    try:
        return ray.get(ref)
    except RayError as error:
        return error


@cache
def _remote(function: Callable[..., Any]) -> Any:
    """Made once: each one made counts as another kind of task, which the nodes keep in mind for good."""
    return ray.remote(function)


@cache
def _say() -> Callable[..., Any]:
    def say(urls: tuple[str, ...], usual: str) -> tuple[str, tuple[tuple[str, bool], ...]]:
        """This node's version, and whether something listens at each address."""
        import os
        import socket
        from urllib.parse import urlsplit

        def listens(url: str) -> bool:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            try:
                port = parts.port or (443 if parts.scheme == "https" else 80)
                socket.create_connection((parts.hostname or "", port), timeout=5).close()
            except (OSError, ValueError):
                return False
            return True

        try:
            from sdcore import __version__ as version
        except ImportError:
            version = ""
        own = [part.strip() for part in os.environ.get("SDCLIENT_URL", "").split(",") if part.strip()]
        return version, tuple((url, listens(url)) for url in urls or own or (usual,))

    return say
