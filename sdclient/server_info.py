"""Everything worth knowing of a server before a run, asked in one go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .client import WebUI
from .errors import RequestRejected, RequestTimedOut, ServerFault, ServerLoading, UnexpectedReply
from .models import Memory, SDModel
from .result_options import OptionState, result_options
from .server_kind import Product, ServerKind, ServerVersion

_T = TypeVar("_T")
_NOT_TOLD = (RequestRejected, ServerFault, UnexpectedReply, RequestTimedOut, ServerLoading)
"""How a server that answers other questions leaves one open."""


@dataclass(frozen=True)
class ServerInfo:
    """What a server told about itself. A list it did not give is None, and `not_told` says why.

    Attributes:
        url: its address, without credentials.
        current_model: title of the checkpoint in use; None when none is.
        models: its checkpoints.
        samplers: their names.
        schedulers: labels of the noise schedules; None when they are part of the samplers' names.
        vaes: names of its VAEs, on Forge of its modules (VAEs and text encoders).
        upscalers: how many.
        loras: how many.
        memory: in bytes.
        options: those that change results.
        not_told: what was asked -> why there is no answer.
    """

    url: str
    kind: ServerKind
    version: ServerVersion
    current_model: str | None
    models: tuple[SDModel, ...] | None
    samplers: tuple[str, ...]
    schedulers: tuple[str, ...] | None
    vaes: tuple[str, ...] | None
    upscalers: int | None
    loras: int | None
    memory: Memory | None
    options: tuple[OptionState, ...]
    not_told: dict[str, str] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line about each thing that spoils a run."""
        found = [state.warning for state in self.options if state.warning]
        if self.kind.product is Product.UNKNOWN:
            found.insert(0, "this server was not recognised and is treated as an A1111; check the first images closely")
        return tuple(found)

    def is_current(self, model: SDModel) -> bool:
        """Whether this is the checkpoint in use; titles gain a hash in brackets once it has been computed."""
        current = self.current_model
        return current is not None and _bare(current) in (_bare(model.title), model.model_name)

    def as_json(self) -> dict[str, Any]:
        """All of it as one JSON object."""
        return {
            "url": self.url,
            "kind": self.kind.label,
            "recognised_by": list(self.kind.recognised_by),
            "version": self.version.version,
            "commit": self.version.commit,
            "current_model": self.current_model,
            "models": None if self.models is None else [model.title for model in self.models],
            "samplers": list(self.samplers),
            "schedulers": _listed(self.schedulers),
            "vae_option": "forge_additional_modules" if self.kind.takes_modules else "sd_vae",
            "vaes": _listed(self.vaes),
            "upscalers": self.upscalers,
            "loras": self.loras,
            "memory": None if self.memory is None else self.memory.model_dump(mode="json"),
            "options": {
                state.option.name: {
                    "value": state.value,
                    "usual": state.option.usual,
                    "is_usual": state.is_usual,
                    "effect": state.option.effect,
                }
                for state in self.options
            },
            "warnings": list(self.warnings),
            "not_told": self.not_told,
        }


def gather(webui: WebUI) -> ServerInfo:
    """Ask a server everything; what a working server does not know is left open.

    Raises:
        WebUIError: the server is not there, not ready, refuses the credentials, or lacks its samplers or options.
    """
    not_told: dict[str, str] = {}

    def told(what: str, ask: Callable[[], _T]) -> _T | None:
        try:
            return ask()
        except _NOT_TOLD as error:
            not_told[what] = str(error)
            return None

    options = webui.options()
    dialect, kind = webui.dialect, webui.kind
    upscalers, loras = told("upscalers", webui.upscalers), told("loras", webui.loras)
    vaes = told("modules", webui.sd_modules) if kind.takes_modules else told("vaes", webui.sd_vaes)
    return ServerInfo(
        url=webui.url,
        kind=kind,
        version=told("version", webui.version) or ServerVersion(),
        current_model=options.sd_model_checkpoint,
        models=told("models", webui.sd_models),
        samplers=tuple(sampler.name for sampler in dialect.samplers),
        schedulers=None if dialect.schedulers is None else tuple(entry.label for entry in dialect.schedulers),
        vaes=None if vaes is None else tuple(vae.model_name for vae in vaes),
        upscalers=_count(upscalers),
        loras=_count(loras),
        memory=told("memory", webui.memory),
        options=result_options(options.model_dump(exclude_unset=True)),
        not_told=not_told,
    )


def _bare(title: str) -> str:
    return title.split(" [", 1)[0]


def _count(entries: Sequence[object] | None) -> int | None:
    return None if entries is None else len(entries)


def _listed(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)
