"""Connects to a Ray cluster and queries its nodes."""

import logging
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sdcore import __version__

from ..client.transport import parse_address
from ..client.webui import DEFAULT_URL
from ..errors import MissingExtra, SettingsError
from .worker import Endpoint

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
    """A node's answer about itself."""

    node: Node
    version: str
    """Of this software; "" if it is not installed."""
    urls: tuple[tuple[str, bool], ...]
    """Address of each WebUI it should have, and whether something listens there."""

    @property
    def addresses(self) -> list[str]:
        """Of the WebUIs it should have, without credentials."""
        return [parse_address(url).url for url, _ in self.urls]

    def endpoints(self, auth: tuple[str, str] | None) -> list[Endpoint]:
        """The WebUIs where something listens; `auth` is for addresses without credentials.

        Raises:
            SettingsError: an invalid address.
        """
        node = self.node
        addresses = [parse_address(url) for url, listens in self.urls if listens]
        return [Endpoint(node.id, node.name, node.host, one.url, one.auth or auth) for one in addresses]


def alive_nodes() -> list[Node]:
    """The nodes that Ray counts as alive, by name."""
    found = []
    for one in ray.nodes():  # type: ignore[no-untyped-call]
        if one["Alive"]:
            host, given = one["NodeManagerAddress"], one.get("NodeName")
            # Ray calls a node without a name by its address.
            name = given if given and given != host else one["NodeManagerHostname"]
            found.append(Node(one["NodeID"], name, host, one["Resources"].get("CPU", 0.0)))
    return sorted(found, key=lambda node: (node.name, node.id))


def query_nodes(nodes: Iterable[Node], urls: Sequence[str], stopped: threading.Event | None = None) -> list[NodeReport]:
    """Ask nodes about themselves; a node that disappears meanwhile is left out.

    Args:
        urls: where a WebUI may be on each; none for the node's SDCLIENT_URL, or the default address.
    """
    queried = list(nodes)
    # A nested function is sent by its code, not by its name: the node may lack this software, or have another version.
    answers = on_nodes([(node.id, _describe_node(), (tuple(urls), DEFAULT_URL)) for node in queried], stopped)
    answered = zip(queried, answers, strict=True)
    return [NodeReport(node, *answer) for node, answer in answered if not isinstance(answer, Exception)]


def on_nodes(
    calls: Sequence[tuple[str, Callable[..., Any], tuple[Any, ...]]], stopped: threading.Event | None = None
) -> list[Any]:
    """Call each (node id, function, arguments) on its node, all at once; a result is a RayError if no answer came."""
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
    """Run on this node only."""
    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def refuse_other_version(report: NodeReport) -> None:
    """Raise `SettingsError` for a node without this software, or with another version."""
    if report.version != __version__:
        found = f"sd-defects {report.version}" if report.version else "no sd-defects"
        raise SettingsError(
            f"node {report.node.name} ({report.node.host}): has {found}, this machine {__version__}; install the same "
            "version there, in the Python that runs 'ray start'"
        )


def last_line(error: BaseException) -> str:
    """The last line of an error's text; Ray's errors end with what happened."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else repr(error)


def _value_of(ref: Any) -> Any:
    try:
        return ray.get(ref)
    except RayError as error:
        return error


@cache
def _remote(function: Callable[..., Any]) -> Any:
    """Created once for each function: nodes remember every remote function for good."""
    return ray.remote(function)


@cache
def _describe_node() -> Callable[..., Any]:
    def describe_node(urls: tuple[str, ...], default: str) -> tuple[str, tuple[tuple[str, bool], ...]]:
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
        return version, tuple((url, listens(url)) for url in urls or own or (default,))

    return describe_node


ANSWER_S = 30.0
"""Longest time to connect; Ray alone would try for minutes."""
_CONNECT_S = 5.0
_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/\s]+):(?P<port>\d{1,5})")
_TRY = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False)"
_HOW_TO_START = "start one with 'ray start --head' and join it from each machine with 'ray start --address HOST:6379'"


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to a cluster within the block; an existing connection is kept. Signal handlers stay as they were.

    Args:
        address: "auto" for the cluster of which this machine is a node, or the head's "HOST:PORT".

    Raises:
        MissingExtra: Ray is not installed.
        SettingsError: invalid address, nothing or something else answers there, or this machine is not a node.
    """
    check_address(address)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtra("'--ray'", "ray") from error
    if ray.is_initialized():
        yield
        return
    _refuse_silence(address)
    _try_out(address)
    with signal_handlers_kept():
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        with signal_handlers_kept():
            ray.shutdown()


@contextmanager
def signal_handlers_kept() -> Iterator[None]:
    """Put back the handlers of SIGINT and SIGTERM after the block.

    `ray.init` sets a handler of SIGTERM that ends the process with `sys.exit`, and never restores the former one,
    not even in `ray.shutdown`. Outside the main thread neither Ray nor we can set handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in former.items():
            if handler is not None:  # None: set by C code, which Python can neither read nor restore
                signal.signal(one, handler)


def check_address(address: str) -> None:
    """Raise `SettingsError` unless this is "auto" or "HOST:PORT"."""
    if address == "auto":
        return
    if address.startswith("ray://"):
        raise SettingsError(
            f"--ray {address}: all images would go through Ray's proxy; make this machine a node without processors, "
            "'ray start --address HOST:6379 --num-cpus 0', and give --ray auto"
        )
    found = _HOST_AND_PORT.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise SettingsError(f"--ray {address}: expected auto, or the head's HOST:PORT as 192.168.1.10:6379")


def _refuse_silence(address: str) -> None:
    found = _HOST_AND_PORT.fullmatch(address)
    if found is None:
        return
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), timeout=_CONNECT_S).close()
    except OSError as error:
        raise SettingsError(f"--ray {address}: nothing answers ({error}); {_HOW_TO_START}") from error


def _try_out(address: str) -> None:
    """Connect in another process first: it can be killed; Ray would wait for minutes and then end this process."""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program and a checked address
            [sys.executable, "-c", _TRY, address], capture_output=True, timeout=ANSWER_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SettingsError(
            f"--ray {address}: no Ray cluster answers within {ANSWER_S:g} s; check that it is the port of the head "
            f"(6379), that its Ray is of the same version, and that no firewall is between; {_HOW_TO_START}"
        ) from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1].strip()[:300] if lines else "no reason given"
        raise SettingsError(f"--ray {address}: cannot connect ({reason}); this machine must be a node; {_HOW_TO_START}")


@contextmanager
def connected_for_command(address: str) -> Iterator[None]:
    """As `connected`; Ray's reports of lost nodes go to stderr, because stdout belongs to the command's result."""
    with redirect_stdout(sys.stderr), connected(address):
        yield
