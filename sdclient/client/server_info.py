"""What is worth knowing about a server, and the options that change results.

Names and usual values are those of a fresh AUTOMATIC1111 1.10.1; `forge_*` and `schedulers_sigma` are read from the
sources named in `sdclient.client.dialects`. An option that a server does not have is left out.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..errors import RequestRejected, RequestTimedOut, ServerFault, ServerLoading, UnexpectedReply
from ..models.server import Memory, SDModel
from .dialects import Product, ServerKind, ServerVersion
from .webui import WebUI

_T = TypeVar("_T")
_UNANSWERED = (RequestRejected, ServerFault, UnexpectedReply, RequestTimedOut, ServerLoading)
"""Errors of one question that do not stop the others."""


@dataclass(frozen=True)
class ResultOption:
    """One option that changes results."""

    name: str
    usual: Any
    """Its value on a fresh installation."""
    effect: str
    """What another value does."""
    spoils_batches: bool = False
    """Another value makes the images of a run useless or untraceable."""


@dataclass(frozen=True)
class OptionState:
    """An option as a server has it set."""

    option: ResultOption
    value: Any

    @property
    def is_usual(self) -> bool:
        """Whether a fresh installation has the same value; case and the type of a number do not matter."""
        usual, value = self.option.usual, self.value
        if isinstance(usual, str) and isinstance(value, str):
            return usual.casefold() == value.casefold()
        if isinstance(usual, float) and isinstance(value, int | float):
            return math.isclose(usual, value, abs_tol=1e-9)
        return bool(usual == value)

    @property
    def warning(self) -> str | None:
        """One line about a value that spoils batches."""
        if self.is_usual or not self.option.spoils_batches:
            return None
        return f"{self.option.name} is {self.value!r}: {self.option.effect}; set it to {self.option.usual!r}"

    def as_json(self) -> dict[str, Any]:
        """The value beside the usual one."""
        option = self.option
        return {"value": self.value, "usual": option.usual, "is_usual": self.is_usual, "effect": option.effect}


@dataclass(frozen=True)
class ServerInfo:
    """What a server reports about itself. A list it did not give is None, and `not_told` says why."""

    url: str
    """Without credentials."""
    kind: ServerKind
    version: ServerVersion
    current_model: str | None
    """Title of the checkpoint in use."""
    models: tuple[SDModel, ...] | None
    samplers: tuple[str, ...]
    schedulers: tuple[str, ...] | None
    """Labels of the noise schedules; None if the samplers' names hold them."""
    vaes: tuple[str, ...] | None
    """Names of its VAEs, on Forge of its modules (VAEs and text encoders)."""
    upscalers: int | None
    """Their number."""
    loras: int | None
    """Their number."""
    memory: Memory | None
    options: tuple[OptionState, ...]
    """Those that change results."""
    not_told: dict[str, str] = field(default_factory=dict)
    """Question -> why it has no answer."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line about each thing that spoils a run."""
        found = [state.warning for state in self.options if state.warning]
        if self.kind.product is Product.UNKNOWN:
            found.insert(0, "this server was not recognised and is treated as an A1111; check the first images closely")
        return tuple(found)

    def is_current(self, model: SDModel) -> bool:
        """Whether this is the checkpoint in use; its title gains a hash in brackets once the hash is computed."""
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
            "schedulers": None if self.schedulers is None else list(self.schedulers),
            "vae_option": "forge_additional_modules" if self.kind.takes_modules else "sd_vae",
            "vaes": None if self.vaes is None else list(self.vaes),
            "upscalers": self.upscalers,
            "loras": self.loras,
            "memory": None if self.memory is None else self.memory.model_dump(mode="json"),
            "options": {state.option.name: state.as_json() for state in self.options},
            "warnings": list(self.warnings),
            "not_told": self.not_told,
        }


