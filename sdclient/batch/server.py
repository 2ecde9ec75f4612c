"""What a run needs to know of its server before it starts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..client import WebUI
from ..errors import LossyFormat, SettingsError
from ..sizing import native_px_for
from .servers import Server
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


def check_servers(servers: Sequence[Server], settings: GenerationSettings, *, allow_mixed: bool) -> CheckedServer:
    """Check each server, and that all would make the same images.

    Args:
        servers: one or more.
        settings: the run's.
        allow_mixed: take servers with different models or dialects; the record of each image tells which made it.

    Raises:
        SettingsError: servers differ, and `allow_mixed` is not given.
        WebUIError: one of them is not there, or would spoil the run.
    """
    checked = [check_server(server.webui, settings) for server in servers]
    kinds = [server.webui.kind.product if len(servers) > 1 else None for server in servers]
    for server, found, kind in zip(servers[1:], checked[1:], kinds[1:], strict=True):
        same = found.parameters == checked[0].parameters and kind == kinds[0]
        if not same and not allow_mixed:
            names = [name for name, value in found.parameters.items() if value != checked[0].parameters[name]]
            what = f"{names[0]} {found.parameters[names[0]]!r}" if names else f"kind {kind}"
            base = checked[0].parameters[names[0]] if names else kinds[0]
            raise SettingsError(
                f"{server.name} has {what}, {servers[0].name} has {base!r}; make them alike, or add --allow-mixed"
            )
    models = sorted({str(found.parameters["model"]) for found in checked})
    return CheckedServer({**checked[0].parameters, "model": " | ".join(models)}, checked[0].native_px)


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
