"""The server's options, permanent and for one job."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sdclient.serve.app import running_server
from tests.support.serve_api import Api, opened, usual


@pytest.fixture
def fresh() -> Iterator[Api]:
    """A server of the test's own, because options stay changed."""
    with running_server() as server:
        api = Api(server.url)
        yield api
        api.session.close()


def test_options_are_stored_and_take_effect(fresh: Api) -> None:
    answer = fresh.post("options", {"samples_format": "jpg", "jpeg_quality": 95})
    assert (answer.status_code, answer.json()) == (200, None)
    assert fresh.get("options")["samples_format"] == "jpg"
    reply, _ = fresh.img2img()
    assert opened(reply["images"][0]).format == "JPEG"


def test_an_unknown_option_is_a_key_error(fresh: Api) -> None:
    answer = fresh.post("options", {"nope_setting": 1})
    assert answer.status_code == 500
    assert answer.json() == {"error": "KeyError", "detail": "", "body": "", "errors": "'nope_setting'"}


def test_an_unknown_checkpoint_is_refused_and_nothing_stored(fresh: Api) -> None:
    before = fresh.get("options")
    answer = fresh.post("options", {"samples_format": "jpg", "sd_model_checkpoint": "nope"})
    assert answer.status_code == 500
    assert answer.json()["errors"] == "model 'nope' not found"
    assert fresh.get("options") == before


def test_the_checkpoint_may_be_named_by_its_hash(fresh: Api) -> None:
    (model,) = fresh.get("sd-models")
    assert fresh.post("options", {"sd_model_checkpoint": model["hash"]}).status_code == 200
    assert fresh.get("options")["sd_model_checkpoint"] == model["title"]


def test_overrides_stay_only_on_request(fresh: Api) -> None:
    overrides = {"jpeg_quality": 50}
    fresh.post("img2img", usual(override_settings=overrides))
    assert fresh.get("options")["jpeg_quality"] == 80
    fresh.post("img2img", usual(override_settings=overrides, override_settings_restore_afterwards=False))
    assert fresh.get("options")["jpeg_quality"] == 50


def test_overrides_are_restored_after_a_failure(fresh: Api) -> None:
    fresh.post("img2img", usual(override_settings={"jpeg_quality": 50, "nope": 1}))
    fresh.post("img2img", usual(override_settings={"jpeg_quality": 50}, steps=0))
    assert fresh.get("options")["jpeg_quality"] == 80
