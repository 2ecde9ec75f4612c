"""Request bodies read as a WebUI reads them, the images inside requests and replies, and error bodies.

The bodies are derived from the client's request models, so that field names cannot differ. They read types loosely,
check no ranges, ignore unknown fields and use the server's defaults: a WebUI accepts almost anything and answers 200.
A genuine WebUI validates with pydantic 1: it takes `"4"` or `4.7` for the integer 4 and `5` for the text "5".
pydantic 2 does not, so each kind of value has a validator of its own here.

A failing request is answered by `{"error", "detail", "body", "errors"}`; a body that does not validate by 422
`{"detail": [{"loc", "msg", "type"}]}` with the messages of pydantic 1. Errors of routing (404, 405) keep FastAPI's own
`{"detail"}`.
"""

import base64
import io
import json
import logging
import operator
import zlib
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, create_model, model_validator
from pydantic_core import PydanticCustomError
from starlette.exceptions import HTTPException as RoutingException

from sdcore.images.text import EXIF_IFD, USER_COMMENT

from ..models import server
from ..models.generation import Img2ImgRequest, Txt2ImgRequest

_NEVER_NULL = frozenset(
    {
        "alwayson_scripts",
        "denoising_strength",
        "image",
        "include_init_images",
        "sampler_index",
        "save_images",
        "script_args",
        "send_images",
    }
)
"""All other fields accept null."""


class LooseBody(BaseModel):
    """A body read as a WebUI reads it."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _accept_pairs(cls, value: object) -> object:
        return value if isinstance(value, cls) else to_object(value)


def _derive(
    name: str,
    client_model: type[BaseModel],
    *,
    never_null: frozenset[str] = _NEVER_NULL,
    server_defaults: Mapping[str, Any] = MappingProxyType({}),
    ranges: bool = False,
) -> type[LooseBody]:
    """A loosely reading model with the client model's fields; their JSON types come from its schema.

    With `ranges` it refuses values out of range, as a WebUI does for few calls.
    """
    schema = client_model.model_json_schema(mode="validation")
    fields: dict[str, Any] = {}
    for field, schema_entry in schema["properties"].items():
        variants = schema_entry.get("anyOf", [schema_entry])
        kind = next(str(variant["type"]) for variant in variants if variant["type"] != "null")
        annotation = loose_type(kind, nullable=field not in never_null)
        if ranges:
            annotation = Annotated[annotation, AfterValidator(in_range(schema_entry))]
        if field in server_defaults:
            fields[field] = (annotation, server_defaults[field])
        elif field in schema.get("required", ()):
            fields[field] = (annotation, ...)
        else:
            fields[field] = (annotation, schema_entry.get("default", {} if kind == "object" else None))
    return create_model(name, __base__=LooseBody, **fields)


def to_object(value: object) -> dict[Any, Any]:
    """A mapping unchanged; a list of pairs as a mapping, so that `[]` counts as `{}`."""
    if isinstance(value, Mapping):
        return dict(value)
    try:
        return dict(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError):
        raise PydanticCustomError("type_error.dict", "value is not a valid dict") from None


_TRUE = frozenset({1, "1", "on", "t", "true", "y", "yes"})
_FALSE = frozenset({0, "0", "off", "f", "false", "n", "no"})


def _integer(value: object) -> int:
    """Floats lose their fraction; a text must be an integer literal."""
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, OverflowError):
        raise PydanticCustomError("type_error.integer", "value is not a valid integer") from None


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise PydanticCustomError("type_error.float", "value is not a valid float") from None


def _text(value: object) -> str:
    if isinstance(value, str | int | float):
        return str(value)
    raise PydanticCustomError("type_error.str", "str type expected")


def _boolean(value: object) -> bool:
    key = value.lower() if isinstance(value, str) else value
    if isinstance(key, str | int | float) and key in _TRUE | _FALSE:
        return key in _TRUE
    raise PydanticCustomError("type_error.bool", "value could not be parsed to a boolean")


def _array(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    raise PydanticCustomError("type_error.list", "value is not a valid list")


_KINDS: dict[str, tuple[Any, Callable[[object], object]]] = {
    "integer": (int, _integer),
    "number": (float, _number),
    "string": (str, _text),
    "boolean": (bool, _boolean),
    "array": (list[Any], _array),
    "object": (dict[str, Any], to_object),
}


def loose_type(kind: str, *, nullable: bool) -> Any:
    """The annotation of a loosely read field of a JSON schema type; a nullable one accepts and keeps null."""
    bare, read = _KINDS[kind]

    def validate(value: object) -> object:
        if value is not None:
            return read(value)
        if not nullable:
            raise PydanticCustomError("type_error.none.not_allowed", "none is not an allowed value")
        return None

    return Annotated[bare | None if nullable else bare, BeforeValidator(validate)]


def in_range(schema_entry: Mapping[str, Any]) -> Callable[[Any], Any]:
    """A validator that refuses values outside a JSON schema's bounds or list of values."""
    allowed = schema_entry.get("enum")
    bounds: tuple[tuple[str, Callable[[Any, Any], bool], str, str], ...] = (
        ("exclusiveMinimum", operator.gt, "not_gt", "greater than"),
        ("minimum", operator.ge, "not_ge", "greater than or equal to"),
        ("maximum", operator.le, "not_le", "less than or equal to"),
    )

    def validate(value: Any) -> Any:
        if allowed is not None and value not in allowed:
            listed = ", ".join(map(str, allowed))
            context = {"given": value, "permitted": allowed}
            raise PydanticCustomError("value_error.const", f"unexpected value; permitted: {listed}", context)
        for bound, holds, kind, words in bounds:
            limit = schema_entry.get(bound)
            if limit is not None and not holds(value, limit):
                message = f"ensure this value is {words} {limit:g}"
                raise PydanticCustomError(f"value_error.number.{kind}", message, {"limit_value": limit})
        return value

    return validate


