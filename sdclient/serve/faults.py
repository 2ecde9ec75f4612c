"""The WebUI's two shapes of error bodies.

`{"error", "detail", "body", "errors"}` for whatever fails in a request, and for a body that does not
validate 422 `{"detail": [{"loc", "msg", "type"}]}` in the words of pydantic 1. Routing (404, 405) keeps the
framework's own `{"detail"}`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as RoutingException

_LOG = logging.getLogger(__name__)
_MISSING = "missing"
_BROKEN_JSON = "json_invalid"
_NO_OBJECT = frozenset({"dict_type", "model_type", "model_attributes_type"})


class ErrorRoute(APIRoute):
    """A route whose failures become the WebUI's error bodies."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, wrapped."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except (RoutingException, RequestValidationError):
                raise
            except Exception as error:
                _LOG.debug("%s %s failed", request.method, request.url.path, exc_info=error)
                return _fault(500, type(error).__name__, "", str(error))

        return answer


def add_fault_handlers(app: FastAPI) -> None:
    """Let the application answer refusals and unreadable bodies in the WebUI's shapes."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return _fault(error.status_code, "HTTPException", error.detail, "")

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> JSONResponse:
        detail = [_in_old_words(item, error.body) for item in error.errors()]
        return JSONResponse({"detail": detail}, status_code=422)


def _fault(status: int, error: str, detail: Any, errors: str) -> JSONResponse:
    content = {"error": error, "detail": detail, "body": "", "errors": errors}
    return JSONResponse(content, status_code=status)


def _in_old_words(item: dict[str, Any], body: Any) -> dict[str, Any]:
    """One validation error as pydantic 1 put it; our own coercions carry those words already."""
    kind, place = item["type"], list(item["loc"])
    if kind == _MISSING:
        return {"loc": place, "msg": "field required", "type": "value_error.missing"}
    if kind == _BROKEN_JSON:
        error = json.JSONDecodeError(item["ctx"]["error"], body, place[-1])
        context = {
            "msg": error.msg,
            "doc": error.doc,
            "pos": error.pos,
            "lineno": error.lineno,
            "colno": error.colno,
        }
        return {"loc": place, "msg": str(error), "type": "value_error.jsondecode", "ctx": context}
    if kind in _NO_OBJECT:
        return {"loc": place, "msg": "value is not a valid dict", "type": "type_error.dict"}
    told = {"loc": place, "msg": item["msg"], "type": kind}
    return {**told, "ctx": item["ctx"]} if kind.startswith("value_error.") and "ctx" in item else told
