"""Sending one request and turning whatever goes wrong into our error tree; the only file that knows `requests`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests

from . import errors

_WORDS_MAX = 300
_BASE64_RUN = re.compile(r"[A-Za-z0-9+/=]{120,}")
_IMAGE_WORDS = (
    "invalid encoded image",
    "image file is truncated",
    "init image not found",
    "cannot identify image",
)
_MEMORY_WORDS = ("out of memory", "unable to allocate", "outofmemoryerror", "memoryerror")


@dataclass(frozen=True)
class Timeouts:
    """How long to wait, in seconds."""

    connect_s: float = 10.0
    """For a connection."""
    read_s: float = 60.0
    """For the answer to a question about the server."""
    generate_s: float = 1800.0
    """For the answer to a generating call; the first one after a start loads the model, which takes minutes."""


@dataclass(frozen=True)
class Address:
    """Where the server is: URL without credentials, and the credentials apart from it."""

    url: str
    auth: tuple[str, str] | None

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")


def parse_address(url: str, auth: tuple[str, str] | None = None) -> Address:
    """Take a server's URL apart; `http://` may be left out, credentials in the URL become `auth`.

    Raises:
        SettingsError: not an http(s) URL with a host.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        port = parts.port
    except ValueError as error:
        raise errors.SettingsError(f"server address: {error}; expected like http://127.0.0.1:7860") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise errors.SettingsError(f"server address {_without_credentials(url)!r}: expected like http://127.0.0.1:7860")
    if parts.username is not None and auth is None:
        auth = (parts.username, parts.password or "")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port is None else f"{host}:{port}"
    return Address(urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", "")), auth)


def _without_credentials(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)


class Connection:
    """A session with one server."""

    def __init__(self, address: Address, timeouts: Timeouts) -> None:
        self.address = address
        self.timeouts = timeouts
        self._session = requests.Session()
        self._session.auth = address.auth
        if address.is_loopback:
            self._session.trust_env = False  # a system proxy cannot reach this machine's own loopback

    def close(self) -> None:
        """Give back the connections."""
        self._session.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        read_s: float | None = None,
    ) -> Any:
        """Send one request and give the reply's JSON.

        Raises:
            WebUIError: the leaf that fits; see `sdclient.errors`.
        """
        reply = self._request(method, path, json=json, params=params, read_s=read_s)
        if reply.status_code >= 300:
            raise self._error_of(reply, path)
        try:
            return reply.json()
        except requests.exceptions.JSONDecodeError as error:
            raise errors.NotAWebUI(
                f"{self.address.url}{path}: the reply is not JSON; expected a Stable Diffusion WebUI at this address"
            ) from error

    def _request(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        read_s: float | None = None,
    ) -> requests.Response:
        where = self.address.url
        wait_s = self.timeouts.read_s if read_s is None else read_s
        try:
            return self._session.request(
                method,
                where + path,
                json=json,
                params=params,
                timeout=(self.timeouts.connect_s, wait_s),
                allow_redirects=False,
            )
        except requests.exceptions.ConnectTimeout as error:
            raise errors.RequestTimedOut(
                f"{where}: no connection within {self.timeouts.connect_s:g} s; check the address and the network",
                phase="connect",
            ) from error
        except requests.exceptions.ReadTimeout as error:
            if json is None:
                raise errors.ServerLoading(
                    f"{where}: connected, but no answer to {path} within {wait_s:g} s; the WebUI may still be "
                    "loading its model: wait until its window says it is ready and try again"
                ) from error
            raise errors.RequestTimedOut(
                f"{where}: no answer to {path} within {wait_s:g} s; the server may still be working on it: "
                "look at its window before sending again, or allow more time",
                phase="read",
            ) from error
        except requests.exceptions.SSLError as error:
            raise errors.ServerUnreachable(f"{where}: no secure connection: {_brief(str(error))}") from error
        except requests.exceptions.ConnectionError as error:
            raise errors.ServerUnreachable(self._unreachable(error)) from error
        except requests.exceptions.RequestException as error:
            raise errors.UnexpectedReply(f"{where}{path}: {_brief(str(error))}") from error

    def _unreachable(self, error: Exception) -> str:
        text = str(error)
        where = self.address.url
        if "Connection aborted" in text or "Connection reset" in text or "RemoteDisconnected" in text:
            return f"{where}: the server closed the connection without an answer; it may be starting or have stopped"
        if "resolve" in text.lower() or "getaddrinfo" in text or "name or service" in text.lower():
            return f"{where}: this host name is not known; check the spelling"
        return (
            f"{where}: nothing answers there; start the WebUI with --api (or 'sdclient serve' for a try without one), "
            "or give its address with --url or SDCLIENT_URL"
        )

    def _error_of(self, reply: requests.Response, path: str) -> errors.WebUIError:
        """The error that an unsuccessful reply means."""
        body = _json_or_none(reply)
        if reply.status_code == 404 and not (isinstance(body, dict) and "error" in body):
            return self._explain_missing_path(path)
        return error_from_reply(reply.status_code, body, f"{self.address.url}{path}", self.address.auth is not None)

    def _explain_missing_path(self, path: str) -> errors.WebUIError:
        """Why `/sdapi` is not there: another program, a WebUI still starting, or one without its API."""
        where = self.address.url
        if self._status("/sdapi/v1/samplers") in (200, 401):
            return errors.NotFound(f"{where}{path}: this server does not have that call", status=404)
        advice = "add --api to COMMANDLINE_ARGS in webui-user.bat or webui-user.sh and start it again"
        if self._status("/internal/ping") == 200:
            return errors.ApiDisabled(f"{where}: this WebUI was started without its API; {advice}", status=404)
        if "gradio" in self._page().lower():
            return errors.ServerLoading(
                f"{where}: the WebUI's page is there but its API is not yet; wait a minute and try again; "
                f"if it stays so, {advice}",
                status=404,
            )
        return errors.NotAWebUI(
            f"{where}: something answers, but it is not a Stable Diffusion WebUI; check the port "
            "(the WebUI's own is 7860, that of 'sdclient serve' 7861)",
            status=404,
        )

    def _status(self, path: str) -> int:
        try:
            return self._request("GET", path).status_code
        except errors.WebUIError:
            return 0

    def _page(self) -> str:
        try:
            return self._request("GET", "/").text[:20_000]
        except errors.WebUIError:
            return ""


