"""Img2img and txt2img: requests and replies.

Field names, types and defaults are those of AUTOMATIC1111 1.10.1, unless a field says otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from sdcore.images.decode import ImageInput

from ..infotext import Infotext, InfotextSource, describe_fields, load_infotext, request_fields
from ._base import Many, ReceivedImage, Reply, Request, SentImage

MAX_SEED = 2**63 - 1
SIZE_MULTIPLE_PX = 8


class GenerationRequest(Request):
    """The fields of every generating call."""

    prompt: str = ""
    """What the image should show."""
    negative_prompt: str = ""
    """What it should not show."""
    styles: Many[str] | None = None
    """Names of saved prompt styles to add; the server ignores an unknown name."""
    seed: int = Field(default=-1, ge=-1, le=MAX_SEED)
    """Seed of the first image; each further image has the next one. -1 draws a seed."""
    subseed: int = Field(default=-1, ge=-1, le=MAX_SEED)
    """Seed of the variation noise; -1 draws a seed."""
    subseed_strength: float = Field(default=0, ge=0, le=1)
    """Share of the variation noise."""
    seed_resize_from_h: int = -1
    """Height whose noise the seed should reproduce; -1: off."""
    seed_resize_from_w: int = -1
    """Width whose noise the seed should reproduce; -1: off."""
    sampler_name: str | None = None
    """Sampler as the server lists it; None is the server's default (Euler)."""
    sampler_index: str = "Euler"
    """Old name of `sampler_name`, which the server uses if that is None."""
    scheduler: str | None = None
    """Noise schedule as the server lists it ("Karras"); None is the sampler's own (automatic)."""
    batch_size: int = Field(default=1, ge=1)
    """Images generated at once; needs memory, and is faster for small images."""
    n_iter: int = Field(default=1, ge=1)
    """Batches generated one after the other."""
    steps: int = Field(default=50, ge=1)
    """Sampling steps; img2img runs about `denoising_strength` times as many."""
    cfg_scale: float = Field(default=7.0, ge=0)
    """How strictly the prompt is followed."""
    width: int = Field(default=512, ge=SIZE_MULTIPLE_PX, multiple_of=SIZE_MULTIPLE_PX)
    """Width in px, independent of the source image. The server would silently round 65 down to 64."""
    height: int = Field(default=512, ge=SIZE_MULTIPLE_PX, multiple_of=SIZE_MULTIPLE_PX)
    """Height in px."""
    restore_faces: bool | None = None
    """Run a face restorer; None is the server's option."""
    tiling: bool | None = None
    """Make the image tile seamlessly; None is the server's option."""
    do_not_save_samples: bool = False
    """With `save_images`: do not save the single images on the server."""
    do_not_save_grid: bool = False
    """With `save_images`: do not save the grid on the server."""
    eta: float | None = None
    """Noise multiplier of ancestral samplers."""
    s_min_uncond: float | None = None
    """Below this sigma the negative prompt is skipped in some steps."""
    s_churn: float | None = None
    """Sampler setting of Karras et al. 2022: total amount of added noise."""
    s_tmax: float | None = None
    """Sampler setting of Karras et al. 2022: largest sigma at which noise is added."""
    s_tmin: float | None = None
    """Sampler setting of Karras et al. 2022: smallest sigma at which noise is added."""
    s_noise: float | None = None
    """Sampler setting of Karras et al. 2022: factor of the added noise's standard deviation."""
    override_settings: dict[str, Any] | None = None
    """Server options for this request. They can affect later requests: send them every time."""
    override_settings_restore_afterwards: bool = True
    """Restore the options after the request."""
    refiner_checkpoint: str | None = None
    """Checkpoint that takes over late in sampling."""
    refiner_switch_at: float | None = Field(default=None, ge=0, le=1)
    """Share of the steps after which the refiner takes over."""
    disable_extra_networks: bool = False
    """Ignore LoRAs and other extra networks named in the prompt."""
    firstpass_image: SentImage | None = None
    """Image to use instead of a first pass."""
    comments: dict[str, Any] | None = None
    """Comments that the reply repeats."""
    force_task_id: str | None = None
    """Name of this job, for questions about its progress."""
    script_name: str | None = None
    """A selectable script to run."""
    script_args: Many[Any] = ()
    """Arguments of that script, by position."""
    send_images: bool = True
    """Send the images in the reply."""
    save_images: bool = False
    """Also save them on the server; if there are several, a grid then comes first."""
    alwayson_scripts: dict[str, Any] = Field(default_factory=dict)
    """Arguments of always-on scripts: `{"name": {"args": [...]}}`."""
    infotext: str | None = None
    """Infotext whose settings fill the fields that were not given."""

    def to_infotext(self) -> Infotext:
        """The infotext that a WebUI would write for this request; `from_infotext` reads it."""
        return describe_fields({name: getattr(self, name) for name in type(self).model_fields})


