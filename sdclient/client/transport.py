"""One request sent: addresses, timeouts, retries, failures turned into our tree."""

import email.utils
import ipaddress
import json
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import pydantic_core
import requests

from .. import errors


@dataclass(frozen=True)
class Timeouts:
    """How long to wait, in seconds."""

    connect_s: float = 10.0
    """For a connection."""
    read_s: float = 60.0
    """For the reply to a question about the server."""
    generate_s: float = 1800.0
    """For the reply to a generating call; the first one after a start loads the model, which takes minutes."""


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


def auth_from_environment() -> tuple[str, str] | None:
    """Name and password in `SDCLIENT_AUTH`; None where it is not set.

    Raises:
        SettingsError: no colon in it.
    """
    value = os.environ.get("SDCLIENT_AUTH")
    if not value:
        return None
    name, colon, password = value.partition(":")
    if not colon:
        raise errors.SettingsError("SDCLIENT_AUTH: no colon in it; expected name:password")
    return name, password


def parse_address(url: str, auth: tuple[str, str] | None = None) -> Address:
    """Parse a server's URL; `http://` may be left out, credentials in the URL become `auth`.

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
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's JSON; a `ValueError` if it is not JSON."""
        try:
            return pydantic_core.from_json(self.body)  # nine times as fast with megabytes of base64
        except ValueError:
            return json.loads(self.body)  # also reads what JSON allows and UTF-8 does not: half a surrogate pair


_JSON_HEADERS = {"Content-Type": "application/json"}


class Connection:
    """A session with one server."""

    def __init__(self, address: Address, timeouts: Timeouts) -> None:
        self.address = address
        self.timeouts = timeouts
        self._session = requests.Session()
        self._session.auth = address.auth
        if address.is_loopback:
            self._session.trust_env = False  # a system proxy cannot reach this machine's loopback

    def close(self) -> None:
        """Close the connections."""
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
            WebUIError: the fitting leaf of `sdclient.errors`.
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
                # None: whatever has arrived; the default is 10 KiB at a time, and images are megabytes.
                return _Reply(reply.status_code, reply.headers, b"".join(reply.iter_content(None)))
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
            raise errors.ServerUnreachable(f"{where}: no secure connection: {shorten(str(error))}") from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise errors.ServerUnreachable(
                f"{where}: the connection broke in the middle of the answer to {path}", may_have_arrived=True
            ) from error
        except requests.exceptions.ConnectionError as error:
            raise self._unreachable(error) from error
        except requests.exceptions.RequestException as error:
            raise errors.UnexpectedReply(f"{where}{path}: {shorten(str(error))}") from error

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
        try:
            body = reply.json()
        except ValueError:
            body = None
        if reply.status == 404 and not (isinstance(body, dict) and "error" in body):
            return self._explain_missing_path(path)
        where, has_credentials = f"{self.address.url}{path}", self.address.auth is not None
        retry_after = reply.headers.get("Retry-After")
        return error_from_reply(reply.status, body, where, has_credentials=has_credentials, retry_after=retry_after)

    def _explain_missing_path(self, path: str) -> errors.WebUIError:
        """Why `/sdapi` is missing: another program, a WebUI that is starting, or one without its API."""
        where = self.address.url
        if self._probe("/sdapi/v1/samplers").status in (200, 401):
            return errors.NotFound(f"{where}{path}: this server does not have that call", status=404)
        advice = "add --api to COMMANDLINE_ARGS in webui-user.bat or webui-user.sh and start it again"
        if self._probe("/internal/ping").status == 200:
            return errors.ApiDisabled(f"{where}: this WebUI was started without its API; {advice}", status=404)
        if b"gradio" in self._probe("/").body[:20_000].lower():
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

    def _probe(self, path: str) -> _Reply:
        """The reply at a path; an empty one with status 0 if there is none."""
        try:
            return self._request("GET", path)
        except errors.WebUIError:
            return _Reply(0, {}, b"")


def _encode(content: Mapping[str, Any]) -> bytes:
    """JSON, as `_Reply.json` reads it."""
    try:
        return pydantic_core.to_json(content)
    except ValueError:
        return json.dumps(content, allow_nan=False).encode("ascii")


_WORDS_MAX = 300
_BASE64_RUN = re.compile(r"[A-Za-z0-9+/=]{120,}")
_IMAGE_WORDS = ("invalid encoded image", "image file is truncated", "init image not found", "cannot identify image")
_MEMORY_WORDS = ("out of memory", "unable to allocate", "outofmemoryerror", "memoryerror")
_NAN_WORDS = ("nansexception", "nans was produced", "all nans")


