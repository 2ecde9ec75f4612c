from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sdclient.review.serving import review_application
from tests.support.review import build_output
from tests.support.review_page import Page


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return build_output(tmp_path)


@pytest.fixture
def page(output: Path, tmp_path: Path) -> Iterator[Page]:
    with review_application(output, masks=tmp_path / "masks") as application, application.in_background() as url:
        page = Page(url)
        yield page
        page.session.close()
