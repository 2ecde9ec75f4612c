"""Serves the page on this machine alone, behind a guard.

The guard checks five things of every request, before any code of the page runs:

- The `Host` header names this server. A foreign name that resolves to 127.0.0.1 (DNS rebinding) does not.
- `Sec-Fetch-Site` and `Origin`, where the browser sends them, say that the page itself asks. Cookies are shared by all
  ports, so a page of another program on this machine would otherwise be sent with our cookie.
- The token: once in the address, from then on in a cookie that scripts cannot read and other sites do not send.
- A request that changes something carries a key that only the page contains.
- The body has a declared length within the limit.

Every reply has a Content-Security-Policy that allows the server's own files alone.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdcore.messages import Language
from sdcore.web import ReadyServer, listen, url_of

from .app import create_app
from .drawing_service import FEATHER_PX, GROW_PX, DrawingService, drawing_service
from .review_service import DecisionCounts, ReviewService

_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Reviewed:
    """What a person did on the page until it was stopped."""

    decided: DecisionCounts
    masks: int
    """Number of sources for which a mask was saved."""


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
        sources: folder of its sources; None takes the one that the manifest names.
        masks: folder for masks that are drawn on the page; None for no drawing.
        port: 0 takes a free one.
        language: of the page.
        on_ready: called once with the page's address and its token, when the page answers.

    Raises:
        ManifestError: there is no manifest, or it cannot be written.
        SourceError: masks are to be drawn and there are no sources.
        SettingsError: the port is taken.
    """
    with review_application(output, sources=sources, masks=masks, port=port, language=language) as running:
        running.serve(on_ready)
        decided = running.service.decision_counts if running.service else DecisionCounts(0, 0, 0)
        return Reviewed(decided, running.masks.saved if running.masks else 0)


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
    """Serve a page for drawing masks on numbered sources until Ctrl-C; returns the number of sources with a saved mask.

    A mask is saved as `MASKS/<class>/<source number>.png`. Only sources of `classes` are shown; empty means all.
    `grow_px` and `feather_px` are the page's first values; port 0 takes a free one. When the page answers, `on_ready`
    is called once with its address and its token.

    Raises:
        SourceError: there are no numbered sources, or no such class.
        SettingsError: the port is taken.
    """
    service = DrawingService(sources, masks, classes=classes, grow_px=grow_px, feather_px=feather_px)
    with drawing_application(service, port=port, language=language) as running:
        running.serve(on_ready)
    return service.saved


class Application:
    """A page with its address and token (`url`), ready to be served."""

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
        """Serve in a thread for as long as the block lasts; yields the address.

        Raises:
            RuntimeError: it did not start.
        """
        with self._server.in_background(self._socket, "sdclient-review"):
            yield self.url

    def close(self) -> None:
        """Release the port."""
        self._socket.close()


@contextmanager
def review_application(
    output: Path, *, sources: Path | None = None, masks: Path | None = None, port: int = 0, language: Language = "en"
) -> Iterator[Application]:
    """The review page of an output; arguments and errors as for `serve_review`."""
    with ReviewService(output, sources=sources) as service:
        drawing = None if masks is None else drawing_service(service.sources(), masks, images=service.images)
        application = Application(port, "sdclient review", service, drawing, language)
        try:
            yield application
        finally:
            application.close()


@contextmanager
def drawing_application(service: DrawingService, *, port: int = 0, language: Language = "en") -> Iterator[Application]:
    """The page for drawing masks; arguments and errors as for `serve_drawing`."""
    application = Application(port, "sdclient mask", None, service, language)
    try:
        yield application
    finally:
        application.close()


KEY_HEADER = "x-review-key"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LARGEST_BODY = 4 << 20
_READING = frozenset({"GET", "HEAD"})
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class PageSecrets:
    """The token of the address and the key of the page; new at each start."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(32)
        self.key = secrets.token_urlsafe(32)


class Guard:
    """An ASGI application around another that lets only the page's own requests through."""

    def __init__(self, app: ASGIApp, *, own: PageSecrets, port: int) -> None:
        self._app, self._own = app, own
        self._hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
        # A browser shares cookies between all ports of a host, so the name contains the port.
        self._cookie = f"sdclient_review_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or redirect the request, or pass it to the application."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    out[name] = value
                out.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._refusal(scope, headers) or self._admission(scope, headers)
        await (answer or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "").lower()
        if host not in self._hosts:
            return _refuse(421, "This server answers to its own address alone.")
        is_reading = scope["method"] in _READING
        is_of_page = headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
        if not is_of_page or not (is_reading or headers.get("origin", f"http://{host}") == f"http://{host}"):
            return _refuse(403, "Another page asked; only the review page itself may.")
        if is_reading:
            return None
        if not headers.get("content-length", "").isdecimal() or int(headers["content-length"]) > LARGEST_BODY:
            return _refuse(413, f"Expected a length of at most {LARGEST_BODY} bytes.")
        return None

    def _admission(self, scope: Scope, headers: Headers) -> Response | None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = next((value for name, value in query if name == "token"), None)
        if given is not None and scope["method"] in _READING and _equal(given, self._own.token):
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            admitted = RedirectResponse(scope["path"] + (f"?{rest}" if rest else ""), 303)
            admitted.set_cookie(self._cookie, self._own.token, httponly=True, samesite="strict", path="/")
            return admitted
        if not _equal(_cookies(headers).get(self._cookie, ""), self._own.token):
            words = "Open the address that 'sdclient review' printed, with its token. 请打开终端里打印的完整网址。"
            return _refuse(403, words)
        if scope["method"] not in _READING and not _equal(headers.get(KEY_HEADER, ""), self._own.key):
            return _refuse(403, "The page is of an earlier start; load it again.")
        return None


def _refuse(status: int, words: str) -> Response:
    return PlainTextResponse(f"{words}\n", status)


def _equal(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8"), secret.encode("utf-8"))


def _cookies(headers: Headers) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return {name: value for name, _, value in pairs}
