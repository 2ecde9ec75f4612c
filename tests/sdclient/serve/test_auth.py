from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from sdclient.serve.app import running_server
from tests.support.serve_api import Api, recorded


@pytest.fixture(scope="module")
def guarded() -> Iterator[Api]:
    with running_server(api_auth="用户:pass:word") as server:
        api = Api(server.url)
        yield api
        api.session.close()


def basic(credentials: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(credentials.encode("utf-8")).decode("ascii")}


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({}, "noauth"),
        (basic("用户:wrong"), "wrongpass"),
        (basic("nobody:pass:word"), "wronguser"),
        ({"Authorization": "Bearer abc"}, "bearer"),
        ({"Authorization": "Basic !!!"}, "badb64"),
    ],
)
def test_refusals_are_the_recorded_ones(guarded: Api, headers: dict[str, str], name: str) -> None:
    expected = recorded("replies/ui_and_auth.json")[name]
    answer = guarded.call("GET", "/sdapi/v1/options", headers=headers)
    assert (answer.status_code, answer.json()) == (expected["status"], expected["body"])
    assert "WWW-Authenticate" not in answer.headers


def test_the_right_words_open_every_call(guarded: Api) -> None:
    for path in ("options", "samplers", "progress"):
        answer = guarded.call("GET", f"/sdapi/v1/{path}", headers=basic("用户:pass:word"))
        assert answer.status_code == 200


@pytest.mark.parametrize("body", [{}, {"steps": "four"}])
def test_a_bad_body_is_not_looked_at_without_credentials(guarded: Api, body: Any) -> None:
    assert guarded.post("img2img", body).json()["detail"] == "Not authenticated"


def test_the_contract_stays_open_and_proves_nothing(guarded: Api) -> None:
    assert guarded.call("GET", "/openapi.json").status_code == 200
    assert guarded.call("GET", "/sdapi/v1/nope").status_code == 404
