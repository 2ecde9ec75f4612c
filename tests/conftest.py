"""What tests of both packages share."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).parent.parent.parent / "shared"


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
