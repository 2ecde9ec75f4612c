"""The web application and running it."""

from __future__ import annotations

import base64
import binascii
import html
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from sdcore.web import listen, url_of

from .._images import encode_png
from ..models._base import to_base64
from .bodies import (
    ErrorRoute,
    ExtrasBatchBody,
    ExtrasSingleBody,
    Img2ImgBody,
    InternalProgressBody,
    InterrogateBody,
    PngInfoBody,
    Txt2ImgBody,
    add_fault_handlers,
    decode_request_image,
)
from .calls import Img2Img, Txt2Img
from .classical_engine import ClassicalEngine, OneByOneEngine
from .engine import VERSION, Engine, SingleImageEngine
from .extras import Extras, interrogate
from .generation import BatchTime
from .jobs import JobBoard, JobWatcher
from .listings import cmd_flags, list_router, read_memory, read_png_info
from .parameters import ServerOptions
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
    app.include_router(_telling(settings, board, check, cmd_flags(host=host, port=port, with_page=with_page)))
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
        return read_png_info(decode_request_image(body.image.strip()))  # type: ignore[attr-defined]

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
        return read_memory()

    @router.get("/cmd-flags")
    async def cmd_flags() -> dict[str, Any]:
        return flags

    return router


def password_check(credentials: str | None) -> Callable[[Request], None]:
    """A FastAPI dependency that lets only these credentials pass; None lets everybody pass.

    Args:
        credentials: "user:password".
    """

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


_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 30.0
_GRACE_S = 5


@dataclass(frozen=True)
class RunningServer:
    """A server that answers."""

    url: str
    """Base address without a slash at the end, as `WebUI(url)` wants it."""


class EmbeddedServer(uvicorn.Server):
    """A uvicorn server that says when it is ready, and that does not let a job hold up its end."""

    def __init__(self, config: uvicorn.Config, board: JobBoard) -> None:
        super().__init__(config)
        self.settled = threading.Event()
        """Set when the server is ready, or has ended without getting there."""
        self._board = board

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets=sockets)
        self.settled.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Interrupt all jobs first, so that their clients get an answer."""
        self._board.close()
        await super().shutdown(sockets=sockets)


def make_server(
    bound: socket.socket,
    *,
    engine: SingleImageEngine | Engine | None = None,
    job_ms: float = 0,
    image_ms: float = 0,
    api_auth: str | None = None,
    with_page: bool = False,
    watcher: JobWatcher | None = None,
    loras: Sequence[str] = (),
) -> EmbeddedServer:
    """A server for a bound socket, not started yet; start it with `run(sockets=[bound])`."""
    host, port = bound.getsockname()[:2]
    app = create_app(
        engine=engine,
        job_ms=job_ms,
        image_ms=image_ms,
        api_auth=api_auth,
        host=host,
        port=port,
        with_page=with_page,
        watcher=watcher,
        loras=loras,
    )
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_level="warning",
        access_log=False,
        loop="asyncio",
        ws="none",
        timeout_graceful_shutdown=_GRACE_S,
    )
    return EmbeddedServer(config, app.state.board)


@contextmanager
def running_server(
    *,
    engine: SingleImageEngine | Engine | None = None,
    job_ms: float = 0,
    image_ms: float = 0,
    api_auth: str | None = None,
    with_page: bool = False,
    watcher: JobWatcher | None = None,
    loras: Sequence[str] = (),
) -> Iterator[RunningServer]:
    """Run the server on a free loopback port in a thread of this process, for as long as the block lasts.

    Args:
        engine: makes the pixels; None is the classical engine.
        job_ms: what a batch takes at least, in ms.
        image_ms: what each of its images adds to that.
        api_auth: "user:password", or None for no authentication.
        with_page: answer `/internal/*` too, as a WebUI that was started without `--nowebui`.
        watcher: is told of each generating job.
        loras: names to list and to tell of as used; they change no pixel.

    Raises:
        RuntimeError: it did not start; the thread's own traceback says why.
    """
    bound = listen("127.0.0.1", 0)
    server = make_server(
        bound,
        engine=engine,
        job_ms=job_ms,
        image_ms=image_ms,
        api_auth=api_auth,
        with_page=with_page,
        watcher=watcher,
        loras=loras,
    )

    def serve() -> None:
        try:
            server.run(sockets=[bound])
        finally:
            server.settled.set()

    thread = threading.Thread(target=serve, name="sdclient-serve", daemon=True)
    thread.start()
    try:
        if not server.settled.wait(_START_TIMEOUT_S) or not server.started:
            raise RuntimeError(f"the embedded server did not start at {url_of(bound)}")
        yield RunningServer(url_of(bound))
    finally:
        server.should_exit = True
        thread.join(_STOP_TIMEOUT_S)
        bound.close()


def run_until_stopped(
    bound: socket.socket,
    *,
    engine: SingleImageEngine | Engine | None = None,
    job_ms: float = 0,
    image_ms: float = 0,
    api_auth: str | None = None,
    with_page: bool = False,
) -> None:
    """Serve on a bound socket in this thread until Ctrl-C or a termination signal."""
    with suppress(KeyboardInterrupt):
        server = make_server(
            bound, engine=engine, job_ms=job_ms, image_ms=image_ms, api_auth=api_auth, with_page=with_page
        )
        server.run(sockets=[bound])
