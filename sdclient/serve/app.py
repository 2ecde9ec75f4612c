"""The web application of the embedded server, run in this thread or in a thread of its own."""

import base64
import binascii
import html
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any

import uvicorn  # noqa: F401 - imported here too, so that a missing extra `serve` is found at once
from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from sdcore.images.decode import to_png
from sdcore.web import ReadyServer, listen, url_of

from ..models._base import to_base64
from . import bodies
from .calls import Img2Img, Txt2Img
from .classical_engine import ClassicalEngine, OneByOneEngine
from .engine import VERSION, Engine, SingleImageEngine
from .extras import Extras, interrogate
from .generation import BatchTime
from .jobs import JobBoard, JobWatcher
from .listings import cmd_flags, list_router, read_memory, read_png_info
from .parameters import ServerOptions


@dataclass(frozen=True)
class EmbeddedServerOptions:
    """How an embedded server behaves."""

    engine: SingleImageEngine | Engine | None = None
    """Makes the pixels; None is the classical engine."""
    job_ms: float = 0
    """Least time of a batch, in ms; to try a pipeline with a server that takes time."""
    image_ms: float = 0
    """Added for each image of the batch: a GPU makes four small images in less than four times the time of one."""
    api_auth: str | None = None
    """"user:password" that every call must carry; None asks for no password."""
    with_page: bool = False
    """Answer `/internal/*` too, like a WebUI that was started without `--nowebui`."""
    watcher: JobWatcher | None = None
    """Notified when each generating job begins and ends."""
    loras: Sequence[str] = ()
    """Names to list and to report as used, for trying clients; they change no pixel."""


def create_app(
    options: EmbeddedServerOptions | None = None, *, host: str = "127.0.0.1", port: int | None = None
) -> FastAPI:
    """Build the application. It stores nothing: `save_images` changes the reply and writes no file.

    Host and port are those that `/cmd-flags` reports.
    """
    options = options or EmbeddedServerOptions()
    engine = options.engine or ClassicalEngine()
    if not isinstance(engine, Engine):
        engine = OneByOneEngine(engine)
    settings, board = ServerOptions(engine.model, options.loras), JobBoard(options.watcher)
    time = BatchTime(options.job_ms / 1000, options.image_ms / 1000)
    app = FastAPI(title="sdclient serve", description=engine.notice, version=VERSION)
    check = Depends(password_check(options.api_auth))
    app.include_router(_generating_router(engine, settings, board, time, check))
    app.include_router(_state_router(settings, board, check, cmd_flags(host, port, with_page=options.with_page)))
    app.include_router(list_router(engine, check, settings.loras))
    if options.with_page:
        app.include_router(_page_router(settings, board, engine.notice))
    bodies.add_error_handlers(app)
    app.state.board = board
    return app


def _generating_router(
    engine: Engine, settings: ServerOptions, board: JobBoard, time: BatchTime, check: Any
) -> APIRouter:
    """The calls that make or change images.

    They take long, so they are plain functions, which FastAPI runs in worker threads. All other calls are coroutines
    and answer at once, however many of these are waiting.
    """
    router = APIRouter(prefix="/sdapi/v1", route_class=bodies.ErrorRoute, dependencies=[check])
    img2img_call = Img2Img(engine, settings, board, time=time)
    txt2img_call = Txt2Img(engine, settings, board, time=time)
    extras = Extras(settings, board)

    @router.post("/img2img")
    def img2img(body: Annotated[bodies.Img2ImgBody, Body()]) -> dict[str, Any]:  # type: ignore[valid-type]
        return img2img_call.run(body)

    @router.post("/txt2img")
    def txt2img(body: Annotated[bodies.Txt2ImgBody, Body()]) -> dict[str, Any]:  # type: ignore[valid-type]
        return txt2img_call.run(body)

    @router.post("/extra-single-image")
    def extra_single_image(body: Annotated[bodies.ExtrasSingleBody, Body()]) -> dict[str, Any]:  # type: ignore[valid-type]
        return extras.single(body)

    @router.post("/extra-batch-images")
    def extra_batch_images(body: Annotated[bodies.ExtrasBatchBody, Body()]) -> dict[str, Any]:
        return extras.batch(body)

    @router.post("/interrogate")
    def interrogate_image(body: Annotated[bodies.InterrogateBody, Body()]) -> dict[str, str]:  # type: ignore[valid-type]
        return interrogate(body)

    return router


