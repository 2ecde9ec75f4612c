"""Who may talk to the page: this machine's browser that was given the token, and no other site in it.

Five things are asked of every request, before any code of the page runs:

- the `Host` header names this server; a foreign name that was made to resolve to 127.0.0.1 (DNS rebinding) does not.
- `Sec-Fetch-Site` and `Origin`, where the browser sends them, say that the page itself asks. A cookie knows no port, so
  another program's page on this machine would else come with ours.
- the secret: once in the address, from then on in a cookie that scripts cannot read and other sites do not send.
- whoever changes something also sends a key that stands in the page alone.
- what is sent is announced and small.

Every answer carries a Content-Security-Policy that lets nothing in but the server's own files.
"""

from __future__ import annotations

import secrets
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
    """The token of the address and the key of the page, new for each start."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(32)
        self.key = secrets.token_urlsafe(32)


class Guard:
    """An ASGI application around another that lets only the page's own requests through.

    Args:
        app: what is guarded.
        own: token and key.
        port: that the server listens on; its host is 127.0.0.1.
    """

    def __init__(self, app: ASGIApp, *, own: PageSecrets, port: int) -> None:
        self._app = app
        self._own = own
        self._hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
        # A browser keeps one jar of cookies for all ports of a host.
        self._cookie = f"sdclient_review_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
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
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return _refuse(403, "Another page asked; only the review page itself may.")
        if scope["method"] in _READING:
            return None
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return _refuse(403, "Another page asked; only the review page itself may.")
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
            return _refuse(
                403, "Open the address that 'sdclient review' printed, with its token. 请打开终端里打印的完整网址。"
            )
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
