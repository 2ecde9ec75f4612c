"""The web application: `/sdapi/v1` as a WebUI started with `--api --nowebui` offers it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, Query

from .._images import encode_png, to_base64
from . import facts
from .auth import password_check
from .catalogue import SAMPLERS, SCHEDULERS
from .engines import Engine
from .engines.classical import ClassicalEngine
from .faults import FaultyRoute, add_fault_handlers
from .img2img import Img2Img
from .jobs import JobBoard
from .payload import Img2ImgBody, PngInfoBody
from .pictures import decode_image
from .settings import Settings
from .words import NOTICE, VERSION


def create_app(
    *,
    engine: Engine | None = None,
    job_ms: float = 0,
    api_auth: str | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
) -> FastAPI:
    """Make the application. It keeps nothing: `save_images` changes the reply and writes no file.

    Args:
        engine: makes the pixels; None is the classical engine.
        job_ms: what a batch takes at least, in ms, to try a pipeline against a server that is not instant.
        api_auth: "user:password" that every call must carry; None lets everybody in.
        host: the address it is served at, for `/cmd-flags`.
        port: the same for the port.
    """
    settings, board = Settings(), JobBoard()
    generation = Img2Img(engine or ClassicalEngine(), settings, board, job_s=job_ms / 1000)
    router = APIRouter(prefix="/sdapi/v1", route_class=FaultyRoute, dependencies=[Depends(password_check(api_auth))])

    # The one call that takes long runs in a worker thread; the others answer at once, however many wait.
    @router.post("/img2img")
    def img2img(body: Annotated[Img2ImgBody, Body()]) -> dict[str, Any]:  # type: ignore[valid-type]
        return generation.run(body)

    @router.post("/png-info")
    async def png_info(body: Annotated[PngInfoBody, Body()]) -> dict[str, Any]:  # type: ignore[valid-type]
        return facts.png_info(decode_image(body.image.strip()))  # type: ignore[attr-defined]

    @router.get("/samplers")
    async def samplers() -> list[dict[str, Any]]:
        return [sampler.model_dump() for sampler in SAMPLERS]

    @router.get("/schedulers")
    async def schedulers() -> list[dict[str, Any]]:
        return [scheduler.model_dump() for scheduler in SCHEDULERS]

    @router.get("/sd-models")
    async def sd_models() -> list[dict[str, Any]]:
        return facts.sd_models()

    @router.get("/options")
    async def options() -> dict[str, Any]:
        return settings.snapshot()

    @router.post("/options")
    async def set_options(changes: dict[str, Any]) -> None:
        settings.store(changes)

    @router.get("/progress")
    async def progress(skip_current_image: Annotated[bool, Query()] = False) -> dict[str, Any]:
        shown = None if skip_current_image else board.current_image
        preview = None if shown is None else to_base64(encode_png(shown))
        return {**board.progress(), "current_image": preview, "textinfo": None}

    @router.post("/interrupt")
    async def interrupt() -> dict[str, Any]:
        board.interrupt()
        return {}

    @router.get("/memory")
    async def memory() -> dict[str, Any]:
        return facts.memory()

    @router.get("/cmd-flags")
    async def cmd_flags() -> dict[str, Any]:
        return facts.cmd_flags(host=host, port=port)

    app = FastAPI(title="sdclient serve", description=NOTICE, version=VERSION)
    app.include_router(router)
    add_fault_handlers(app)
    app.state.board = board
    return app
