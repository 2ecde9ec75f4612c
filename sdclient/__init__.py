"""Images out of a Stable Diffusion WebUI: a typed client, a batch runner, and where each image came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdcore import __version__
from sdcore.optional_imports import import_on_first_use

if TYPE_CHECKING:
    from .client import CallOptions, GeneratedImage, GenerationResult, JobProgress, RetryPolicy, Timeouts, WebUI
    from .errors import SDClientError
    from .models import Img2ImgRequest, Txt2ImgRequest

__all__ = [
    "CallOptions",
    "GeneratedImage",
    "GenerationResult",
    "Img2ImgRequest",
    "JobProgress",
    "RetryPolicy",
    "SDClientError",
    "Timeouts",
    "Txt2ImgRequest",
    "WebUI",
    "__version__",
]


__getattr__ = import_on_first_use(
    __name__,
    {
        ".client": [
            "CallOptions",
            "GeneratedImage",
            "GenerationResult",
            "JobProgress",
            "RetryPolicy",
            "Timeouts",
            "WebUI",
        ],
        ".errors": ["SDClientError"],
        ".models": ["Img2ImgRequest", "Txt2ImgRequest"],
    },
)
