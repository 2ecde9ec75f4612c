"""What all tests share: the recordings, the real images, and the guard that each test leaves its process as it was."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.process_state import differences, put_back, read_process_state, seed_random_numbers, threads_left

SHARED = Path(__file__).parent.parent.parent / "shared"

# Several test processes share few cores: more threads each would only wait for one another. torch reads this when it is
# imported; processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_CLUSTER = "tests/sdclient/cluster/"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out whole files, so that what a file's tests share is made once, and the Ray cluster's folder as one.

    Files are handed out in their order: the slow examples come first, and short files last.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _CLUSTER if nodeid.startswith(_CLUSTER) else nodeid.partition("::")[0]

    config.option.loadscopereorder = False
    return Scheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-randomly, where it is installed, shuffle the tests and leave the seeds to us."""
    if hasattr(config.option, "randomly_reset_seed"):
        config.option.randomly_reset_seed = False


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before any fixture, also one of the session: the same random numbers in whatever order tests run."""
    seed_random_numbers()


@pytest.fixture(autouse=True)
def _process_is_left_as_it_was() -> Iterator[None]:
    """Fail the test that leaves signal handlers, environment, threads, torch settings or the like changed.

    It is set up before every other fixture of the test, so it looks when those have put back what they changed.
    Filters of warnings are restored by pytest itself.
    """
    threads = set(threading.enumerate())
    before = read_process_state()
    yield
    left = differences(before, read_process_state()) + threads_left(threads)
    if left:
        put_back(before)
        pytest.fail("this test left its process changed:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture(scope="session")
def webui_recordings() -> Path:
    """Folder of replies recorded from a genuine WebUI; the test skips where it is absent."""
    folder = SHARED / "webui"
    if not folder.is_dir():
        pytest.skip("the recordings of a genuine WebUI are not at hand (shared/webui)")
    return folder


@pytest.fixture(scope="session")
def deeppcb() -> Path:
    """Folder of real PCB crops; the test skips where it is absent."""
    folder = SHARED / "data" / "deeppcb"
    if not folder.is_dir():
        pytest.skip("the DeepPCB crops are not at hand (shared/data/deeppcb)")
    return folder


@pytest.fixture(autouse=True)
def _wide_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables go to a pipe of the usual width, whatever the width of the terminal that runs the tests."""
    monkeypatch.delenv("COLUMNS", raising=False)
