"""The web application: `/sdapi/v1` as a WebUI started with `--api` offers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, Query

from .._images import encode_png, to_base64
from . import facts
from .auth import password_check
from .engines import SingleImageEngine
from .engines.classical import ClassicalEngine
from .engines.one_by_one import OneByOneEngine
from .extras import Extras, interrogate
from .faults import ErrorRoute, add_fault_handlers
from .generation import BatchTime
from .img2img import Img2Img
from .jobs import JobBoard, JobWatcher
from .lists import list_router
from .page import page_router
from .painting import Engine
from .payload import ExtrasBatchBody, ExtrasSingleBody, Img2ImgBody, InterrogateBody, PngInfoBody, Txt2ImgBody
from .pictures import decode_request_image
from .settings import ServerOptions
from .txt2img import Txt2Img
from .words import VERSION
from .work_clock import clock_router


def create_app(
    *,
    engine: SingleImageEngine | Engine | None = None,
    job_ms: float = 0,
    image_ms: float = 0,
    api_auth: str | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    with_page: bool = False,
    watcher: JobWatcher | None = None,
    loras: Sequence[str] = (),
) -> FastAPI:
    """Make the application. It keeps nothing: `save_images` changes the reply and writes no file.

    Args:
        engine: makes the pixels; None is the classical engine.
        job_ms: what a batch takes at least, in ms, to try a pipeline against a server that is not instant.
        image_ms: what each image of a batch adds to that; a GPU makes four small images in less than four times one's.
        api_auth: "user:password" that every call must carry; None lets everybody in.
        host: the address it is served at, for `/cmd-flags`.
        port: the same for the port.
        with_page: answer `/internal/*` too, as a WebUI that was started without `--nowebui`.
        watcher: is told of each generating job.
        loras: names to list and to tell of as used, for trying clients; they change no pixel.
    """
    painter = engine if isinstance(engine, Engine) else OneByOneEngine(engine or ClassicalEngine())
    settings, board = ServerOptions(painter.model, loras), JobBoard(watcher)
    app = FastAPI(title="sdclient serve", description=painter.notice, version=VERSION)
    check = Depends(password_check(api_auth))
    app.include_router(_generating(painter, settings, board, BatchTime(job_ms / 1000, image_ms / 1000), check))
    app.include_router(_telling(settings, board, check, facts.cmd_flags(host=host, port=port, with_page=with_page)))
    app.include_router(list_router(painter, check, settings.loras))
    app.include_router(clock_router(board.clock, check))
    if with_page:
        app.include_router(page_router(settings, board, painter.notice))
    add_fault_handlers(app)
    app.state.board = board
    return app


def _generating(painter: Engine, settings: ServerOptions, board: JobBoard, time: BatchTime, check: Any) -> APIRouter:
    """The calls that make or change pictures.

    They take long and run in worker threads; all others answer at once, however many of these wait.
    """
    router = APIRouter(prefix="/sdapi/v1", route_class=ErrorRoute, dependencies=[check])
    from_image = Img2Img(painter, settings, board, time=time)
    from_words = Txt2Img(painter, settings, board, time=time)
    extras = Extras(settings, board)

    @router.post("/img2img")
    def img2img(body: Annotated[Img2ImgBody, Body()]) -> dict[str, Any]:  # type: ignore[valid-type]
        return from_image.run(body)

    @router.post("/txt2img")
    def txt2img(body: Annotated[Txt2ImgBody, Body()]) -> dict[str, Any]:  # type: ignore[valid-type]
        return from_words.run(body)

    @router.post("/extra-single-image")
    def extra_single_image(body: Annotated[ExtrasSingleBody, Body()]) -> dict[str, Any]:  # type: ignore[valid-type]
        return extras.single(body)

    @router.post("/extra-batch-images")
    def extra_batch_images(body: Annotated[ExtrasBatchBody, Body()]) -> dict[str, Any]:
        return extras.batch(body)

    @router.post("/interrogate")
    def interrogate_image(body: Annotated[InterrogateBody, Body()]) -> dict[str, str]:  # type: ignore[valid-type]
        return interrogate(body)

    return router


def _telling(settings: ServerOptions, board: JobBoard, check: Any, flags: dict[str, Any]) -> APIRouter:
    """The calls about an image, about the options and about the running job."""
    router = APIRouter(prefix="/sdapi/v1", route_class=ErrorRoute, dependencies=[check])

    @router.post("/png-info")
    async def png_info(body: Annotated[PngInfoBody, Body()]) -> dict[str, Any]:  # type: ignore[valid-type]
        return facts.png_info(decode_request_image(body.image.strip()))  # type: ignore[attr-defined]

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

    @router.post("/skip")
    async def skip() -> None:
        board.skip()

    @router.get("/memory")
    async def memory() -> dict[str, Any]:
        return facts.memory()

    @router.get("/cmd-flags")
    async def cmd_flags() -> dict[str, Any]:
        return flags

    return router
