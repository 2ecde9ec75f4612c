"""A Ray cluster on this machine: each node a set of processes of its own, with a WebUI of its own beside it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdclient.cluster.nodes import signal_handlers_kept
from tests.support.ray_cluster import LocalCluster

# Ray reads these when it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the order of this folder's files: its tests share one cluster, whose nodes come and go."""
    here = Path(__file__).parent
    places = [place for place, item in enumerate(items) if item.path.parent == here]
    ordered = sorted((items[place] for place in places), key=lambda item: (item.path.name, _line_of(item)))
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


def _line_of(item: pytest.Item) -> int:
    return item.location[1] or 0


@pytest.fixture(scope="session")
def started_cluster() -> Iterator[LocalCluster]:
    if sys.platform != "linux":
        pytest.skip("Ray supports clusters of several nodes on Linux alone")
    import ray

    cluster = LocalCluster()
    try:
        for name in ("one", "two", "three"):
            cluster.add(name, wait=False)
        cluster.settle()
        with signal_handlers_kept():
            ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        yield cluster
    finally:
        ray.shutdown()
        cluster.close()


@pytest.fixture
def cluster(started_cluster: LocalCluster) -> LocalCluster:
    """Three nodes at least; a test that kills one adds it first."""
    return started_cluster