Img2ImgBody = _derive("Img2ImgBody", Img2ImgRequest, server_defaults={"denoising_strength": 0.75, "init_images": None})
"""Body of `POST /sdapi/v1/img2img`."""

Txt2ImgBody = _derive("Txt2ImgBody", Txt2ImgRequest, never_null=_NEVER_NULL - {"denoising_strength"})
"""Body of `POST /sdapi/v1/txt2img`."""

PngInfoBody = _derive("PngInfoBody", server.PngInfoRequest)
"""Body of `POST /sdapi/v1/png-info`."""

InterrogateBody = _derive(
    "InterrogateBody",
    server.InterrogateRequest,
    never_null=frozenset(server.InterrogateRequest.model_fields),
    server_defaults={"image": ""},
)
"""Body of `POST /sdapi/v1/interrogate`."""

ExtrasSingleBody = _derive(
    "ExtrasSingleBody",
    server.ExtrasSingleRequest,
    never_null=frozenset(server.ExtrasSingleRequest.model_fields),
    server_defaults={"image": ""},
    ranges=True,
)
"""Body of `POST /sdapi/v1/extra-single-image`."""


class FileBody(LooseBody):
    """One image of a batch."""

    data: loose_type("string", nullable=False)  # type: ignore[valid-type]
    name: loose_type("string", nullable=False)  # type: ignore[valid-type]


ExtrasBatchBody = create_model(
    "ExtrasBatchBody",
    __base__=_derive(
        "ExtrasBody", server.ExtrasRequest, never_null=frozenset(server.ExtrasRequest.model_fields), ranges=True
    ),
    imageList=(list[FileBody], ...),
)
"""Body of `POST /sdapi/v1/extra-batch-images`."""

InternalProgressBody = _derive(
    "InternalProgressBody", server.InternalProgressRequest, never_null=frozenset(), server_defaults={"id_task": None}
)
"""Body of `POST /internal/progress`."""


_LOG = logging.getLogger(__name__)


class ErrorRoute(APIRoute):
    """A route whose exceptions become the WebUI's error bodies."""

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
                return _error_reply(500, type(error).__name__, "", str(error))

        return answer


