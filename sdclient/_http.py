"""Sending one request and turning whatever goes wrong into our error tree; the only file that knows `requests`."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pydantic_core
import requests

from . import errors
from ._reply_errors import brief, error_from_reply, without_credentials


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
        raise errors.SettingsError(f"server address {without_credentials(url)!r}: expected like http://127.0.0.1:7860")
    if parts.username is not None and auth is None:
        auth = (parts.username, parts.password or "")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port is None else f"{host}:{port}"
    return Address(urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", "")), auth)


@dataclass(frozen=True)
class _Reply:
    """A whole reply."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's JSON.

        Raises:
            ValueError: it is none.
        """
        try:
            return pydantic_core.from_json(self.body)  # nine times as fast with megabytes of base64
        except ValueError:
            return json.loads(self.body)  # takes what JSON allows and UTF-8 does not, such as half a surrogate pair


_JSON_HEADERS = {"Content-Type": "application/json"}


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
        """Send one request, once, and give the reply's JSON; None for an empty reply.

        Raises:
            WebUIError: the leaf that fits; see `sdclient.errors`.
        """
        reply = self._request(method, path, content=json, params=params, read_s=read_s)
        if reply.status >= 300:
            raise self._error_of(reply, path)
        if not reply.body:
            return None  # SD.Next answers some calls with an empty 204
        try:
            return reply.json()
        except ValueError as error:
            raise errors.NotAWebUI(
                f"{self.address.url}{path}: the reply is not JSON; expected a Stable Diffusion WebUI at this address"
            ) from error

    def _request(
        self,
        method: str,
        path: str,
        *,
        content: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        read_s: float | None = None,
    ) -> _Reply:
        where = self.address.url
        wait_s = self.timeouts.read_s if read_s is None else read_s
        try:
            with self._session.request(
                method,
                where + path,
                data=None if content is None else _encode(content),
                headers=None if content is None else _JSON_HEADERS,
                params=params,
                timeout=(self.timeouts.connect_s, wait_s),
                allow_redirects=False,
                stream=True,
            ) as reply:
                # In one piece: by itself it would take 10 KiB at a time, and images are megabytes.
                body = b"".join(reply.iter_content(None))
                return _Reply(reply.status_code, reply.headers, body)
        except requests.exceptions.ConnectTimeout as error:
            raise errors.RequestTimedOut(
                f"{where}: no connection within {self.timeouts.connect_s:g} s; check the address and the network",
                phase="connect",
            ) from error
        except requests.exceptions.ReadTimeout as error:
            if content is None:
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
            raise errors.ServerUnreachable(f"{where}: no secure connection: {brief(str(error))}") from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise errors.ServerUnreachable(
                f"{where}: the connection broke in the middle of the answer to {path}", may_have_arrived=True
            ) from error
        except requests.exceptions.ConnectionError as error:
            raise self._unreachable(error) from error
        except requests.exceptions.RequestException as error:
            raise errors.UnexpectedReply(f"{where}{path}: {brief(str(error))}") from error

    def _unreachable(self, error: Exception) -> errors.ServerUnreachable:
        text = str(error)
        where = self.address.url
        if any(mark in text for mark in ("Connection aborted", "Connection reset", "RemoteDisconnected")):
            return errors.ServerUnreachable(
                f"{where}: the server closed the connection without an answer; it may be starting or have stopped",
                may_have_arrived=True,
            )
        if any(mark in text.lower() for mark in ("resolve", "getaddrinfo", "name or service")):
            return errors.ServerUnreachable(f"{where}: this host name is not known; check the spelling")
        return errors.ServerUnreachable(
            f"{where}: nothing answers there; start the WebUI with --api (or 'sdclient serve' for a try without one), "
            "or give its address with --url or SDCLIENT_URL"
        )

    def _error_of(self, reply: _Reply, path: str) -> errors.WebUIError:
        """The error that an unsuccessful reply means."""
        body = _json_or_none(reply)
        if reply.status == 404 and not (isinstance(body, dict) and "error" in body):
            return self._explain_missing_path(path)
        return error_from_reply(
            reply.status,
            body,
            f"{self.address.url}{path}",
            has_credentials=self.address.auth is not None,
            retry_after=reply.headers.get("Retry-After"),
        )

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
            return self._request("GET", path).status
        except errors.WebUIError:
            return 0

    def _page(self) -> str:
        try:
            return self._request("GET", "/").body[:20_000].decode("utf-8", errors="replace")
        except errors.WebUIError:
            return ""


def _encode(content: Mapping[str, Any]) -> bytes:
    """JSON, as `_Reply.json` reads it."""
    try:
        return pydantic_core.to_json(content)
    except ValueError:
        return json.dumps(content, allow_nan=False).encode("ascii")


def _json_or_none(reply: _Reply) -> Any:
    try:
        return reply.json()
    except ValueError:
        return None