def _state_router(settings: ServerOptions, board: JobBoard, check: Any, flags: dict[str, Any]) -> APIRouter:
    """The calls about an image's texts, the options, the running job, the memory and the start-up flags."""
    router = APIRouter(prefix="/sdapi/v1", route_class=bodies.ErrorRoute, dependencies=[check])

    @router.post("/png-info")
    async def png_info(body: Annotated[bodies.PngInfoBody, Body()]) -> dict[str, Any]:  # type: ignore[valid-type]
        return read_png_info(bodies.decode_request_image(body.image.strip()))  # type: ignore[attr-defined]

    @router.get("/options")
    async def options() -> dict[str, Any]:
        return settings.snapshot()

    @router.post("/options")
    async def set_options(changes: dict[str, Any]) -> None:
        settings.store(changes)

    @router.get("/progress")
    async def progress(skip_current_image: Annotated[bool, Query()] = False) -> dict[str, Any]:
        image = None if skip_current_image else board.current_image
        preview = None if image is None else to_base64(to_png(image))
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
        return read_memory()

    @router.get("/cmd-flags")
    async def cmd_flags() -> dict[str, Any]:
        return flags

    return router


def password_check(credentials: str | None) -> Callable[[Request], None]:
    """A FastAPI dependency that requires the credentials "user:password"; None requires nothing."""

    def check(request: Request) -> None:
        if credentials is None:
            return
        scheme, _, parameter = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic" or not parameter:
            raise HTTPException(401, "Not authenticated")
        try:
            given = base64.b64decode(parameter, validate=True)
            given.decode("utf-8")
        except (binascii.Error, ValueError) as error:
            raise HTTPException(401, "Invalid authentication credentials") from error
        if b":" not in given:
            raise HTTPException(401, "Invalid authentication credentials")
        if not secrets.compare_digest(given, credentials.encode("utf-8")):
            raise HTTPException(401, "Incorrect username or password")

    return check


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>sdclient serve</title>
<p>{notice}</p><p>The API is at <a href="docs">/docs</a>.</p></html>
"""


def _page_router(settings: ServerOptions, board: JobBoard, notice: str) -> APIRouter:
    """The page, which shows the notice, and the calls of a WebUI that was started with its page."""
    router = APIRouter(route_class=bodies.ErrorRoute)

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
    async def progress(body: Annotated[bodies.InternalProgressBody, Body()]) -> dict[str, Any]:  # type: ignore[valid-type]
        return _progress(body, settings, board)

    return router


def _progress(body: Any, settings: ServerOptions, board: JobBoard) -> dict[str, Any]:
    """State of one job; an unknown one is neither active, nor queued, nor completed."""
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
        answer["live_preview"] = f"data:image/png;base64,{to_base64(to_png(image))}"
        answer["id_live_preview"] = number
    return answer


_GRACE_S = 5


@dataclass(frozen=True)
class RunningServer:
    """A server that answers."""

    url: str
    """Base address without a slash at the end, as `WebUI(url)` wants it."""


class EmbeddedServer(ReadyServer):
    """The embedded server for a bound socket, not started yet.

    When it stops it first interrupts all jobs, so that their clients get an answer and no job delays its end.
    """

    def __init__(self, bound: socket.socket, options: EmbeddedServerOptions | None = None) -> None:
        host, port = bound.getsockname()[:2]
        self.app = create_app(options, host=host, port=port)
        super().__init__(self.app, grace_s=_GRACE_S, server_header=True)
        self.when_stopping = self.app.state.board.close


@contextmanager
def running_server(options: EmbeddedServerOptions | None = None) -> Iterator[RunningServer]:
    """Run the server on a free loopback port in a thread of this process, for as long as the block lasts.

    Raises:
        RuntimeError: it did not start; the thread's own traceback says why.
    """
    bound = listen("127.0.0.1", 0)
    try:
        with EmbeddedServer(bound, options).in_background(bound, "sdclient-serve"):
            yield RunningServer(url_of(bound))
    finally:
        bound.close()


def run_until_stopped(bound: socket.socket, options: EmbeddedServerOptions) -> None:
    """Serve on a bound socket in this thread until Ctrl-C or a termination signal."""
    with suppress(KeyboardInterrupt):
        EmbeddedServer(bound, options).run(bound)
