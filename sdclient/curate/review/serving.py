"""Serve the review page, or the page for drawing masks, on this machine alone until it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn  # noqa: F401 - that it is missing is told when this module is imported, before anything is opened

from sdcore.messages import Language
from sdcore.web import ReadyServer, listen, url_of

from .app import create_app
from .desk import DecisionCounts, ReviewService
from .drawing import FEATHER_PX, GROW_PX, DrawingService, drawing_service
from .guard import Guard, PageSecrets

_HOST = "127.0.0.1"
_START_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Reviewed:
    """What a person did on the page until it was stopped."""

    decided: DecisionCounts
    masks: int
    """Sources that a mask was drawn for."""


def serve_review(
    output: Path,
    *,
    sources: Path | None = None,
    masks: Path | None = None,
    port: int = 0,
    language: Language = "en",
    on_ready: Callable[[str], None] = lambda url: None,
) -> Reviewed:
    """Serve the review page of an output until Ctrl-C.

    Args:
        output: the output folder.
        sources: where its sources are now; None takes the folder that the manifest names.
        masks: folder for masks that are drawn on the page; None offers no drawing.
        port: 0 takes a free one.
        language: of the page.
        on_ready: called once with the page's address, its token included, when it answers.

    Raises:
        ManifestError: no manifest, or it cannot be written.
        SourceError: masks are wanted and the sources are not there.
        SettingsError: the port is taken.
    """
    with review_application(output, sources=sources, masks=masks, port=port, language=language) as running:
        running.serve(on_ready)
        drawn = running.masks.saved if running.masks else 0
        return Reviewed(running.service.made if running.service else DecisionCounts(0, 0, 0), drawn)


def serve_drawing(
    sources: Path,
    masks: Path,
    *,
    classes: Sequence[str] = (),
    grow_px: int = GROW_PX,
    feather_px: int = FEATHER_PX,
    port: int = 0,
    language: Language = "en",
    on_ready: Callable[[str], None] = lambda url: None,
) -> int:
    """Serve a page for drawing masks on numbered sources until Ctrl-C; gives for how many one was saved.

    Args:
        sources: folder of numbered sources.
        masks: folder the masks go to, as `MASKS/<class>/<source number>.png`.
        classes: only sources of these classes; none takes all.
        grow_px: how far the page begins to grow what is drawn, px.
        feather_px: how wide a feather it begins with, px.
        port: 0 takes a free one.
        language: of the page.
        on_ready: called once with the page's address, its token included, when it answers.

    Raises:
        SourceError: no numbered sources there, or no such class.
        SettingsError: the port is taken.
    """
    service = DrawingService(sources, masks, classes=classes, grow_px=grow_px, feather_px=feather_px)
    with drawing_application(service, port=port, language=language) as running:
        running.serve(on_ready)
    return service.saved


class Application:
    """A page that has its address and is ready to be served.

    Attributes:
        url: its address with the token.
        service: the output under review, if any.
        masks: the sources that can be drawn on, if any.
    """

    def __init__(
        self, port: int, command: str, service: ReviewService | None, masks: DrawingService | None, language: Language
    ) -> None:
        self.service, self.masks = service, masks
        self._socket = listen(_HOST, port, command=command, usual_port=0)
        own = PageSecrets()
        self.url = f"{url_of(self._socket)}/?token={own.token}"
        bound = int(self._socket.getsockname()[1])
        app = create_app(own.key, service=service, masks=masks, language=language)
        self._server = ReadyServer(Guard(app, own=own, port=bound))

    def serve(self, on_ready: Callable[[str], None] = lambda url: None) -> None:
        """Serve in this thread until Ctrl-C or a termination signal."""
        self._server.when_ready = lambda: on_ready(self.url)
        with suppress(KeyboardInterrupt):
            self._server.run(self._socket)

    @contextmanager
    def in_background(self) -> Iterator[str]:
        """Serve in a thread for as long as the block lasts; gives the address.

        Raises:
            RuntimeError: it did not start.
        """
        ready = threading.Event()
        self._server.when_ready = ready.set
        thread = threading.Thread(target=self._server.run, args=(self._socket,), daemon=True)
        thread.start()
        try:
            if not ready.wait(_START_TIMEOUT_S):
                raise RuntimeError("the page did not start")
            yield self.url
        finally:
            self._server.stop()
            thread.join(_START_TIMEOUT_S)

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


@contextmanager
def review_application(
    output: Path,
    *,
    sources: Path | None = None,
    masks: Path | None = None,
    port: int = 0,
    language: Language = "en",
) -> Iterator[Application]:
    """The review page of an output; arguments and errors as of `serve_review`."""
    with ReviewService(output, sources=sources) as service:
        drawing = None if masks is None else drawing_service(service.sources(), masks, pictures=service.pictures)
        application = Application(port, "sdclient review", service, drawing, language)
        try:
            yield application
        finally:
            application.close()


@contextmanager
def drawing_application(service: DrawingService, *, port: int = 0, language: Language = "en") -> Iterator[Application]:
    """The page for drawing masks; arguments and errors as of `serve_drawing`."""
    application = Application(port, "sdclient mask", None, service, language)
    try:
        yield application
    finally:
        application.close()
