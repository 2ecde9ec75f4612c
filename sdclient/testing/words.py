"""What a WebUI says when it fails: error bodies in the genuine server's shape and words."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any


def failure(status: int) -> dict[str, Any]:
    """The body of a failure about which nothing more is known."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "planned by the test"
    return {"error": "HTTPException", "detail": phrase, "body": "", "errors": ""}


OUT_OF_MEMORY = {
    "error": "OutOfMemoryError",
    "detail": "",
    "body": "",
    "errors": "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 7.78 GiB of which "
    "5.12 GiB is free.",
}
"""The body of a 500 when the GPU's memory does not suffice; the exception's name and first words are PyTorch's."""

NAN = {
    "error": "NansException",
    "detail": "",
    "body": "",
    "errors": "A tensor with all NaNs was produced in Unet. Use --disable-nan-check commandline argument to disable "
    "this check.",
}
"""The body of a 500 when the model computed not-a-number."""
