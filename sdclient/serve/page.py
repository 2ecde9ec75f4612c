"""The calls that a WebUI answers for its own page: `/internal/*`, open to everybody even where the API is not."""

from __future__ import annotations

import html
from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.responses import HTMLResponse

from .._images import encode_png, to_base64
from .faults import ErrorRoute
from .jobs import JobBoard
from .payload import InternalProgressBody
from .settings import ServerOptions

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>sdclient serve</title>
<p>{notice}</p><p>The API is at <a href="docs">/docs</a>.</p></html>
"""


def page_router(settings: ServerOptions, board: JobBoard, notice: str) -> APIRouter:
    """The routes of a server with its page, which shows the notice."""
    router = APIRouter(route_class=ErrorRoute)

    @router.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> str:
        return _PAGE.format(notice=html.escape(notice))

    @router.get("/internal/ping", include_in_schema=False)
    async def ping() -> dict[str, Any]:
        return {}

    @router.get("/internal/pending-tasks", include_in_schema=False)
    async def pending_tasks() -> dict[str, Any]:
        waiting = board.tasks.waiting()
        return {"size": len(waiting), "tasks": waiting}

    @router.post("/internal/progress", include_in_schema=False)
    async def progress(body: Annotated[InternalProgressBody, Body()]) -> dict[str, Any]:  # type: ignore[valid-type]
        return _progress(body, settings, board)

    return router


def _progress(body: Any, settings: ServerOptions, board: JobBoard) -> dict[str, Any]:
    """What is known of one job; a name nobody ever sent is simply none of the three."""
    waiting = board.tasks.waiting()
    queued = body.id_task in waiting
    answer: dict[str, Any] = {
        "active": board.tasks.is_running(body.id_task),
        "queued": queued,
        "completed": board.tasks.is_done(body.id_task),
        "progress": None,
        "eta": None,
        "live_preview": None,
        "id_live_preview": -1,
        "textinfo": f"In queue: {waiting.index(body.id_task) + 1}/{len(waiting)}" if queued else "Waiting...",
    }
    if not answer["active"]:
        return answer
    share, eta_s = board.share_and_eta()
    answer |= {"progress": share, "eta": eta_s, "id_live_preview": body.id_live_preview, "textinfo": None}
    image, number = board.current_image, board.preview_number
    if body.live_preview and settings["live_previews_enable"] and image is not None and number != body.id_live_preview:
        answer["live_preview"] = f"data:image/png;base64,{to_base64(encode_png(image))}"
        answer["id_live_preview"] = number
    return answer
