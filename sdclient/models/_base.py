"""Base classes of the payloads, and their images as base64."""

import base64
import binascii
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
)

from sdcore.images.decode import ImageInput, image_bytes

from ..errors import BadImage, unreadable_as

_T = TypeVar("_T")


class Request(BaseModel):
    """A payload to send: frozen; an unknown field is refused before anything is sent."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=()
    )

    def payload(self) -> dict[str, Any]:
        """The JSON object to send; fields that are None are left to the server."""
        return self.model_dump(mode="json", exclude_none=True, by_alias=True)


class Reply(BaseModel):
    """A payload from the server: frozen; unknown fields are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


def to_base64(data: bytes) -> str:
    """The bytes as the WebUI wants them: base64 without a prefix."""
    return base64.b64encode(data).decode("ascii")


_sent_bytes = unreadable_as(BadImage)(image_bytes)
SentImage = Annotated[
    ImageInput, BeforeValidator(_sent_bytes, json_schema_input_type=str), PlainSerializer(to_base64, return_type=str)
]
"""An image in a request: a PIL image, a path or bytes; held as an image file's bytes, sent as base64."""

Many = Annotated[Sequence[_T], AfterValidator(tuple)]
"""Several values in a request: any sequence except a text, held as a tuple."""

ReceivedImage = Annotated[bytes, BeforeValidator(lambda v: from_base64(v) if isinstance(v, str) else v)]
"""An image in a reply: sent as base64 or a data URL, held as an image file's bytes."""

_BASE64 = TypeAdapter(bytes, config=ConfigDict(val_json_bytes="base64"))
"""Decodes base64 four times as fast as Python's `base64` module."""


def from_base64(text: str) -> bytes:
    """Bytes of an image that the WebUI sends as base64 or as a `data:` URL.

    Raises:
        BadImage: not base64.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        if len(text) % 4 == 0:  # pydantic would also accept missing padding
            with suppress(ValidationError):
                return _BASE64.validate_strings(text)
        return base64.b64decode(text, validate=True)  # says what is wrong
    except (binascii.Error, ValueError) as error:
        raise BadImage(f"an image in the reply is not base64: {error}") from error
