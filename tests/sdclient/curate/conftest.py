"""One set of drawn sources for all tests of curation."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sdclient.curate import Curator
from sdclient.curate.reference import CACHE_NAME
from sdclient.manifest import Manifest
from tests.support.images import add_images, sibling, surface, write_sources


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `sources`: 12 of "pit", 6 of "stain"."""
    folder = tmp_path_factory.mktemp("drawn")
    write_sources(folder / "sources", {"pit": 12, "stain": 6})
    add_images(folder / "output", folder / "sources", {"pit/1_1.png": sibling(surface(1), 1)})
    with Manifest(folder / "output", create=True) as manifest:
        Curator(folder / "output", manifest).score_missing()
    return folder


@pytest.fixture
def sources(drawn: Path, tmp_path: Path) -> Path:
    """The drawn sources, a copy that a test may spoil."""
    shutil.copytree(drawn / "sources", tmp_path / "sources")
    return tmp_path / "sources"


@pytest.fixture
def output(drawn: Path, sources: Path, tmp_path: Path) -> Path:
    """An output with three good siblings."""
    images = {f"pit/{k}_1.png": sibling(surface(k), k) for k in (1, 2, 3)}
    add_images(tmp_path / "output", sources, images)
    # The real images are the same, so they need not be measured in every test.
    shutil.copy2(drawn / "output" / CACHE_NAME, tmp_path / "output" / CACHE_NAME)
    return tmp_path / "output"
