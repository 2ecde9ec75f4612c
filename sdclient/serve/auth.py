"""Optional basic authentication, with the WebUI's words and, like it, without a WWW-Authenticate header."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable

from fastapi import HTTPException, Request


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
