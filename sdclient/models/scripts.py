"""Script lists, ControlNet and ADetailer units.

Sources of names, ranges and defaults:

- ControlNet: Mikubill/sd-webui-controlnet, internal_controlnet/args.py at commit c76c6628 and scripts/enums.py at
  0314d281, compared with Forge's built-in ControlNet, lib_controlnet/external_code.py at c4b8d0d5.
- ADetailer: Bing-su/adetailer, adetailer/args.py at commit 0187228a (2024); for the three fields that were renamed or
  added later (`ad_tab_enable`, `ad_mask_k`, `ad_mask_filter_method`), published settings of users of later versions.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from ._base import Many, Reply, Request, SentImage


class ScriptsList(Reply):
    """Reply of `/sdapi/v1/scripts`: titles, in lower case, as `script_name` and `alwayson_scripts` may use them."""

    txt2img: tuple[str, ...] | None = None
    img2img: tuple[str, ...] | None = None


class ScriptArg(Reply):
    """One argument of a script."""

    label: str | None = None
    """Its name on the page; not unique."""
    value: Any = None
    """Its default."""
    minimum: Any = None
    maximum: Any = None
    step: Any = None
    choices: tuple[Any, ...] | None = None
    """The allowed values; the server does not check them."""


class ScriptInfo(Reply):
    """One script of `/sdapi/v1/script-info`; the same name may come twice, for txt2img and for img2img."""

    name: str | None = None
    is_alwayson: bool | None = None
    """Whether it goes into `alwayson_scripts`; otherwise it is a `script_name`."""
    is_img2img: bool | None = None
    args: tuple[ScriptArg, ...]
    """In the order of `script_args` or `args`; a `script_name` needs all of them."""


def alwayson(*units: ControlNetUnit | ADetailerUnit, skip_img2img: bool = False) -> dict[str, Any]:
    """The `alwayson_scripts` of a request, made of typed units in the order in which they work.

    Add other scripts' entries as `alwayson(...) | {"name": {"args": [...]}}`. The server takes as many units of an
    extension as its settings allow (3 of ControlNet by default) and silently drops the others. It refuses a script
    that it does not have with 422. `skip_img2img` lets ADetailer work on the source image of img2img itself, without
    generating first.

    Example:
        >>> alwayson(ADetailerUnit(ad_model="face_yolov8n.pt"))
        {'ADetailer': {'args': [True, False, {'ad_model': 'face_yolov8n.pt'}]}}
    """
    entries: dict[str, Any] = {}
    if guides := [unit.payload() for unit in units if isinstance(unit, ControlNetUnit)]:
        entries["ControlNet"] = {"args": guides}
    if passes := [unit.payload() for unit in units if isinstance(unit, ADetailerUnit)]:
        entries["ADetailer"] = {"args": [True, skip_img2img, *passes]}
    return entries


class ControlNetUnit(Request):
    """An image that guides the generation by its lines, depth, pose, ...

    Only the given fields are sent; the extension has the same defaults as this class. An error in the extension, such
    as a missing model, appears only in the server's log: the server answers 200 with images that were not guided. The
    infotext names a unit that worked ("ControlNet 0"). With `save_detected_map` the maps follow the results in the
    reply.

    Raises:
        pydantic.ValidationError: a value out of range, an unknown field, a start after the end, or a mask
            without an image.
    """

    enabled: bool = True
    """Use the unit. Always sent: the extension's own default is false, Forge's is true."""
    image: SentImage | None = None
    """The guiding image; None takes the source image of img2img."""
    mask: SentImage | None = Field(default=None, serialization_alias="mask_image")
    """Where the guiding image counts: white; of its size. Sent as `mask_image`, the name that Forge knows too."""
    module: str = "none"
    """Preprocessor, as `/controlnet/module_list` lists it; "none" takes the image as it is."""
    model: str = "None"
    """Model, as `/controlnet/model_list` lists it ("control_v11p_sd15_canny [d14c016b]")."""
    weight: float = Field(default=1.0, ge=0, le=2)
    """How strongly the unit guides."""
    resize_mode: Literal["Just Resize", "Crop and Resize", "Resize and Fill"] = "Crop and Resize"
    """How the guiding image is fitted to the generation's size."""
    low_vram: bool = False
    """Save GPU memory, slower; Forge ignores it."""
    processor_res: int = -1
    """Length in px of the image's shorter side in the preprocessor; its default for -1 or a value it does not allow."""
    threshold_a: float = -1
    """The preprocessor's first setting ("Canny Low Threshold"); its default for -1 or a value it does not allow."""
    threshold_b: float = -1
    """The preprocessor's second setting; its default for -1 or a value it does not allow."""
    guidance_start: float = Field(default=0.0, ge=0, le=1)
    """Share of the steps after which the unit begins to guide."""
    guidance_end: float = Field(default=1.0, ge=0, le=1)
    """Share of the steps after which it stops."""
    pixel_perfect: bool = False
    """Let the extension compute `processor_res` from the generation's size."""
    control_mode: Literal["Balanced", "My prompt is more important", "ControlNet is more important"] = "Balanced"
    """Which counts more if prompt and image disagree."""
    inpaint_crop_input_image: bool = True
    """With a mask and `inpaint_full_res`, crop the guiding image to the masked area; Forge ignores it."""
    hr_option: Literal["Both", "Low res only", "High res only"] = "Both"
    """Which pass of a hires fix it guides."""
    save_detected_map: bool = True
    """Send the preprocessor's image after the results."""
    advanced_weighting: Many[float] | None = None
    """One weight for each layer: 13 for a ControlNet of SD 1.5, 10 of SDXL; Forge ignores it."""
    effective_region_mask: SentImage | None = None
    """The part of the result that it guides: white; Forge ignores it."""
    pulid_mode: Literal["Fidelity", "Extremely style"] = "Fidelity"
    """For PuLID models; Forge ignores it."""
    union_control_type: Literal[
        "OpenPose", "Depth", "Soft Edge", "Hard Edge", "Normal Map", "Segmentation", "Unknown"
    ] = "Unknown"
    """What the image shows, for a union model; ignored by Forge and by older versions."""

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