class Img2ImgRequest(GenerationRequest):
    """A request for images made from an image."""

    init_images: Many[SentImage] = Field(min_length=1)
    """The source image; at most `batch_size` of them."""
    denoising_strength: float = Field(default=0.25, ge=0, le=1)
    """How far the result may leave the source; 0.2-0.3 keeps a defect a defect. Server default: 0.75."""
    resize_mode: Literal[0, 1, 2, 3] = 0
    """How the source meets `width` x `height`: 0 stretch, 1 crop, 2 fill, 3 stretch in latent space."""
    image_cfg_scale: float | None = Field(default=None, ge=0)
    """How strictly the source is followed, for instruct-pix2pix models."""
    mask: SentImage | None = None
    """Where to repaint: white."""
    mask_blur: int | None = Field(default=None, ge=0)
    """Blur of the mask's edge in px, for both directions at once."""
    mask_blur_x: int = Field(default=4, ge=0)
    """Blur in px across."""
    mask_blur_y: int = Field(default=4, ge=0)
    """Blur in px down."""
    mask_round: bool = True
    """Make the mask black and white before use."""
    inpainting_fill: Literal[0, 1, 2, 3] = 0
    """What the masked area starts from: 0 its surroundings, 1 the source, 2 noise, 3 nothing."""
    inpaint_full_res: bool = True
    """Repaint only the masked area, at full size; the result then has the source's size."""
    inpaint_full_res_padding: int = Field(default=0, ge=0)
    """Context around the masked area in px."""
    inpainting_mask_invert: Literal[0, 1] = 0
    """1 repaints the black area."""
    initial_noise_multiplier: float | None = None
    """Noise added at the start; None is the server's option."""
    latent_mask: SentImage | None = None
    """A mask in latent space."""
    include_init_images: bool = False
    """Repeat the source in the reply's `parameters`."""

    @model_validator(mode="after")
    def _sources_fit_the_batch(self) -> Img2ImgRequest:
        if len(self.init_images) > self.batch_size:
            raise ValueError(
                f"{len(self.init_images)} init_images with batch_size {self.batch_size}; a batch takes as many at most"
            )
        return self

    @classmethod
    def from_infotext(
        cls,
        source: InfotextSource,
        *,
        init_images: Sequence[ImageInput],
        mask: ImageInput | None = None,
        **changes: Any,
    ) -> Img2ImgRequest:
        """The request that made an image, as far as its infotext tells; source image and mask are not in it.

        Names of models and samplers stay as in the text, also an old joint sampler name: the client resolves them.
        Without "Clip skip" the option is set to 1, because that is what its absence means. Labels of extensions and
        hashes are left out; `sdclient.infotext.load_infotext` has them. With a mask, or if the text mentions one, the
        mask's settings come from the text, or are those that a WebUI leaves out.

        Args:
            source: the infotext (a str is taken as the text itself), or an image that holds it: a path,
                a file's bytes or a PIL image; PNG, JPEG or WebP.
            init_images: the source image.
            mask: the mask, if one was used.
            changes: fields to set instead of those in the text.

        Raises:
            SettingsError: the image holds no infotext, or the text no settings or a value that cannot be used.
            BadImage: the image cannot be read.
        """
        return request_fields(cls, load_infotext(source), {"init_images": init_images, "mask": mask, **changes})


def _load_json(value: object) -> object:
    """`info` comes as JSON in a string."""
    return json.loads(value) if isinstance(value, str) else value


class GenerationInfo(Reply):
    """The settings that the server really used; the `info` of a reply."""

    all_seeds: tuple[int, ...] = ()
    """One seed for each image, also for images that an interrupted job did not make."""
    infotexts: tuple[str, ...] = ()
    """One text for each image in the reply, including the grid."""
    sampler_name: str | None = None
    steps: int | None = None
    cfg_scale: float | None = None
    width: int | None = None
    height: int | None = None
    denoising_strength: float | None = None
    seed: int | None = None
    sd_model_name: str | None = None
    sd_model_hash: str | None = None
    index_of_first_image: int = 0
    """1 when a grid comes first."""
    extra_generation_params: dict[str, Any] = Field(default_factory=dict)
    """"Schedule type" among others; absent when the schedule is automatic."""
    version: str | None = None


class GenerationReply(Reply):
    """A reply of img2img or txt2img as it came, base64 decoded."""

    images: tuple[ReceivedImage, ...] | None = None
    """Image files' bytes; the format follows the server's option `samples_format`."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Repeats the request, whatever the server used."""
    info: Annotated[GenerationInfo, BeforeValidator(_load_json)]


class Txt2ImgRequest(GenerationRequest):
    """A request for images made from a prompt, optionally with a second pass at a larger size ("hires fix").

    Raises:
        pydantic.ValidationError: a value out of range, an unknown field, or `enable_hr` without
            `denoising_strength` (the server has no default for it and fails).
    """

    enable_hr: bool = False
    """Make the image at `width` x `height`, enlarge it, and run a second pass."""
    denoising_strength: float | None = Field(default=None, ge=0, le=1)
    """How far the second pass may leave the first; required with `enable_hr`, unused without. No server default."""
    firstphase_width: int = Field(default=0, ge=0)
    """Width of the first pass in px if `width` is the final one, as in WebUIs before 2023; 0: off."""
    firstphase_height: int = Field(default=0, ge=0)
    """Height of the first pass in px if `height` is the final one; 0: off."""
    hr_scale: float = Field(default=2.0, gt=0)
    """Factor of the enlargement; unused when `hr_resize_x` or `hr_resize_y` is given."""
    hr_upscaler: str | None = None
    """An upscaler or latent upscale mode as the server lists it; None is "Latent". An unknown name makes the server
    fail; if it cannot load a listed one's model, it answers 200 with a simpler enlargement."""
    hr_second_pass_steps: int = Field(default=0, ge=0)
    """Steps of the second pass; 0: as many as in the first."""
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
        """The request that made an image, as far as its infotext tells; as `Img2ImgRequest.from_infotext`."""
        return request_fields(cls, load_infotext(source), changes)
