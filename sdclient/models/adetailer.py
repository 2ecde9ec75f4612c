"""One pass of the ADetailer extension, an always-on script.

Names, ranges and defaults were read from Bing-su/adetailer, adetailer/args.py at commit 0187228a (2024), and, for the
three fields that were renamed or added since (`ad_tab_enable`, `ad_mask_k`, `ad_mask_filter_method`), from settings
that users of later versions publish.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from ._base import Request


class ADetailerUnit(Request):
    """Find things in each result with a detector and paint them anew.

    Only the fields that were given are sent, so that other versions' defaults and field names do not matter. The
    extension refuses a field that it does not know and a value out of range, but only in the server's log: the
    server answers 200 with pictures that were not worked over. A pass that ran is named in the infotext
    ("ADetailer model").

    Raises:
        pydantic.ValidationError: a value out of range, an unknown field, or a range whose start is after its end.
    """

    ad_model: str
    """The detector's file name ("face_yolov8n.pt"). Extension's default "None": the pass is left out."""
    ad_model_classes: str = ""
    """Only these classes of a detector of many, by name, with commas; "" all."""
    ad_tab_enable: bool = True
    """Run the pass. The version at that commit calls it `ad_tap_enable`."""
    ad_prompt: str = ""
    """Prompt for what was found; "" takes the generation's. "[SEP]" separates one for each find, "[SKIP]" leaves a
    find alone, "[PROMPT]" stands for the generation's."""
    ad_negative_prompt: str = ""
    """Negative prompt for what was found; "" takes the generation's."""
    ad_confidence: float = Field(default=0.3, ge=0, le=1)
    """How sure the detector must be."""
    ad_mask_filter_method: Literal["Area", "Confidence"] = "Area"
    """By what `ad_mask_k` chooses; unknown to the version at that commit."""
    ad_mask_k: int = Field(default=0, ge=0)
    """Only the best so many finds; 0 all. The version at that commit calls it `ad_mask_k_largest`."""
    ad_mask_min_ratio: float = Field(default=0.0, ge=0, le=1)
    """Leave out finds smaller than this share of the picture."""
    ad_mask_max_ratio: float = Field(default=1.0, ge=0, le=1)
    """Leave out finds larger than this share of the picture."""
    ad_dilate_erode: int = 4
    """Grow the find by so many px; negative shrinks it."""
    ad_x_offset: int = 0
    """Move the find right by so many px."""
    ad_y_offset: int = 0
    """Move the find up by so many px."""
    ad_mask_merge_invert: Literal["None", "Merge", "Merge and Invert"] = "None"
    """Paint all finds at once, or everything else."""
    ad_mask_blur: int = Field(default=4, ge=0)
    """Blur of the mask's edge in px."""
    ad_denoising_strength: float = Field(default=0.4, ge=0, le=1)
    """How far the new part may leave the old."""
    ad_inpaint_only_masked: bool = True
    """Paint the part alone at full size."""
    ad_inpaint_only_masked_padding: int = Field(default=32, ge=0)
    """Context around the part in px."""
    ad_use_inpaint_width_height: bool = False
    """Paint at the size below in place of the generation's."""
    ad_inpaint_width: int = Field(default=512, ge=1)
    """Width in px."""
    ad_inpaint_height: int = Field(default=512, ge=1)
    """Height in px."""
    ad_use_steps: bool = False
    """Use `ad_steps` in place of the generation's."""
    ad_steps: int = Field(default=28, ge=1)
    """Sampling steps."""
    ad_use_cfg_scale: bool = False
    """Use `ad_cfg_scale` in place of the generation's."""
    ad_cfg_scale: float = Field(default=7.0, ge=0)
    """How strictly the prompt is followed."""
    ad_use_checkpoint: bool = False
    """Use `ad_checkpoint` in place of the generation's."""
    ad_checkpoint: str | None = None
    """Checkpoint as the server lists it."""
    ad_use_vae: bool = False
    """Use `ad_vae` in place of the generation's."""
    ad_vae: str | None = None
    """VAE as the server lists it."""
    ad_use_sampler: bool = False
    """Use `ad_sampler` and `ad_scheduler` in place of the generation's."""
    ad_sampler: str = "DPM++ 2M Karras"
    """Sampler as the server lists it."""
    ad_scheduler: str = "Use same scheduler"
    """Noise schedule as the server lists it."""
    ad_use_noise_multiplier: bool = False
    """Use `ad_noise_multiplier` in place of the server's option."""
    ad_noise_multiplier: float = Field(default=1.0, ge=0.5, le=1.5)
    """Noise added at the start."""
    ad_use_clip_skip: bool = False
    """Use `ad_clip_skip` in place of the server's option."""
    ad_clip_skip: int = Field(default=1, ge=1, le=12)
    """Layers of CLIP to stop before the end."""
    ad_restore_face: bool = False
    """Run the face restorer afterwards."""
    ad_controlnet_model: str = "None"
    """ControlNet model that guides the pass; "None" none."""
    ad_controlnet_module: str = "None"
    """Its preprocessor."""
    ad_controlnet_weight: float = Field(default=1.0, ge=0, le=1)
    """How strongly it guides."""
    ad_controlnet_guidance_start: float = Field(default=0.0, ge=0, le=1)
    """Share of the steps after which it begins to guide."""
    ad_controlnet_guidance_end: float = Field(default=1.0, ge=0, le=1)
    """Share of the steps after which it ends."""

    @model_validator(mode="after")
    def _fits_together(self) -> ADetailerUnit:
        for start, end in (
            ("ad_mask_min_ratio", "ad_mask_max_ratio"),
            ("ad_controlnet_guidance_start", "ad_controlnet_guidance_end"),
        ):
            if getattr(self, start) > getattr(self, end):
                raise ValueError(f"{start} {getattr(self, start)} is above {end} {getattr(self, end)}")
        return self

    def payload(self) -> dict[str, Any]:
        """The pass's entry among the script's arguments."""
        return self.model_dump(mode="json", exclude_unset=True, exclude_none=True)
