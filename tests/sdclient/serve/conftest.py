from __future__ import annotations

from collections.abc import Iterator

import pytest

from sdclient.serve.app import running_server
from tests.support.serve_api import Api


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with running_server() as server:
        caller = Api(server.url)
        yield caller
        caller.session.close()
