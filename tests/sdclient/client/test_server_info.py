"""Which options change results, and when a value of one is unusual."""

from __future__ import annotations

from typing import Any

import pytest

from sdclient.client.server_info import RESULT_OPTIONS, result_options
from tests.support.server_doubles import recorded_a1111


def test_a_fresh_genuine_server_has_only_usual_values() -> None:
    states = result_options(recorded_a1111()["/sdapi/v1/options"])
    assert [state.option.name for state in states if not state.is_usual] == []
    own = {"schedulers_sigma", "forge_additional_modules", "forge_unet_storage_dtype"}
    assert {state.option.name for state in states} == {option.name for option in RESULT_OPTIONS} - own


def test_no_option_stands_twice() -> None:
    assert len({option.name for option in RESULT_OPTIONS}) == len(RESULT_OPTIONS)


@pytest.mark.parametrize(
    ("options", "usual"),
    [
        ({"samples_format": "PNG"}, True),
        ({"samples_format": "jpg"}, False),
        ({"initial_noise_multiplier": 1}, True),
        ({"initial_noise_multiplier": 0.95}, False),
        ({"initial_noise_multiplier": None}, False),
        ({"initial_noise_multiplier": float("nan")}, False),
        ({"CLIP_stop_at_last_layers": 1.0}, True),
        ({"CLIP_stop_at_last_layers": 2}, False),
        ({"forge_additional_modules": []}, True),
        ({"forge_additional_modules": ["/ae.safetensors"]}, False),
        ({"tiling": True}, False),
    ],
)
def test_values_are_compared_as_what_they_mean(options: dict[str, Any], usual: bool) -> None:
    (state,) = result_options(options)
    assert state.is_usual is usual


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ({"samples_format": "webp"}, "samples_format is 'webp': replies hold images that lost detail; set it to 'png'"),
        (
            {"img2img_color_correction": True},
            "img2img_color_correction is True: colours are pulled back to those of the source; set it to False",
        ),
        (
            {"enable_pnginfo": False},
            "enable_pnginfo is False: images carry no infotext; nobody can tell what made them; set it to True",
        ),
        ({"img2img_fix_steps": True}, None),
        ({"samples_format": "png", "unknown": 1}, None),
    ],
)
def test_only_what_spoils_a_batch_is_warned_about(options: dict[str, Any], warning: str | None) -> None:
    (state,) = result_options(options)
    assert state.warning == warning


def test_an_option_that_forge_does_not_heed_is_left_out() -> None:
    states = result_options({"sd_vae": "other", "forge_additional_modules": []})
    assert [state.option.name for state in states] == ["forge_additional_modules"]
