"""Payload of txt2img: an image from words alone. Its reply is a `GenerationReply`.

Field names, types and defaults are those of AUTOMATIC1111 1.10.1.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from ..provenance import InfotextSource, load_infotext
from ._infotext import build_request
from .generation import GenerationRequest


class Txt2ImgRequest(GenerationRequest):
    """A request for images made from a prompt, with a second pass at a larger size ("hires fix") on demand.

    Raises:
        pydantic.ValidationError: a value out of range, an unknown field, or `enable_hr` without
            `denoising_strength` (the server has no default there and fails).
    """

    enable_hr: bool = False
    """Make the image at `width` x `height`, enlarge it, and go over it once more."""
    denoising_strength: float | None = Field(default=None, ge=0, le=1)
    """How far the second pass may leave the first; needed with `enable_hr`, unused without. No server default."""
    firstphase_width: int = Field(default=0, ge=0)
    """Width of the first pass in px where `width` is the final one, as WebUIs did before 2023; 0 off."""
    firstphase_height: int = Field(default=0, ge=0)
    """Height of the first pass in px where `height` is the final one; 0 off."""
    hr_scale: float = Field(default=2.0, gt=0)
    """Factor of the enlargement; unused when `hr_resize_x` or `hr_resize_y` is given."""
    hr_upscaler: str | None = None
    """An upscaler or latent upscale mode as the server lists it; None is "Latent". The server fails on an
    unknown name, but answers 200 when it lists one whose model it cannot load, with a plainer enlargement."""
    hr_second_pass_steps: int = Field(default=0, ge=0)
    """Steps of the second pass; 0 is as many as in the first."""
    hr_resize_x: int = Field(default=0, ge=0)
    """Final width in px; 0 follows `hr_resize_y`, or `hr_scale` when both are 0."""
    hr_resize_y: int = Field(default=0, ge=0)
    """Final height in px; 0 follows `hr_resize_x`, or `hr_scale` when both are 0."""
    hr_checkpoint_name: str | None = None
    """Checkpoint of the second pass; None is the one of the first."""
    hr_sampler_name: str | None = None
    """Sampler of the second pass; None is the one of the first."""
    hr_scheduler: str | None = None
    """Noise schedule of the second pass; None is the one of the first."""
    hr_prompt: str = ""
    """Prompt of the second pass; "" is the one of the first."""
    hr_negative_prompt: str = ""
    """Negative prompt of the second pass; "" is the one of the first."""

    @model_validator(mode="after")
    def _second_pass_has_a_strength(self) -> Txt2ImgRequest:
        if self.enable_hr and self.denoising_strength is None:
            raise ValueError("enable_hr needs denoising_strength (0 to 1); the server has no default for it")
        return self

    @classmethod
    def from_infotext(cls, source: InfotextSource, **changes: Any) -> Txt2ImgRequest:
        """The request that made an image, as far as its infotext tells.

        Names of models and samplers stay as they stand there, an old joint sampler name too: the client
        resolves them. Without "Clip skip" the option is asked for as 1, which is what its absence means. Labels of
        extensions and hashes are left out; `sdclient.provenance.load_infotext` has them.

        Args:
            source: the infotext (a str is taken as the text itself), or an image that carries it: a path,
                a file's bytes or a PIL image; PNG, JPEG or WebP.
            changes: fields to set instead of what the text says.

        Raises:
            SettingsError: the image carries no infotext, or it holds no settings or a value that cannot be used.
            BadImage: the image cannot be read.
        """
        return build_request(cls, load_infotext(source), changes)
