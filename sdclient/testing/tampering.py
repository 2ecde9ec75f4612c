"""Changes of requests and replies on their way (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def swap_request(body: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The request with other values."""
    return {**body, **changes}


def hide_swap(reply: Mapping[str, Any], asked: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The reply to a swapped request, whose `parameters` still repeat what was asked."""
    parameters = {**reply["parameters"], **{name: asked.get(name) for name in changes}}
    return {**reply, "parameters": parameters}


def drop_images(reply: Mapping[str, Any], missing: int) -> dict[str, Any]:
    """The reply without its last images: their infotexts go, their seeds stay, as after an interrupt."""
    info = json.loads(reply["info"])
    kept = max(len(reply["images"]) - missing, 0)
    info["infotexts"] = info["infotexts"][:kept]
    return {**reply, "images": reply["images"][:kept], "info": json.dumps(info)}
