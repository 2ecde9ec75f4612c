"""First contact, lists and options."""

from __future__ import annotations

from collections.abc import Sized

import pytest

from sdclient.client import RetryPolicy, WebUI
from sdclient.client.dialects import Product
from sdclient.errors import ServerFault, Unauthorized, UnexpectedReply
from tests.support.live import Live, if_there


def test_the_server_is_recognised(live: Live) -> None:
    kind = live.webui.kind
    assert kind.recognised_by
    if kind.product is Product.UNKNOWN:
        pytest.skip(f"a program this client does not know: {', '.join(kind.recognised_by)}")


def test_it_tells_its_version(live: Live) -> None:
    version = live.webui.version().version
    if version is None:
        pytest.skip("this server does not tell its version")
    assert version


def test_it_tells_its_memory(live: Live) -> None:
    memory = if_there("memory call", live.webui.memory)
    assert memory.ram or memory.cuda


def test_it_tells_its_flags(live: Live) -> None:
    assert if_there("cmd-flags call", live.webui.cmd_flags) is not None


def test_an_idle_server_is_at_no_job(live: Live) -> None:
    live.skip_if_busy()
    progress = live.webui.progress()
    assert (progress.progress, progress.state.sampling_steps) == (0, 0)


def test_there_are_samplers_and_each_resolves_to_itself(live: Live) -> None:
    names = [sampler.name for sampler in live.webui.samplers()]
    assert names
    assert len(set(names)) == len(names)
    for name in names:
        sampler, _ = live.webui.dialect.resolve(name, None)
        assert sampler == name


def test_there_is_a_model(live: Live) -> None:
    models = live.webui.sd_models()
    if not models:
        pytest.skip("this server lists no model; it loads one on demand, or none is installed")
    assert all(model.title for model in models)


@pytest.mark.parametrize(
    "name",
    [
        "schedulers",
        "upscalers",
        "latent_upscale_modes",
        "sd_vaes",
        "sd_modules",
        "loras",
        "hypernetworks",
        "face_restorers",
        "realesrgan_models",
        "prompt_styles",
        "script_info",
        "extensions",
    ],
)
def test_a_list_can_be_read(live: Live, name: str) -> None:
    try:
        found = if_there(f"list {name.replace('_', '-')}", getattr(live.webui, name))
    except (ServerFault, UnexpectedReply) as error:
        pytest.skip(f"this server has another kind of list here: {error}")
    assert isinstance(found, Sized)


def test_embeddings_and_scripts_can_be_read(live: Live) -> None:
    assert if_there("list of embeddings", live.webui.embeddings).loaded is not None
    assert if_there("list of scripts", live.webui.scripts).img2img is not None


def test_an_option_is_set_read_back_and_restored_even_when_its_user_fails(live: Live) -> None:
    former = live.options()
    if "CLIP_stop_at_last_layers" not in former:
        pytest.skip("this server has no option CLIP_stop_at_last_layers")
    other = 3 - former["CLIP_stop_at_last_layers"] if former["CLIP_stop_at_last_layers"] in (1, 2) else 1
    with live.changed(CLIP_stop_at_last_layers=other):
        assert live.webui.options().CLIP_stop_at_last_layers == other
    assert live.options()["CLIP_stop_at_last_layers"] == former["CLIP_stop_at_last_layers"]
    with pytest.raises(ZeroDivisionError), live.changed(CLIP_stop_at_last_layers=other):
        raise ZeroDivisionError
    assert live.options()["CLIP_stop_at_last_layers"] == former["CLIP_stop_at_last_layers"]


@pytest.mark.parametrize("password", [None, "surely wrong"])
def test_a_wrong_password_is_refused(live: Live, password: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if live.auth is None:
        pytest.skip("the server asks for no password, or none was given (--webui-auth)")
    monkeypatch.delenv("SDCLIENT_AUTH", raising=False)
    auth = None if password is None else (live.auth[0], password)
    with WebUI(live.url, auth=auth, retries=RetryPolicy(attempts=1)) as stranger, pytest.raises(Unauthorized) as told:
        stranger.options()
    assert live.auth[1] not in str(told.value)