def error_from_reply(status: int, body: Any, where: str, has_credentials: bool) -> errors.WebUIError:
    """Map an unsuccessful reply to the leaf of our tree that says what to do.

    Args:
        status: HTTP status, 300 or more.
        body: the parsed JSON body in either of the WebUI's two shapes, or None.
        where: URL for the message, without credentials.
        has_credentials: whether a name and password were sent.
    """
    words, field = _words_of(body)
    said = f": {words}" if words else ""
    head = f"{where}: the server answered {status}{said}"
    low = words.lower()
    if status in (401, 403):
        advice = "name or password is wrong" if has_credentials else "it wants a name and password"
        return errors.Unauthorized(
            f"{head}; {advice}: set SDCLIENT_AUTH=name:password as in the WebUI's --api-auth",
            status=status,
            server_words=words,
        )
    if status in (502, 503, 504):
        return errors.ServerLoading(f"{head}; it is not ready yet, try again", status=status, server_words=words)
    if any(hint in low for hint in _IMAGE_WORDS):
        return errors.BadImage(f"{head}; send a whole PNG or JPEG", status=status, server_words=words)
    if any(hint in low for hint in _MEMORY_WORDS):
        return errors.ServerOutOfMemory(
            f"{head}; use a smaller --batch-size or --native-size", status=status, server_words=words
        )
    if "nansexception" in low or "nans was produced" in low or "all nans" in low:
        return errors.ModelProducedNaN(
            f"{head}; start the WebUI with --no-half-vae, or use another model",
            status=status,
            server_words=words,
        )
    if 300 <= status < 500:
        return errors.RequestRejected(head, status=status, server_words=words, field=field)
    return errors.ServerFault(head, status=status, server_words=words)


def _words_of(body: Any) -> tuple[str, str | None]:
    """The server's words, and the field it complains about, from either body shape."""
    if not isinstance(body, dict):
        return "", None
    detail = body.get("detail")
    if isinstance(detail, list):
        items = [item for item in detail if isinstance(item, dict)]
        located = [(".".join(str(part) for part in item.get("loc", ())), str(item.get("msg", ""))) for item in items]
        field = str(items[0]["loc"][-1]) if items and items[0].get("loc") else None
        return _brief("; ".join(f"{place}: {message}" for place, message in located)), field
    parts = [str(body.get(name) or "") for name in ("error", "detail", "errors")]
    return _brief(" ".join(part for part in parts if part and part != "HTTPException")), None


def _brief(text: str) -> str:
    """One line, without image data, of bounded length."""
    line = " ".join(_BASE64_RUN.sub("<image data>", _without_credentials(text)).split())
    return line if len(line) <= _WORDS_MAX else f"{line[:_WORDS_MAX]}..."


def _json_or_none(reply: requests.Response) -> Any:
    try:
        return reply.json()
    except requests.exceptions.JSONDecodeError:
        return None
