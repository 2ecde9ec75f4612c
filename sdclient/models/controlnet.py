"""One unit of the ControlNet extension, an always-on script.

Names, ranges and defaults were read from Mikubill/sd-webui-controlnet, internal_controlnet/args.py at commit c76c6628
and scripts/enums.py at 0314d281, and compared with Forge's built-in ControlNet, lib_controlnet/external_code.py at
c4b8d0d5.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from ._base import Many, Request, SentImage


class ControlNetUnit(Request):
    """A picture that guides the generation by its lines, depth, pose, ...

    Only the fields that were given are sent; the extension fills in its own defaults, which are the ones here.
    An error in the extension, such as a model it does not have, is only written to the server's log: the server
    answers 200 with pictures that were not guided. A unit that worked is named in the infotext ("ControlNet 0").
    With `save_detected_map` the maps follow the results in the reply.

    Raises:
        pydantic.ValidationError: a value out of range, an unknown field, a start after the end, or a mask
            without an image.
    """

    enabled: bool = True
    """Use the unit. Always sent: the extension's own default is false, Forge's is true."""
    image: SentImage | None = None
    """The guiding picture; None takes the source image of img2img."""
    mask: SentImage | None = Field(default=None, serialization_alias="mask_image")
    """Where the guiding picture counts: white; of its size. Sent as `mask_image`, the name that Forge knows too."""
    module: str = "none"
    """Preprocessor, as `/controlnet/module_list` lists it; "none" takes the picture as it is."""
    model: str = "None"
    """Model, as `/controlnet/model_list` lists it ("control_v11p_sd15_canny [d14c016b]")."""
    weight: float = Field(default=1.0, ge=0, le=2)
    """How strongly the unit guides."""
    resize_mode: Literal["Just Resize", "Crop and Resize", "Resize and Fill"] = "Crop and Resize"
    """How the guiding picture meets the generation's size."""
    low_vram: bool = False
    """Save GPU memory, slower; Forge ignores it."""
    processor_res: int = -1
    """Size in px of the picture's shorter side in the preprocessor; -1, or what it does not allow, is its default."""
    threshold_a: float = -1
    """The preprocessor's first setting ("Canny Low Threshold"); -1, or what it does not allow, is its default."""
    threshold_b: float = -1
    """The preprocessor's second setting; -1, or what it does not allow, is its default."""
    guidance_start: float = Field(default=0.0, ge=0, le=1)
    """Share of the steps after which the unit begins to guide."""
    guidance_end: float = Field(default=1.0, ge=0, le=1)
    """Share of the steps after which it ends."""
    pixel_perfect: bool = False
    """Let the extension compute `processor_res` from the generation's size."""
    control_mode: Literal["Balanced", "My prompt is more important", "ControlNet is more important"] = "Balanced"
    """What wins where prompt and picture disagree."""
    inpaint_crop_input_image: bool = True
    """With a mask and `inpaint_full_res`, crop the guiding picture to the masked area; Forge ignores it."""
    hr_option: Literal["Both", "Low res only", "High res only"] = "Both"
    """Which pass of a hires fix it guides."""
    save_detected_map: bool = True
    """Send the preprocessor's picture back behind the results."""
    advanced_weighting: Many[float] | None = None
    """A weight a layer in place of one for all: 13 for a ControlNet of SD 1.5, 10 of SDXL; Forge ignores it."""
    effective_region_mask: SentImage | None = None
    """The part of the result it may guide: white; Forge ignores it."""
    pulid_mode: Literal["Fidelity", "Extremely style"] = "Fidelity"
    """For PuLID models; Forge ignores it."""
    union_control_type: Literal[
        "OpenPose", "Depth", "Soft Edge", "Hard Edge", "Normal Map", "Segmentation", "Unknown"
    ] = "Unknown"
    """What the picture shows, for a union model; ignored by Forge and by versions that do not know it."""

    @model_validator(mode="after")
    def _fits_together(self) -> ControlNetUnit:
        if self.guidance_start > self.guidance_end:
            raise ValueError(f"guidance_start {self.guidance_start} is after guidance_end {self.guidance_end}")
        if self.mask is not None and self.image is None:
            raise ValueError("mask needs image: the extension fails on a mask alone")
        return self

    def payload(self) -> dict[str, Any]:
        """The unit's entry among the script's arguments."""
        given = self.model_dump(mode="json", exclude_unset=True, exclude_none=True, by_alias=True)
        return {"enabled": self.enabled, **given}
