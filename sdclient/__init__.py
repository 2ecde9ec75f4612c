"""Images out of a Stable Diffusion WebUI: a typed client, a batch runner, and where each image came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdcore import __version__

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

_LAZY = {
    "CallOptions": ".client",
    "GeneratedImage": ".client",
    "GenerationResult": ".client",
    "Img2ImgRequest": ".models",
    "JobProgress": ".client",
    "RetryPolicy": ".client",
    "SDClientError": ".errors",
    "Timeouts": ".client",
    "Txt2ImgRequest": ".models",
    "WebUI": ".client",
}

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


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that `import sdclient.manifest` stays cheap."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name], __name__), name)
