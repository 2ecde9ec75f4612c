"""A Ray cluster on this machine: each node a set of processes of its own, with a WebUI of its own beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from sdclient.cluster.nodes import signal_handlers_kept
from sdclient.testing import WebUIServer, serve_webui
from tests.support.process_state import threads_of_session

AUTH = "inspector:s3cret-word"


JOB_MS = 60.0


_STORE_BYTES = 80 * 2**20


_QUICK_TO_NOTICE = {"health_check_period_ms": 500, "health_check_failure_threshold": 4, "health_check_timeout_ms": 2000}


class LocalCluster:
    """A head without a WebUI, and nodes that join and are killed."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": _STORE_BYTES, "node_name": "head"}
        head["_system_config"] = _QUICK_TO_NOTICE
        head["env_vars"] = {"SDCLIENT_URL": "http://127.0.0.1:9"}  # the port "discard", where nothing listens
        with signal_handlers_kept():
            self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._nodes: dict[str, Any] = {}
        self._servers: dict[str, WebUIServer] = {}
        self._opened = ExitStack()

    @property
    def address(self) -> str:
        """Of the head."""
        return str(self._cluster.address)

    @property
    def servers(self) -> dict[str, WebUIServer]:
        """WebUI by name of its node, also of nodes that were killed."""
        return dict(self._servers)

    def add(self, name: str, *, wait: bool = True) -> WebUIServer:
        """Let a node join, with a WebUI of its own."""
        with threads_of_session():
            server = self._opened.enter_context(serve_webui(job_ms=JOB_MS, api_auth=AUTH))
        self._servers[name] = server
        with signal_handlers_kept():
            self._nodes[name] = self._cluster.add_node(
                wait=wait,
                num_cpus=1,
                object_store_memory=_STORE_BYTES,
                node_name=name,
                env_vars={"SDCLIENT_URL": server.url, "SDCLIENT_AUTH": AUTH},
            )
        return server

    def settle(self) -> None:
        """Wait until all nodes are there."""
        self._cluster.wait_for_nodes()

    def kill(self, name: str) -> None:
        """End all processes of a node at once, as a loss of power does."""
        self._cluster.remove_node(self._nodes.pop(name), allow_graceful=False)
        self._opened.enter_context(self._servers[name].down())

    def close(self) -> None:
        """End everything: the nodes first, so that no worker still holds a connection to a server that ends."""
        self._cluster.shutdown()
        self._opened.close()


def until(holds: Callable[[], object], *, within_s: float = 60.0) -> None:
    """Wait until something holds that other processes bring about."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        threading.Event().wait(0.05)
