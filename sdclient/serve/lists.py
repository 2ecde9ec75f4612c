"""What the server has to offer, and the calls that would look for more: most lists are empty, for it has one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from . import facts, scripts
from .faults import ErrorRoute
from .painting import Engine
from .upscalers import latent_upscale_modes, upscalers

_EMPTY = (
    "sd-vae",
    "hypernetworks",
    "face-restorers",
    "realesrgan-models",
    "prompt-styles",
    "extensions",
)
_REFRESHED = ("refresh-checkpoints", "refresh-vae", "refresh-embeddings")


def list_router(painter: Engine, check: Any, loras: Sequence[str] = ()) -> APIRouter:
    """The routes.

    Args:
        painter: what makes the pixels; its samplers, schedules and model are listed.
        check: a dependency that lets a request pass or not. As in a WebUI, where an extension adds them, the
            two calls about LoRAs are open to everybody.
        loras: names to list.
    """
    router = APIRouter(prefix="/sdapi/v1", route_class=ErrorRoute)
    guarded = [check]

    async def empty() -> list[Any]:
        return []

    async def nothing() -> None:
        return None

    async def done() -> dict[str, Any]:
        return {}

    for name in _EMPTY:
        router.add_api_route(f"/{name}", empty, methods=["GET"], dependencies=guarded)
    for name in _REFRESHED:
        router.add_api_route(f"/{name}", nothing, methods=["POST"], dependencies=guarded)
    for name in ("reload-checkpoint", "unload-checkpoint"):
        router.add_api_route(f"/{name}", done, methods=["POST"], dependencies=guarded)

    @router.get("/loras")
    async def list_loras() -> list[dict[str, Any]]:
        return [facts.lora(name) for name in loras]

    router.add_api_route("/refresh-loras", nothing, methods=["POST"])

    @router.get("/samplers", dependencies=guarded)
    async def samplers() -> list[dict[str, Any]]:
        return [sampler.model_dump() for sampler in painter.catalogue.samplers]

    @router.get("/schedulers", dependencies=guarded)
    async def schedulers() -> list[dict[str, Any]]:
        return [scheduler.model_dump() for scheduler in painter.catalogue.schedulers]

    @router.get("/sd-models", dependencies=guarded)
    async def sd_models() -> list[dict[str, Any]]:
        return facts.sd_models(painter.model)

    @router.get("/embeddings", dependencies=guarded)
    async def embeddings() -> dict[str, Any]:
        return {"loaded": {}, "skipped": {}}

    @router.get("/upscalers", dependencies=guarded)
    async def list_upscalers() -> list[dict[str, Any]]:
        return upscalers()

    @router.get("/latent-upscale-modes", dependencies=guarded)
    async def list_latent_upscale_modes() -> list[dict[str, Any]]:
        return latent_upscale_modes()

    @router.get("/scripts", dependencies=guarded)
    async def list_scripts() -> dict[str, list[str]]:
        return scripts.titles()

    @router.get("/script-info", dependencies=guarded)
    async def script_info() -> list[dict[str, Any]]:
        return scripts.described(painter.catalogue)

    return router
