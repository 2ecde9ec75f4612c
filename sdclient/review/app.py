"""Routes and rendered pages of the review and of drawing, without the guard around them (`serving.Guard`)."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field

from sdcore.messages import Language
from sdcore.pages import template_environment

from ..curate.reasons import REASONS, SCORES
from ..errors import MaskError, SDClientError
from ..manifest.review import Order, ReviewFilter, SeenRevision, State
from .drawing_service import Drawing, DrawingService
from .image_cache import ServedImage
from .review_service import ReviewService
from .words import WORDS

_STATIC = Path(__file__).parent / "static"
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_CACHE_FOREVER = "private, max-age=31536000, immutable"
_REVALIDATE = "private, no-cache"
_MOST_ROWS = 1000

_Tab = Annotated[str, Field(pattern=r"^[0-9a-z-]{8,64}$")]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RowsBody(_Body):
    """The images whose rows the page asks for."""

    files: Annotated[list[str], Field(max_length=_MOST_ROWS)]


class SeenBody(_Body):
    """An image as the person saw it."""

    file: str
    sha256: str
    revision: int = Field(ge=0)


class DecideBody(_Body):
    """A decision of a person about one or several images."""

    tab: _Tab
    verdict: Annotated[str, Field(pattern="^(accepted|rejected|)$")]
    images: Annotated[list[SeenBody], Field(min_length=1, max_length=_MOST_ROWS)]


class UndoBody(_Body):
    """The page whose last step is undone."""

    tab: _Tab


def create_app(
    page_key: str,
    *,
    service: ReviewService | None = None,
    masks: DrawingService | None = None,
    language: Language = "en",
) -> FastAPI:
    """The application that reviews an output (`service`), draws masks, or both; without the guard around it.

    The page sends `page_key` with each request that changes something. `?lang=` overrides the language.
    """
    app = FastAPI(openapi_url=None)
    app.include_router(_static_router())
    if service is not None:
        app.include_router(_review_router(page_key, service, masks, language))
    if masks is not None:
        app.include_router(_drawing_router(page_key, masks, language, beside_review=service is not None))

    @app.exception_handler(SDClientError)
    def known_error(_: Request, error: SDClientError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422 if isinstance(error, MaskError) else 409)

    @app.exception_handler(sqlite3.Error)
    def manifest_error(_: Request, error: sqlite3.Error) -> JSONResponse:
        return JSONResponse({"detail": f"the manifest cannot be read or written: {error}"}, 409)

    @app.exception_handler(OSError)
    def system_error(_: Request, error: OSError) -> JSONResponse:
        where = f"{error.filename}: " if error.filename else ""
        return JSONResponse({"detail": f"{where}{error.strerror or error}; make room or change the rights"}, 507)

    return app


def _static_router() -> APIRouter:
    router = APIRouter()
    files = {path.name: path for path in _STATIC.iterdir() if path.suffix in _KINDS}

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        path = files[name]
        return Response(path.read_bytes(), media_type=_KINDS[path.suffix], headers={"Cache-Control": "no-cache"})

    return router


def _review_router(page_key: str, service: ReviewService, masks: DrawingService | None, usual: Language) -> APIRouter:
    router = APIRouter()

    @router.get("/", response_class=HTMLResponse)
    def page(lang: Language | None = None) -> str:
        classes = [counts.class_name for counts in service.counts()]
        values = {"page_key": page_key, "name": service.output.resolve().name, "classes": classes}
        return render("review.html.j2", lang or usual, **values, can_draw=masks is not None)

    @router.get("/api/counts")
    def counts() -> list[dict[str, Any]]:
        return [asdict(one) for one in service.counts()]

    @router.get("/api/facets")
    def facets() -> dict[str, Any]:
        return service.facets()

    @router.get("/api/list")
    def listed(
        class_name: Annotated[str | None, Query(alias="class")] = None,
        state: State = "all",
        reason: str | None = None,
        score: str | None = None,
        low: float | None = None,
        high: float | None = None,
        order: Order = "name",
    ) -> dict[str, Any]:
        return asdict(service.find(ReviewFilter(class_name, state, reason, score, low, high, order)))

    @router.post("/api/rows")
    def rows(body: RowsBody) -> list[dict[str, Any]]:
        return service.rows(body.files)

    @router.post("/api/decide")
    def decide(body: DecideBody) -> dict[str, Any]:
        seen = [SeenRevision(one.file, one.sha256, one.revision) for one in body.images]
        done = service.decide(seen, body.verdict, tab=body.tab)
        return {
            "written": len(done.written),
            "conflicts": [{"file": file, "why": why} for file, why in done.conflicts],
            "rows": service.rows([one.file for one in seen]),
        }

    @router.post("/api/undo")
    def undo(body: UndoBody) -> list[dict[str, Any]]:
        return service.rows(service.undo(body.tab))

    @router.get("/api/picture")
    def image(request: Request, file: str, what: str, version: str = "", small: bool = False) -> Response:
        return _sent(request, service.image(file, what, small=small), version)

    return router


def _drawing_router(page_key: str, masks: DrawingService, usual: Language, *, beside_review: bool) -> APIRouter:
    router = APIRouter()

    def page(lang: Language | None = None) -> str:
        return render(
            "draw.html.j2",
            lang or usual,
            page_key=page_key,
            name=masks.masks.resolve().name,
            beside_review=beside_review,
            grow_px=masks.grow_px,
            feather_px=masks.feather_px,
        )

    router.add_api_route("/draw", page, response_class=HTMLResponse)
    if not beside_review:
        router.add_api_route("/", page, response_class=HTMLResponse)

    @router.get("/api/sources")
    def sources() -> list[dict[str, Any]]:
        return masks.names()

    @router.get("/api/source")
    def source(name: str) -> Mapping[str, Any]:
        return _found(masks.source(name))

    @router.get("/api/source-picture")
    def source_image(request: Request, name: str, version: str = "", mask: bool = False) -> Response:
        return _sent(request, masks.image(name, of_mask=mask), version)

    @router.post("/api/mask")
    def save(name: str, body: Annotated[Drawing, Body()]) -> Mapping[str, Any]:
        return _found(masks.save(name, body))

    @router.delete("/api/mask")
    def delete(name: str) -> Mapping[str, Any]:
        return _found(masks.delete(name))

    return router


def _found(thing: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if thing is None:
        raise HTTPException(404, "no such source")
    return thing


def _sent(request: Request, shown: ServedImage | None, version: str) -> Response:
    """Reply with the image, or 304 if the browser has it; cacheable forever if the URL contains its version."""
    if shown is None:
        raise HTTPException(404, "no such image")
    is_this_version = bool(version) and shown.etag.partition("-")[2].startswith(version)
    headers = {"ETag": f'"{shown.etag}"', "Cache-Control": _CACHE_FOREVER if is_this_version else _REVALIDATE}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(shown.data, media_type=shown.media_type, headers=headers)


TAGS: dict[Language, str] = {"en": "en", "zh": "zh-Hans"}


def render(template: str, language: Language, **values: Any) -> str:
    """Render a page in a language, with further variables of its template."""
    other: Language = "zh" if language == "en" else "en"
    values |= {"language": language, "tag": TAGS[language], "other": other, "other_tag": TAGS[other]}
    page = _environment().get_template(template)
    return page.render(t=WORDS.by_key(language), catalogue=_catalogue(language), **values)


@lru_cache(maxsize=2)
def _catalogue(language: Language) -> Markup:
    """All texts for the page's script, as the content of a JSON data block."""
    is_english = language == "en"
    texts = {
        **WORDS.by_key(language),
        "reasons": {word: one.english if is_english else one.chinese for word, one in REASONS.items()},
        "scores": {name: one.english if is_english else one.chinese for name, one in SCORES.items()},
    }
    # An unescaped "<" could end the block.
    return Markup(json.dumps(texts, ensure_ascii=False).replace("<", "\\u003c"))  # noqa: S704 - our own words


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return template_environment(Path(__file__).parent / "templates")
