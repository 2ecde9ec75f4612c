"""What all payloads share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from .._images import ImageInput, to_base64, to_bytes


class Request(BaseModel):
    """A payload we send: frozen; an unknown field is refused before anything is sent."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def payload(self) -> dict[str, Any]:
        """The JSON object to send; fields that are None are left to the server."""
        return self.model_dump(mode="json", exclude_none=True)


class Reply(BaseModel):
    """A payload the server sends: frozen; fields we do not know are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


SentImage = Annotated[
    ImageInput,
    BeforeValidator(to_bytes, json_schema_input_type=str),
    PlainSerializer(to_base64, return_type=str),
]
"""An image in a request: a PIL image, a path or bytes; held as file bytes, sent as base64."""
