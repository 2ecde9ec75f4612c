"""What a run needs to know of its server before it starts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..client import WebUI
from ..errors import LossyFormat
from ..sizing import native_px_for
from .settings import GenerationSettings

_LOSSLESS_FORMAT = "png"


@dataclass(frozen=True)
class CheckedServer:
    """A server that can do the run.

    Attributes:
        parameters: everything that changes pixels, in one spelling whatever the server's dialect.
        native_px: side of the square the model was trained on.
    """

    parameters: dict[str, Any]
    native_px: int


def check_server(webui: WebUI, settings: GenerationSettings) -> CheckedServer:
    """Refuse what would spoil a long run before it starts.

    Raises:
        LossyFormat: the server sends images in a format that loses detail.
        UnknownSetting: the server lacks the sampler or schedule.
        WebUIError: the server is not there or not ready.
    """
    options = webui.options()
    if options.samples_format.lower() != _LOSSLESS_FORMAT:
        raise LossyFormat(
            f"{webui.url}: its option samples_format is {options.samples_format!r}, which may lose detail; "
            "set it to 'png' (Settings > Saving images/grids > File format for images)"
        )
    sampler = " ".join(part for part in webui.dialect.resolve(settings.sampler, settings.scheduler) if part)
    model = checkpoint_name(options.sd_model_checkpoint or "unknown")
    native_px = settings.native_px or native_px_for(model)
    parameters = settings.model_dump(mode="json", exclude={"batch_size", "scheduler"})
    return CheckedServer({**parameters, "sampler": sampler, "native_px": native_px, "model": model}, native_px)


def checkpoint_name(title: str) -> str:
    """A checkpoint's bare name; its title gains a hash in brackets once the server has computed it."""
    bare = re.sub(r"\s*\[[0-9a-fA-F]+\]$", "", title)
    return re.sub(r"\.(safetensors|ckpt)$", "", bare)
