"""Which scripts a request may name: two always-on ones that change nothing here, and no selectable one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import HTTPException

from .catalogue import Catalogue

_ALWAYS_ON = ("sampler", "seed")
_SELECTABLE = frozenset(
    {
        "img2img alternative test",
        "loopback",
        "outpainting mk2",
        "poor man's outpainting",
        "prompt matrix",
        "prompts from file or textbox",
        "sd upscale",
        "x/y/z plot",
    }
)
"""The genuine server has these; naming one as always-on is a mistake it has words for."""


def _arg(
    label: str, value: Any, low: Any = None, high: Any = None, step: Any = None, choices: list[str] | None = None
) -> dict[str, Any]:
    return {"label": label, "value": value, "minimum": low, "maximum": high, "step": step, "choices": choices}


def titles() -> dict[str, list[str]]:
    """Reply of `/sdapi/v1/scripts`."""
    return {"txt2img": list(_ALWAYS_ON), "img2img": list(_ALWAYS_ON)}


def described(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Reply of `/sdapi/v1/script-info`: each script with its arguments, for txt2img and for img2img."""
    samplers = [sampler.name for sampler in catalogue.samplers]
    schedules = [scheduler.label for scheduler in catalogue.schedulers]
    args = {
        "sampler": [
            _arg("Sampling steps", 20, 1, 150, 1),
            _arg("Sampling method", samplers[0], choices=samplers),
            _arg("Schedule type", schedules[0], choices=schedules),
        ],
        "seed": [
            _arg("Seed", -1, step=1),
            _arg("Extra", False),
            _arg("Variation seed", -1, step=1),
            _arg("Variation strength", 0.0, 0, 1, 0.01),
            _arg("Resize seed from width", 0, 0, 2048, 8),
            _arg("Resize seed from height", 0, 0, 2048, 8),
        ],
    }
    return [
        {"name": name, "is_alwayson": True, "is_img2img": is_img2img, "args": args[name]}
        for is_img2img in (False, True)
        for name in _ALWAYS_ON
    ]


def check_scripts(script_name: str | None, always_on: Mapping[str, Any]) -> None:
    """Refuse scripts that cannot run here, in the WebUI's words.

    Raises:
        HTTPException: 422.
    """
    if script_name:
        raise HTTPException(422, f"Script '{script_name}' not found")
    for name in always_on:
        if name.lower() in _SELECTABLE:
            raise HTTPException(422, "Cannot have a selectable script in the always on scripts params")
        if name.lower() not in _ALWAYS_ON:
            raise HTTPException(422, f"Script '{name}' not found")
