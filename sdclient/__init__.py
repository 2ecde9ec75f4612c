"""Images out of a Stable Diffusion WebUI: a typed client, a batch runner, and where each image came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdcore import __version__
from sdcore.optional_imports import import_on_first_use

if TYPE_CHECKING:
    from .client import CallOptions as CallOptions
    from .client import GeneratedImage as GeneratedImage
    from .client import GenerationResult as GenerationResult
    from .client import JobProgress as JobProgress
    from .client import RetryPolicy as RetryPolicy
    from .client import Timeouts as Timeouts
    from .client import WebUI as WebUI
    from .errors import SDClientError as SDClientError
    from .models import Img2ImgRequest as Img2ImgRequest
    from .models import Txt2ImgRequest as Txt2ImgRequest

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
