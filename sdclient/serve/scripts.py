"""Which scripts a request may name: two always-on ones that change nothing here, and no selectable one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import HTTPException

_ALWAYS_ON = frozenset({"sampler", "seed"})
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