class ADetailerUnit(Request):
    """Find objects in each result with a detector and repaint them.

    Only the given fields are sent, so that other versions' defaults and field names do not matter. The extension
    refuses an unknown field or a value out of range only in the server's log: the server answers 200 with images that
    were not repainted. The infotext names a pass that ran ("ADetailer model").

    Raises:
        pydantic.ValidationError: a value out of range, an unknown field, or a range whose start is after its end.
    """

    ad_model: str
    """The detector's file name ("face_yolov8n.pt"). The extension's default is "None": no pass."""
    ad_model_classes: str = ""
    """Only these classes of the detector, by name, separated by commas; "" is all."""
    ad_tab_enable: bool = True
    """Run the pass. The version at that commit calls it `ad_tap_enable`."""
    ad_prompt: str = ""
    """Prompt for the detections; "" takes the generation's. "[SEP]" separates the prompts of several detections,
    "[SKIP]" leaves one unchanged, "[PROMPT]" stands for the generation's."""
    ad_negative_prompt: str = ""
    """Negative prompt for the detections; "" takes the generation's."""
    ad_confidence: float = Field(default=0.3, ge=0, le=1)
    """Lowest confidence of a detection."""
    ad_mask_filter_method: Literal["Area", "Confidence"] = "Area"
    """How `ad_mask_k` ranks detections; unknown to the version at that commit."""
    ad_mask_k: int = Field(default=0, ge=0)
    """Number of best detections to use; 0 is all. The version at that commit calls it `ad_mask_k_largest`."""
    ad_mask_min_ratio: float = Field(default=0.0, ge=0, le=1)
    """Leave out detections smaller than this share of the image."""
    ad_mask_max_ratio: float = Field(default=1.0, ge=0, le=1)
    """Leave out detections larger than this share of the image."""
    ad_dilate_erode: int = 4
    """Grow the detected area by this many px; a negative number shrinks it."""
    ad_x_offset: int = 0
    """Move the detected area right by this many px."""
    ad_y_offset: int = 0
    """Move the detected area up by this many px."""
    ad_mask_merge_invert: Literal["None", "Merge", "Merge and Invert"] = "None"
    """Repaint all detections at once, or everything else."""
    ad_mask_blur: int = Field(default=4, ge=0)
    """Blur of the mask's edge in px."""
    ad_denoising_strength: float = Field(default=0.4, ge=0, le=1)
    """How far the new part may leave the old."""
    ad_inpaint_only_masked: bool = True
    """Repaint only the detected area, at full size."""
    ad_inpaint_only_masked_padding: int = Field(default=32, ge=0)
    """Context around the area in px."""
    ad_use_inpaint_width_height: bool = False
    """Repaint at `ad_inpaint_width` x `ad_inpaint_height` instead of the generation's size."""
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
    """ControlNet model that guides the pass; "None" for no model."""
    ad_controlnet_module: str = "None"
    """Its preprocessor."""
    ad_controlnet_weight: float = Field(default=1.0, ge=0, le=1)
    """How strongly it guides."""
    ad_controlnet_guidance_start: float = Field(default=0.0, ge=0, le=1)
    """Share of the steps after which it begins to guide."""
    ad_controlnet_guidance_end: float = Field(default=1.0, ge=0, le=1)
    """Share of the steps after which it stops."""

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
