"""What a request for a picture from words sends and refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sdclient.models import Txt2ImgRequest


def test_what_was_not_given_is_left_to_the_server() -> None:
    sent = Txt2ImgRequest(prompt="a pad").payload()
    assert sent["prompt"] == "a pad"
    assert sent["enable_hr"] is False
    assert "denoising_strength" not in sent
    assert None not in sent.values()


def test_a_second_pass_is_sent_with_its_settings() -> None:
    sent = Txt2ImgRequest(enable_hr=True, denoising_strength=0.3, hr_upscaler="Latent", hr_resize_x=1024).payload()
    assert (sent["enable_hr"], sent["denoising_strength"], sent["hr_upscaler"], sent["hr_resize_x"]) == (
        True,
        0.3,
        "Latent",
        1024,
    )


def test_a_second_pass_without_a_strength_is_refused_before_sending() -> None:
    with pytest.raises(ValidationError, match="enable_hr needs denoising_strength"):
        Txt2ImgRequest(enable_hr=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"denoising_strength": 1.5},
        {"hr_scale": 0},
        {"hr_scale": float("nan")},
        {"cfg_scale": float("inf")},
        {"hr_resize_x": -8},
        {"hr_second_pass_steps": -1},
        {"width": 65},
        {"steps": 0},
        {"seed": -2},
        {"init_images": []},
        {"no_such_field": 1},
    ],
    ids=str,
)
def test_what_the_server_would_fail_on_or_ignore_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Txt2ImgRequest(**wrong)


def test_lists_are_held_as_tuples_and_requests_cannot_be_changed() -> None:
    styles = ["macro"]
    request = Txt2ImgRequest(styles=styles, script_args=[1, None])
    styles.append("other")
    assert request.styles == ("macro",)
    assert request.payload()["script_args"] == [1, None]
    with pytest.raises(ValidationError, match="frozen"):
        request.steps = 3  # type: ignore[misc]
