"""Script lists, ControlNet and ADetailer units.

Names, ranges and defaults were read from Mikubill/sd-webui-controlnet, internal_controlnet/args.py at commit c76c6628
and scripts/enums.py at 0314d281, and compared with Forge's built-in ControlNet, lib_controlnet/external_code.py at
c4b8d0d5.

Names, ranges and defaults were read from Bing-su/adetailer, adetailer/args.py at commit 0187228a (2024), and, for the
three fields that were renamed or added since (`ad_tab_enable`, `ad_mask_k`, `ad_mask_filter_method`), from settings
that users of later versions publish.
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
    """What its page calls it; not unique."""
    value: Any = None
    """Its default."""
    minimum: Any = None
    maximum: Any = None
    step: Any = None
    choices: tuple[Any, ...] | None = None
    """The values it may have; the server does not check."""


class ScriptInfo(Reply):
    """One script of `/sdapi/v1/script-info`; the same name may come twice, for txt2img and for img2img."""

    name: str | None = None
    is_alwayson: bool | None = None
    """Whether it goes into `alwayson_scripts`; otherwise it is a `script_name`."""
    is_img2img: bool | None = None
    args: tuple[ScriptArg, ...]
    """In the order that `script_args` or `args` wants them; all of a `script_name`'s are needed."""


def alwayson(*units: ControlNetUnit | ADetailerUnit, skip_img2img: bool = False) -> dict[str, Any]:
    """The `alwayson_scripts` of a request out of typed units.

    The server takes as many units of an extension as its settings allow (3 of ControlNet unless changed) and
    drops the others without a word. It refuses a script it does not have with 422.

    Args:
        units: in the order in which they are to work.
        skip_img2img: let ADetailer work on the source image of img2img itself, without generating first.

    Returns:
        JSON to pass as `alwayson_scripts`; add other scripts' entries as `alwayson(...) | {"name": {"args": [...]}}`.

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
