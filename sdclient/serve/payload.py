"""The bodies the server accepts, derived from the client's own request models.

Same field names, so that the two cannot drift apart; but bare types read loosely, no ranges, unknown
fields ignored, and the server's defaults: a WebUI takes almost anything and answers 200.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, create_model, model_validator

from ..models import (
    ExtrasRequest,
    ExtrasSingleRequest,
    Img2ImgRequest,
    InternalProgressRequest,
    InterrogateRequest,
    PngInfoRequest,
    Txt2ImgRequest,
)
from .coercion import in_range, loose_type, to_object

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


def _derive(
    name: str,
    client_model: type[BaseModel],
    *,
    never_null: frozenset[str] = _NEVER_NULL,
    server_defaults: Mapping[str, Any] = MappingProxyType({}),
    ranges: bool = False,
) -> type[LooseBody]:
    """A loose model with the client model's fields; their JSON types come from its schema.

    Args:
        name: of the new model.
        client_model: what the client sends.
        never_null: fields that do not accept null.
        server_defaults: where the server's default is not the client's.
        ranges: refuse values out of range, which a WebUI does for few calls.
    """
    schema = client_model.model_json_schema(mode="validation")
    fields: dict[str, Any] = {}
    for field, described in schema["properties"].items():
        kind = _json_type(described)
        annotation = loose_type(kind, nullable=field not in never_null)
        if ranges:
            annotation = Annotated[annotation, AfterValidator(in_range(described))]
        if field in server_defaults:
            fields[field] = (annotation, server_defaults[field])
        elif field in schema.get("required", ()):
            fields[field] = (annotation, ...)
        else:
            fields[field] = (annotation, described.get("default", {} if kind == "object" else None))
    return create_model(name, __base__=LooseBody, **fields)


def _json_type(described: dict[str, Any]) -> str:
    """JSON type of a property, the null of an optional one left out."""
    variants = described.get("anyOf", [described])
    return next(str(variant["type"]) for variant in variants if variant["type"] != "null")


Img2ImgBody = _derive("Img2ImgBody", Img2ImgRequest, server_defaults={"denoising_strength": 0.75, "init_images": None})
"""Body of `POST /sdapi/v1/img2img`."""

Txt2ImgBody = _derive("Txt2ImgBody", Txt2ImgRequest, never_null=_NEVER_NULL - {"denoising_strength"})
"""Body of `POST /sdapi/v1/txt2img`."""

PngInfoBody = _derive("PngInfoBody", PngInfoRequest)
"""Body of `POST /sdapi/v1/png-info`."""

InterrogateBody = _derive(
    "InterrogateBody",
    InterrogateRequest,
    never_null=frozenset(InterrogateRequest.model_fields),
    server_defaults={"image": ""},
)
"""Body of `POST /sdapi/v1/interrogate`."""

ExtrasSingleBody = _derive(
    "ExtrasSingleBody",
    ExtrasSingleRequest,
    never_null=frozenset(ExtrasSingleRequest.model_fields),
    server_defaults={"image": ""},
    ranges=True,
)
"""Body of `POST /sdapi/v1/extra-single-image`."""


class FileBody(LooseBody):
    """One picture of a batch."""

    data: loose_type("string", nullable=False)  # type: ignore[valid-type]
    name: loose_type("string", nullable=False)  # type: ignore[valid-type]


ExtrasBatchBody = create_model(
    "ExtrasBatchBody",
    __base__=_derive("ExtrasBody", ExtrasRequest, never_null=frozenset(ExtrasRequest.model_fields), ranges=True),
    imageList=(list[FileBody], ...),
)
"""Body of `POST /sdapi/v1/extra-batch-images`."""

InternalProgressBody = _derive(
    "InternalProgressBody", InternalProgressRequest, never_null=frozenset(), server_defaults={"id_task": None}
)
"""Body of `POST /internal/progress`."""
