"""What a run needs to know of its server before it starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..client import WebUI
from ..errors import LossyFormat, SettingsError
from ..loras import find_loras
from ..sizing import native_px_for
from .parameters import INPAINTING_NAMES, ImageParameters
from .run_file import RunSpec
from .servers import Server

_LOSSLESS_FORMAT = "png"


@dataclass(frozen=True)
class ServerFacts:
    """What a server makes of a run's settings.

    Attributes:
        model: the checkpoint's bare name.
        native_px: side of the square the model was trained on, by its name.
        joint_names: (sampler, scheduler) as the user wrote them -> both in one name, whatever the server's dialect.
        lora_hashes: name of each LoRA in use -> hash of its weights, where its file tells.
    """

    model: str
    native_px: int
    joint_names: Mapping[tuple[str, str | None], str]
    lora_hashes: Mapping[str, str] = field(default_factory=dict)

    def identity(self, parameters: ImageParameters, run_seed: int) -> dict[str, Any]:
        """Everything that changes an image's pixels, in one spelling."""
        plain = asdict(parameters)
        del plain["scheduler"]
        inpainting = plain.pop("inpainting")  # left out where there is none, so that keys stay what they were
        return {
            **plain,
            **(inpainting or {}),
            "sampler": self.joint_names[parameters.sampler, parameters.scheduler],
            "native_px": parameters.native_px or self.native_px,
            "model": self.model,
            "seed": run_seed,
        }

    def describe_run(self, spec: RunSpec, *, with_masks: bool = False) -> dict[str, Any]:
        """The run's settings as they are kept with its output: those that change pixels, sections only if any."""
        idle = {"batch_size"} if with_masks else {"batch_size", *INPAINTING_NAMES}
        kept = {name: value for name, value in spec.as_dict().items() if value not in ({}, []) and name not in idle}
        scheduler = kept.pop("scheduler", None)
        sampler = self.joint_names.get((str(kept["sampler"]), scheduler), kept["sampler"])
        return {**kept, "sampler": sampler, "native_px": kept["native_px"] or self.native_px, "model": self.model}


@dataclass(frozen=True)
class ServerCheck:
    """What was found at one server of several."""

    name: str
    kind: str
    """Its product; "" where it was not asked."""
    facts: ServerFacts


def check_servers(
    servers: Sequence[Server],
    samplers: Sequence[tuple[str, str | None]],
    loras: Sequence[str] = (),
    *,
    allow_mixed: bool,
) -> ServerFacts:
    """Check each server, and that all would make the same images.

    Args:
        servers: one or more.
        samplers: every (sampler, scheduler) of the run.
        loras: the name of every LoRA of the run.
        allow_mixed: take servers with different models or dialects; the record of each image tells which made it.

    Raises:
        SettingsError: servers differ, and `allow_mixed` is not given.
        WebUIError: one of them is not there, or would spoil the run.
    """
    with_kind = len(servers) > 1
    checks = [
        ServerCheck(
            server.name,
            server.webui.kind.product.value if with_kind else "",
            check_server(server.webui, samplers, loras),
        )
        for server in servers
    ]
    return combine_checks(checks, allow_mixed=allow_mixed)


def combine_checks(checks: Sequence[ServerCheck], *, allow_mixed: bool) -> ServerFacts:
    """What the servers of a run make of its settings together.

    Args:
        checks: of each of them, at least one.
        allow_mixed: take servers with different models or dialects.

    Raises:
        SettingsError: they differ, and `allow_mixed` is not given.
    """
    first = checks[0]
    if not allow_mixed:
        for check in checks[1:]:
            compared = (("model", check.facts.model, first.facts.model), ("kind", check.kind, first.kind))
            for what, here, there in compared:
                if here != there:
                    raise SettingsError(
                        f"{check.name} has {what} {here!r}, {first.name} has {there!r}; "
                        "make them alike, or add --allow-mixed"
                    )
            _refuse_other_loras(check, first)
    models = sorted({check.facts.model for check in checks})
    return replace(first.facts, model=" | ".join(models))


def _refuse_other_loras(check: ServerCheck, first: ServerCheck) -> None:
    for name, here in check.facts.lora_hashes.items():
        there = first.facts.lora_hashes.get(name, here)
        if here != there:
            raise SettingsError(
                f"{check.name} has another LoRA {name!r} (hash {here[:12]}) than {first.name} ({there[:12]}); "
                "copy the same file to both, or add --allow-mixed"
            )


def check_server(webui: WebUI, samplers: Sequence[tuple[str, str | None]], loras: Sequence[str] = ()) -> ServerFacts:
    """Refuse what would spoil a long run before it starts.

    Raises:
        LossyFormat: the server sends images in a format that loses detail.
        UnknownSetting: the server lacks a sampler, a schedule or a LoRA.
        WebUIError: the server is not there or not ready.
    """
    options = webui.options()
    if options.samples_format.lower() != _LOSSLESS_FORMAT:
        raise LossyFormat(
            f"{webui.url}: its option samples_format is {options.samples_format!r}, which may lose detail; "
            "set it to 'png' (Settings > Saving images/grids > File format for images)"
        )
    joint = {pair: " ".join(part for part in webui.dialect.resolve(*pair) if part) for pair in samplers}
    model = checkpoint_name(options.sd_model_checkpoint or "unknown")
    hashes = find_loras(loras, webui.loras, webui.refresh_loras, server=webui.url)
    return ServerFacts(model, native_px_for(model), joint, hashes)


def checkpoint_name(title: str) -> str:
    """A checkpoint's bare name; its title gains a hash in brackets once the server has computed it."""
    bare = re.sub(r"\s*\[[0-9a-fA-F]+\]$", "", title)
    return re.sub(r"\.(safetensors|ckpt)$", "", bare)
