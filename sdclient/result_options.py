"""The server's options that change what the same request gives, and what an unusual value does (pure).

Names and usual values are those of a fresh AUTOMATIC1111 1.10.1; `forge_*` and `schedulers_sigma` are read from the
sources named in `sdclient.server_kind`. An option that a server does not have is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ResultOption:
    """One option that changes results.

    Attributes:
        name: as the server names it.
        usual: its value on a fresh installation.
        effect: what another value does.
        spoils_batches: another value makes the images of a run useless or untraceable.
    """

    name: str
    usual: Any
    effect: str
    spoils_batches: bool = False


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


RESULT_OPTIONS = (
    ResultOption("samples_format", "png", "replies hold images that lost detail", spoils_batches=True),
    ResultOption(
        "enable_pnginfo", True, "images carry no infotext; nobody can tell what made them", spoils_batches=True
    ),
    ResultOption(
        "img2img_color_correction", False, "colours are pulled back to those of the source", spoils_batches=True
    ),
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
    """Those of a server's options that change results; Forge keeps `sd_vae` but pays no heed to it.

    Args:
        options: as `/sdapi/v1/options` gives them.
    """
    unheeded = {"sd_vae"} if "forge_additional_modules" in options else set()
    known = (option for option in RESULT_OPTIONS if option.name in options and option.name not in unheeded)
    return tuple(OptionState(option, options[option.name]) for option in known)
