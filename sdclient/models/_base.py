"""What all payloads share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from .._images import ImageInput, from_base64, to_base64, to_bytes

_T = TypeVar("_T")


class Request(BaseModel):
    """A payload we send: frozen; an unknown field is refused before anything is sent."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=()
    )

    def payload(self) -> dict[str, Any]:
        """The JSON object to send; fields that are None are left to the server."""
        return self.model_dump(mode="json", exclude_none=True, by_alias=True)


class Reply(BaseModel):
    """A payload the server sends: frozen; fields we do not know are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


SentImage = Annotated[
    ImageInput,
    BeforeValidator(to_bytes, json_schema_input_type=str),
    PlainSerializer(to_base64, return_type=str),
]
"""An image in a request: a PIL image, a path or bytes; held as file bytes, sent as base64."""

Many = Annotated[Sequence[_T], AfterValidator(tuple)]
"""Several values in a request: any sequence but a text, held as a tuple."""

ReceivedImage = Annotated[bytes, BeforeValidator(lambda v: from_base64(v) if isinstance(v, str) else v)]
"""An image in a reply: base64 or a data URL as it comes, held as an image file's bytes."""
