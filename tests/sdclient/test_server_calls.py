"""Every call that asks or tells a server about itself, with the replies of the genuine one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from sdclient.client import RetryPolicy, WebUI
from sdclient.client.generation_job import JobState, job_state
from sdclient.errors import NotFound, UnexpectedReply
from sdclient.models import ExtrasBatchRequest, ExtrasSingleRequest, InternalProgressRequest, InterrogateRequest
from tests.support.server_doubles import FORGE, SDNEXT, recorded_a1111, serve
from tests.support.webui import png_bytes

ONCE = RetryPolicy(attempts=1)


@pytest.mark.parametrize("call", ["interrupt", "skip", "unload_checkpoint", "reload_checkpoint", "refresh_vae"])
def test_an_empty_204_is_no_error(httpserver: HTTPServer, call: str) -> None:
    path = f"/sdapi/v1/{call.replace('_', '-')}"
    httpserver.expect_oneshot_request(path, method="POST").respond_with_data("", status=204)
    with WebUI(httpserver.url_for(""), retries=ONCE) as webui:
        getattr(webui, call)()
    httpserver.check_assertions()


LISTS = {
    "sd_models": "sd-models",
    "sd_vaes": "sd-vae",
    "upscalers": "upscalers",
    "latent_upscale_modes": "latent-upscale-modes",
    "realesrgan_models": "realesrgan-models",
    "face_restorers": "face-restorers",
    "loras": "loras",
    "embeddings": "embeddings",
    "hypernetworks": "hypernetworks",
    "prompt_styles": "prompt-styles",
    "scripts": "scripts",
    "script_info": "script-info",
    "extensions": "extensions",
    "samplers": "samplers",
    "schedulers": "schedulers",
}


@pytest.mark.parametrize(("method", "path"), LISTS.items())
def test_every_recorded_list_comes_typed_and_whole(httpserver: HTTPServer, method: str, path: str) -> None:
    answers = recorded_a1111()
    with WebUI(serve(httpserver, answers), retries=ONCE) as webui:
        typed = getattr(webui, method)()
    plain = [entry.model_dump(mode="json") for entry in typed] if isinstance(typed, tuple) else typed.model_dump()
    assert json.loads(json.dumps(plain)) == _with_defaults(answers[f"/sdapi/v1/{path}"], json.loads(json.dumps(plain)))


def _with_defaults(recorded: Any, typed: Any) -> Any:
    """The recording, with the fields added that our types give a default for."""
    if isinstance(recorded, dict):
        return {**{key: typed[key] for key in typed.keys() - recorded.keys()}} | {
            key: _with_defaults(value, typed[key]) for key, value in recorded.items()
        }
    if isinstance(recorded, list):
        assert len(recorded) == len(typed)
        return [_with_defaults(*pair) for pair in zip(recorded, typed, strict=True)]
    return recorded


def test_a_list_that_a_server_lacks_says_so(httpserver: HTTPServer) -> None:
    with (
        WebUI(serve(httpserver, FORGE), retries=ONCE) as webui,
        pytest.raises(NotFound, match="sd-vae"),
    ):
        webui.sd_vaes()


PNG = base64.b64encode(png_bytes()).decode()


@pytest.mark.parametrize(
    ("path", "reply", "call", "sent", "got"),
    [
        (
            "/sdapi/v1/extra-single-image",
            {"html_info": "<p></p>", "image": PNG},
            lambda webui: webui.extras(ExtrasSingleRequest(image=png_bytes(), upscaler_1="Lanczos")).image,
            {"upscaler_1": "Lanczos", "image": PNG},
            png_bytes(),
        ),
        (
            "/sdapi/v1/extra-batch-images",
            {"html_info": "<p></p>", "images": [PNG, PNG]},
            lambda webui: webui.extras_batch(ExtrasBatchRequest(images=[png_bytes(), png_bytes()])).images,
            {"imageList": [{"data": PNG, "name": "1.png"}, {"data": PNG, "name": "2.png"}]},
            (png_bytes(), png_bytes()),
        ),
        (
            "/sdapi/v1/interrogate",
            {"caption": "a green board"},
            lambda webui: webui.interrogate(InterrogateRequest(image=png_bytes())).caption,
            {"image": PNG, "model": "clip"},
            "a green board",
        ),
        (
            "/sdapi/v1/png-info",
            {"info": "Steps: 4", "items": {}, "parameters": {}},
            lambda webui: webui.png_info(png_bytes()).info,
            {"image": PNG},
            "Steps: 4",
        ),
        (
            "/internal/progress",
            {"active": True, "queued": False, "completed": False, "progress": 0.5, "eta": 1.5},
            lambda webui: webui.task_progress(InternalProgressRequest(id_task="mine", live_preview=False)).progress,
            {"id_task": "mine", "live_preview": False},
            0.5,
        ),
        ("/sdapi/v1/options", None, lambda webui: webui.set_options({"tiling": True}), {"tiling": True}, None),
    ],
)
def test_a_call_sends_and_reads_its_typed_payload(
    httpserver: HTTPServer, path: str, reply: Any, call: Callable[[WebUI], Any], sent: dict[str, Any], got: Any
) -> None:
    httpserver.expect_oneshot_request(path, method="POST").respond_with_json(reply)
    with WebUI(httpserver.url_for(""), retries=ONCE) as webui:
        assert call(webui) == got
    arrived = json.loads(httpserver.log[-1][0].get_data())
    assert {key: arrived[key] for key in sent} == sent


def test_waiting_jobs_are_listed(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/internal/pending-tasks").respond_with_json({"size": 1, "tasks": ["task(a)"]})
    with WebUI(httpserver.url_for(""), retries=ONCE) as webui:
        assert webui.pending_tasks().tasks == ("task(a)",)


def test_what_sdnext_lists_as_schedules_is_said_to_be_something_else(httpserver: HTTPServer) -> None:
    with WebUI(serve(httpserver, SDNEXT), retries=ONCE) as webui:
        with pytest.raises(UnexpectedReply, match=r"schedulers.*label"):
            webui.schedulers()
        assert [entry.label for entry in webui.dialect.schedulers or ()][:2] == ["Automatic", "Karras"]


@pytest.mark.parametrize(
    ("task", "job_count", "state"),
    [
        ({"active": True, "queued": False, "completed": False}, 1, JobState.WORKING),
        ({"active": True, "queued": False, "completed": False}, 0, JobState.ENDED),
        ({"active": False, "queued": True, "completed": False}, 1, JobState.WORKING),
        ({"active": False, "queued": True, "completed": False}, 0, JobState.UNSURE),
        ({"active": False, "queued": False, "completed": True}, 1, JobState.ENDED),
        ({"active": False, "queued": False, "completed": False, "paused": False}, 1, JobState.WORKING),
        ({"active": False, "queued": False, "completed": False, "paused": False}, 0, JobState.ENDED),
    ],
)
def test_a_job_is_over_when_nothing_runs_or_it_is_completed(
    httpserver: HTTPServer, task: dict[str, Any], job_count: int, state: JobState
) -> None:
    httpserver.expect_request("/internal/progress").respond_with_json(task)
    httpserver.expect_request("/sdapi/v1/progress").respond_with_json({"state": {"job": "", "job_count": job_count}})
    with WebUI(httpserver.url_for(""), retries=ONCE) as webui:
        assert job_state(webui._connection, "task(mine)") is state