def error_from_reply(
    status: int, body: Any, where: str, *, has_credentials: bool, retry_after: str | None = None
) -> errors.WebUIError:
    """Map an unsuccessful reply to the error that says what to do.

    Args:
        status: HTTP status, 300 or more.
        body: the parsed JSON body in either of the WebUI's two shapes, or None.
        where: URL for the message, without credentials.
        has_credentials: whether a name and password were sent.
        retry_after: the reply's `Retry-After` header.
    """
    words, field = _words_of(body)
    head = f"{where}: the server answered {status}" + (f": {words}" if words else "")
    low = words.lower()
    if status in (401, 403):
        reason = "name or password is wrong" if has_credentials else "it wants a name and password"
        advice = f"{reason}: set SDCLIENT_AUTH=name:password as in the WebUI's --api-auth"
        return errors.Unauthorized(f"{head}; {advice}", status=status, server_words=words)
    if status == 429:
        wait_s = retry_after_s(retry_after)
        advice = "" if wait_s is None else f"; it asks to wait {wait_s:g} s"
        return errors.TooManyRequests(f"{head}{advice}", server_words=words, retry_after_s=wait_s)
    if status in (502, 503, 504):
        return errors.ServerLoading(f"{head}; it is not ready yet, try again", status=status, server_words=words)
    if any(hint in low for hint in _IMAGE_WORDS):
        return errors.BadImage(f"{head}; send a whole PNG or JPEG", status=status, server_words=words)
    if any(hint in low for hint in _MEMORY_WORDS):
        advice = "use a smaller --batch-size or --native-size"
        return errors.ServerOutOfMemory(f"{head}; {advice}", status=status, server_words=words)
    if any(hint in low for hint in _NAN_WORDS):
        advice = "start the WebUI with --no-half-vae, or use another model"
        return errors.ModelProducedNaN(f"{head}; {advice}", status=status, server_words=words)
    if status < 500:
        return errors.RequestRejected(head, status=status, server_words=words, field=field)
    return errors.ServerFault(head, status=status, server_words=words)


def _words_of(body: Any) -> tuple[str, str | None]:
    """The server's message and the field at fault, from either shape of a body."""
    if not isinstance(body, dict):
        return "", None
    detail = body.get("detail")
    if isinstance(detail, list):
        items = [item for item in detail if isinstance(item, dict)]
        messages = [f"{'.'.join(map(str, item.get('loc', ())))}: {item.get('msg', '')}" for item in items]
        field = str(items[0]["loc"][-1]) if items and items[0].get("loc") else None
        return shorten("; ".join(messages)), field
    parts = [str(body.get(name) or "") for name in ("error", "detail", "errors")]
    return shorten(" ".join(part for part in parts if part and part != "HTTPException")), None


def shorten(text: str) -> str:
    """One line, without image data, of bounded length."""
    line = " ".join(_BASE64_RUN.sub("<image data>", without_credentials(text)).split())
    return line if len(line) <= _WORDS_MAX else f"{line[:_WORDS_MAX]}..."


def without_credentials(text: str) -> str:
    """The text without `name:password@` in its URLs."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def retry_after_s(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks to wait (RFC 9110, 10.2.3: seconds or a date); None without one."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        when = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (when - (now or datetime.now(timezone.utc))).total_seconds())


_T = TypeVar("_T")


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential back-off with jitter, capped."""

    attempts: int = 3
    """Number of tries; 1 never tries again."""
    first_wait_s: float = 0.3
    """Wait after the first failure; each further one waits `factor` times longer."""
    factor: float = 3.0
    longest_wait_s: float = 30.0
    """Cap on a wait; if the server's `Retry-After` is longer, the request is given up."""
    jitter_rate: float = 0.25
    """Largest random addition, as a share of the wait, so that many clients do not come back at once."""

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_wait_s < 0 or self.factor < 1 or self.longest_wait_s < 0:
            raise ValueError(f"{self}: expected attempts >= 1, waits >= 0, factor >= 1")

    def wait_s(self, failures: int, error: errors.WebUIError, jitter: float = 0.0) -> float | None:
        """Seconds to wait before the next try, or None to give up.

        Args:
            failures: number of failed tries, from 1.
            error: the last failure.
            jitter: a random number in [0, 1).
        """
        if failures >= self.attempts or not is_transient(error):
            return None
        wait = min(self.first_wait_s * self.factor ** (failures - 1), self.longest_wait_s)
        wait = min(wait * (1 + self.jitter_rate * jitter), self.longest_wait_s)
        if isinstance(error, errors.TooManyRequests) and error.retry_after_s is not None:
            return error.retry_after_s if error.retry_after_s <= self.longest_wait_s else None
        return wait


def is_transient(error: errors.WebUIError) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, errors.RequestTimedOut):
        return error.phase == "connect"
    if isinstance(error, errors.ServerLoading):
        return error.status in (502, 503, 504)  # the other cases waited long already, or need a person
    return isinstance(error, errors.ServerUnreachable | errors.TooManyRequests)


NEVER = RetryPolicy(attempts=1)


@dataclass(frozen=True)
class Retrier:
    """A policy with a clock."""

    policy: RetryPolicy = field(default_factory=RetryPolicy)
    sleep: Callable[[float], None] = time.sleep
    rng: Callable[[], float] = random.random

    def call(self, attempt: Callable[[], _T]) -> _T:
        """Call until it succeeds or the policy gives up; for requests that change nothing.

        Raises:
            WebUIError: the last failure.
        """
        failures = 0
        while True:
            try:
                return attempt()
            except errors.WebUIError as error:
                failures += 1
                wait = self.policy.wait_s(failures, error, self.rng())
                if wait is None:
                    raise
                self.sleep(wait)
