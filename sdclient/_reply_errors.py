"""An unsuccessful reply -> the leaf of our error tree that says what to do."""

from __future__ import annotations

import email.utils
import re
from datetime import datetime, timezone
from typing import Any

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


def error_from_reply(
    status: int, body: Any, where: str, *, has_credentials: bool, retry_after: str | None = None
) -> errors.WebUIError:
    """Map an unsuccessful reply to the leaf of our tree that says what to do.

    Args:
        status: HTTP status, 300 or more.
        body: the parsed JSON body in either of the WebUI's two shapes, or None.
        where: URL for the message, without credentials.
        has_credentials: whether a name and password were sent.
        retry_after: the reply's `Retry-After` header.
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
    if status == 429:
        wait_s = retry_after_s(retry_after)
        asked = "" if wait_s is None else f"; it asks to wait {wait_s:g} s"
        return errors.TooManyRequests(f"{head}{asked}", server_words=words, retry_after_s=wait_s)
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
        return brief("; ".join(f"{place}: {message}" for place, message in located)), field
    parts = [str(body.get(name) or "") for name in ("error", "detail", "errors")]
    return brief(" ".join(part for part in parts if part and part != "HTTPException")), None


def brief(text: str) -> str:
    """One line, without image data, of bounded length."""
    line = " ".join(_BASE64_RUN.sub("<image data>", without_credentials(text)).split())
    return line if len(line) <= _WORDS_MAX else f"{line[:_WORDS_MAX]}..."


def without_credentials(text: str) -> str:
    """The text with `name:password@` taken out of its URLs."""
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