def read_server_info(webui: WebUI) -> ServerInfo:
    """Ask a server for everything; what a working server does not know stays open.

    Raises:
        WebUIError: the server is not there, not ready, refuses the credentials, or lacks its samplers or options.
    """
    not_told: dict[str, str] = {}

    def answer(what: str, ask: Callable[[], _T]) -> _T | None:
        try:
            return ask()
        except _UNANSWERED as error:
            not_told[what] = str(error)
            return None

    options = webui.options()
    dialect, kind = webui.dialect, webui.kind
    upscalers, loras = answer("upscalers", webui.upscalers), answer("loras", webui.loras)
    vaes = answer("modules", webui.sd_modules) if kind.takes_modules else answer("vaes", webui.sd_vaes)
    return ServerInfo(
        url=webui.url,
        kind=kind,
        version=answer("version", webui.version) or ServerVersion(),
        current_model=options.sd_model_checkpoint,
        models=answer("models", webui.sd_models),
        samplers=tuple(sampler.name for sampler in dialect.samplers),
        schedulers=None if dialect.schedulers is None else tuple(entry.label for entry in dialect.schedulers),
        vaes=None if vaes is None else tuple(vae.model_name for vae in vaes),
        upscalers=None if upscalers is None else len(upscalers),
        loras=None if loras is None else len(loras),
        memory=answer("memory", webui.memory),
        options=result_options(options.model_dump(exclude_unset=True)),
        not_told=not_told,
    )


def _bare(title: str) -> str:
    return title.split(" [", 1)[0]


RESULT_OPTIONS = (
    ResultOption("samples_format", "png", "replies hold images that lost detail", True),
    ResultOption("enable_pnginfo", True, "images carry no infotext; nobody can tell what made them", True),
    ResultOption("img2img_color_correction", False, "colours are pulled back to those of the source", True),
    ResultOption("img2img_fix_steps", False, "img2img runs all the steps, not strength x steps"),
    ResultOption("CLIP_stop_at_last_layers", 1, "prompts are read otherwise (clip skip)"),
    ResultOption("sd_vae", "Automatic", "another VAE than the checkpoint's: other colours and fine detail"),
    ResultOption("forge_additional_modules", [], "VAE and text encoders other than the checkpoint's"),
    ResultOption("forge_unet_storage_dtype", "Automatic", "the model is held in another precision"),
    ResultOption("sd_vae_encode_method", "Full", "the source is read coarsely"),
    ResultOption("sd_vae_decode_method", "Full", "images are decoded coarsely"),
    ResultOption("schedulers_sigma", "default", "noise schedule of requests that ask for none"),
    ResultOption("sd_noise_schedule", "Default", "noise schedule of the model itself"),
    ResultOption("randn_source", "GPU", "seeds give other noise"),
    ResultOption("eta_noise_seed_delta", 0, "seeds give other noise with some samplers"),
    ResultOption("eta_ancestral", 1.0, "ancestral samplers add more or less noise"),
    ResultOption("s_noise", 1.0, "samplers add more or less noise"),
    ResultOption("initial_noise_multiplier", 1.0, "img2img starts from more or less noise"),
    ResultOption("img2img_extra_noise", 0.0, "img2img starts with extra noise"),
    ResultOption("inpainting_mask_weight", 1.0, "inpainting models heed the mask less"),
    ResultOption("overlay_inpaint", True, "outside the mask the source is not put back"),
    ResultOption("img2img_background_color", "#ffffff", "what is transparent is filled with another colour"),
    ResultOption("no_dpmpp_sde_batch_determinism", False, "an image depends on the size of its batch"),
    ResultOption("token_merging_ratio_img2img", 0.0, "faster and coarser"),
    ResultOption("s_min_uncond", 0.0, "the negative prompt is skipped in some steps"),
    ResultOption("tiling", False, "left and right edge, top and bottom are made to match"),
    ResultOption("face_restoration", False, "faces are painted over every image"),
    ResultOption("sd_hypernetwork", "None", "a hypernetwork changes every image"),
    ResultOption("fp8_storage", "Disable", "the model is held in 8 bits"),
)


def result_options(options: Mapping[str, Any]) -> tuple[OptionState, ...]:
    """Those of a server's options that change results; Forge has `sd_vae` but ignores it."""
    ignored = {"sd_vae"} if "forge_additional_modules" in options else set()
    known = (option for option in RESULT_OPTIONS if option.name in options and option.name not in ignored)
    return tuple(OptionState(option, options[option.name]) for option in known)
