"""The bodies the server accepts, derived from the client's own request models.

Same field names, so that the two cannot drift apart; but bare types read loosely, no ranges, unknown
fields ignored, and the server's defaults: a WebUI takes almost anything and answers 200.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, create_model, model_validator

from ..models import Img2ImgRequest, PngInfoRequest
from .coercion import loose_type, to_object

_SERVER_DEFAULTS: dict[str, Any] = {"denoising_strength": 0.75, "init_images": None}
"""Where the server's default is not the client's."""

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
"""Every other field accepts null."""


class LooseBody(BaseModel):
    """A body read as a WebUI reads it."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _accept_pairs(cls, value: object) -> object:
        return value if isinstance(value, cls) else to_object(value)


def _derive(name: str, client_model: type[BaseModel]) -> type[LooseBody]:
    """A loose model with the client model's fields; their JSON types come from its schema."""
    schema = client_model.model_json_schema(mode="validation")
    fields: dict[str, Any] = {}
    for field, described in schema["properties"].items():
        kind = _json_type(described)
        annotation = loose_type(kind, nullable=field not in _NEVER_NULL)
        if field in _SERVER_DEFAULTS:
            fields[field] = (annotation, _SERVER_DEFAULTS[field])
        elif field in schema.get("required", ()):
            fields[field] = (annotation, ...)
        else:
            fields[field] = (annotation, described.get("default", {} if kind == "object" else None))
    return create_model(name, __base__=LooseBody, **fields)


def _json_type(described: dict[str, Any]) -> str:
    """JSON type of a property, the null of an optional one left out."""
    variants = described.get("anyOf", [described])
    return next(str(variant["type"]) for variant in variants if variant["type"] != "null")


Img2ImgBody = _derive("Img2ImgBody", Img2ImgRequest)
"""Body of `POST /sdapi/v1/img2img`."""

PngInfoBody = _derive("PngInfoBody", PngInfoRequest)
"""Body of `POST /sdapi/v1/png-info`."""