def add_error_handlers(app: FastAPI) -> None:
    """Make the application answer refusals and invalid bodies in the WebUI's format."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return _error_reply(error.status_code, "HTTPException", error.detail, "")

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": [_pydantic1_error(item, error.body) for item in error.errors()]}, 422)


def _error_reply(status: int, error: str, detail: Any, errors: str) -> JSONResponse:
    return JSONResponse({"error": error, "detail": detail, "body": "", "errors": errors}, status)


def _pydantic1_error(item: dict[str, Any], body: Any) -> dict[str, Any]:
    """A validation error in the format of pydantic 1; our own validators have its messages already."""
    kind, place = item["type"], list(item["loc"])
    if kind == "missing":
        return {"loc": place, "msg": "field required", "type": "value_error.missing"}
    if kind == "json_invalid":
        error = json.JSONDecodeError(item["ctx"]["error"], body, place[-1])
        context = {"msg": error.msg, "doc": error.doc, "pos": error.pos, "lineno": error.lineno, "colno": error.colno}
        return {"loc": place, "msg": str(error), "type": "value_error.jsondecode", "ctx": context}
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return {"loc": place, "msg": "value is not a valid dict", "type": "type_error.dict"}
    reply = {"loc": place, "msg": item["msg"], "type": kind}
    return {**reply, "ctx": item["ctx"]} if kind.startswith("value_error.") and "ctx" in item else reply


_FAST_PNG = {"compress_level": 1, "compress_type": zlib.Z_RLE}
"""More than twice as fast as the usual level 6; equally small with grain, a third larger without."""


def decode_request_image(text: str) -> Image.Image:
    """The image of a base64 text or a `data:image/` URL, upright by its EXIF orientation.

    Web addresses are refused: this server fetches nothing.

    Raises:
        HTTPException: 500 with the WebUI's message when the text holds no image.
        IndexError: a `data:image/` URL without its parts, as in the WebUI.
        OSError: a truncated image.
    """
    if text.startswith(("http://", "https://")):
        raise HTTPException(500, "Request to local resource not allowed")
    if text.startswith("data:image/"):
        text = text.split(";")[1].split(",")[1]
    try:
        image = Image.open(io.BytesIO(base64.b64decode(text + "=" * (-len("".join(text.split())) % 4))))
    except Exception as error:
        raise HTTPException(500, "Invalid encoded image") from error
    try:
        image.load()
    except (OSError, SyntaxError) as error:
        raise OSError("image file is truncated") from error
    return ImageOps.exif_transpose(image)


def to_rgb(image: Image.Image, background: str) -> Image.Image:
    """The image as 8-bit RGB: transparency shows the background ("#ffffff"), values above 255 become 255."""
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(np.clip(np.asarray(image), 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        flat = Image.new("RGBA", layer.size, background)
        flat.alpha_composite(layer)
        return flat.convert("RGB")
    return image.convert("RGB")


def encode_image(
    image: Image.Image, infotext: str, settings: Mapping[str, Any], *, extra_texts: Mapping[str, str] | None = None
) -> str:
    """The RGB image as base64 in the format of the option `samples_format`, with its infotext ("" for none).

    `extra_texts` are further texts by keyword, for PNG only.

    Raises:
        HTTPException: 500, a format the WebUI cannot send.
    """
    text = infotext if settings["enable_pnginfo"] else ""
    kind = str(settings["samples_format"]).lower()
    buffer = io.BytesIO()
    if kind == "png":
        chunks = PngInfo()
        if text:
            chunks.add_text("parameters", text)
        for keyword, words in (extra_texts or {}).items():
            chunks.add_text(keyword, words)
        image.save(buffer, "PNG", pnginfo=chunks, **_FAST_PNG)
    elif kind in ("jpg", "jpeg"):
        image.save(buffer, "JPEG", quality=settings["jpeg_quality"], exif=_user_comment(text))
    elif kind == "webp":
        lossless = bool(settings["webp_lossless"])
        image.save(buffer, "WEBP", quality=settings["jpeg_quality"], lossless=lossless, exif=_user_comment(text))
    else:
        raise HTTPException(500, "Invalid image format")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _user_comment(text: str) -> bytes:
    """EXIF with the text as a big-endian Unicode UserComment, as the WebUI writes it."""
    exif = Image.Exif()
    exif.endian = ">"
    if text:
        exif.get_ifd(EXIF_IFD)[USER_COMMENT] = b"UNICODE\0" + text.encode("utf-16-be")
    return exif.tobytes()
