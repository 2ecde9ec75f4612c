"""Where a command's work is done: at WebUIs named by address or in a file, or on the nodes of a Ray cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sdcore.cli import Output

if TYPE_CHECKING:
    from ..batch import Server
    from ..batch.crew import ServerPool
    from ..client import WebUI
    from ..curate.scoring import ScoringFactory

_SEVERAL = 2
"""Stands for the servers of a cluster, which come and go: they are shown in a table, even while there is one."""


@dataclass(frozen=True)
class OpenedServers:
    """What a run works with."""

    pool: Sequence[Server] | ServerPool
    count: int
    first: WebUI | None
    """None in a cluster, whose WebUIs are not reached from here."""


@contextmanager
def opened_servers(urls: Sequence[str], servers_file: Path | None, ray: str | None) -> Iterator[OpenedServers]:
    """The servers for as long as the block lasts.

    Args:
        urls: addresses; none for the usual one.
        servers_file: a file that names servers.
        ray: address of a Ray cluster.

    Raises:
        SettingsError: an address that cannot be used, or no such cluster.
        MissingExtra: Ray is not installed.
    """
    with ExitStack() as opened:
        if ray is not None:
            from ..cluster.connection import connected

            opened.enter_context(_ray_told_apart())
            opened.enter_context(connected(ray))
            from ..client import auth_from_environment
            from ..cluster.fleet import RayServerPool

            pool = RayServerPool(urls, auth=auth_from_environment(), tell=Output().note)
            yield OpenedServers(pool, _SEVERAL, None)
            return
        from ..batch import Server, load_servers
        from ..client import WebUI

        if servers_file is not None:
            servers = load_servers(servers_file)
        else:
            servers = [Server(webui.url, webui) for webui in (WebUI(url) for url in urls or (None,))]
        for server in servers:
            opened.enter_context(server.webui)
        yield OpenedServers(servers, len(servers), servers[0].webui)


@contextmanager
def scoring_on(ray: str | None, output: Path) -> Iterator[ScoringFactory | None]:
    """Where an output is scored, for as long as the block lasts: on a Ray cluster; None where it is this machine.

    Args:
        ray: address of the cluster; None for this machine.
        output: the output folder.

    Raises:
        SettingsError: no such cluster.
        MissingExtra: Ray is not installed.
    """
    if ray is None:
        yield None
        return
    from ..cluster.connection import connected

    with _ray_told_apart(), connected(ray):
        from ..cluster.scoring import ray_scoring

        yield partial(ray_scoring, output)


@contextmanager
def _ray_told_apart() -> Iterator[None]:
    """Ray tells of lost nodes on stdout, which belongs to the command's own result."""
    with redirect_stdout(sys.stderr):
        yield
