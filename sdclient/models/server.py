"""Samplers, models, options, progress, memory, jobs, extras, interrogate.

Field names, types and defaults are those of AUTOMATIC1111 1.10.1. Calls below `/internal` are not in its OpenAPI; their
payloads were read from modules/progress.py and its replies.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from sdcore.images.decode import ImageInput

from ._base import Many, ReceivedImage, Reply, Request, SentImage


class Sampler(Reply):
    """One sampler of `/sdapi/v1/samplers`."""

    name: str
    aliases: tuple[str, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)


class Scheduler(Reply):
    """One noise schedule of `/sdapi/v1/schedulers`."""

    name: str
    """Internal name ("karras")."""
    label: str
    """The name on the page and in infotexts ("Karras")."""
    aliases: tuple[str, ...] | None = None
    default_rho: float | None = None
    need_inner_model: bool | None = None


class SDModel(Reply):
    """One checkpoint of `/sdapi/v1/sd-models`."""

    title: str
    """Name and short hash, as the option `sd_model_checkpoint` wants it."""
    model_name: str
    hash: str | None = None
    sha256: str | None = None
    filename: str = ""
    config: str | None = None


class ProgressState(Reply):
    """State of the running job."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    """"" when idle; "Batch 1 out of 3" or the task's name while working."""
    job_count: int = 0
    job_timestamp: str = "0"
    job_no: int = 0
    sampling_step: int = 0
    sampling_steps: int = 0


class Progress(Reply):
    """Reply of `/sdapi/v1/progress`; server-wide, so it may be about another client's job."""

    progress: float
    """0 to 1; 0 when idle."""
    eta_relative: float
    """Seconds left, the server's estimate."""
    state: ProgressState
    current_image: ReceivedImage | None = None
    """A preview as an image file's bytes; None if there is none yet, or previews are off."""
    textinfo: str | None = None


class PngInfoRequest(Request):
    """An image from which the server reads the infotext."""

    image: SentImage
    """An image without infotext gives an empty text, not an error."""


class PngInfo(Reply):
    """Reply of `/sdapi/v1/png-info`."""

    info: str
    """The infotext; "" if the image has none."""
    items: dict[str, Any] = Field(default_factory=dict)
    parameters: dict[str, Any] = Field(default_factory=dict)


class Options(Reply):
    """The server's settings; the few that change results are typed, the others are kept as they are."""

    samples_format: str = "png"
    """Format of the images in replies."""
    sd_model_checkpoint: str | None = None
    img2img_fix_steps: bool = False
    """Run exactly `steps` steps in img2img."""
    CLIP_stop_at_last_layers: int = 1


class Memory(Reply):
    """Reply of `/sdapi/v1/memory`; sizes in bytes, or an `error` instead."""

    ram: dict[str, Any] = Field(default_factory=dict)
    cuda: dict[str, Any] = Field(default_factory=dict)


class CmdFlags(Reply):
    """The options the server was started with."""

    api: bool | None = None
    nowebui: bool | None = None
    medvram: bool | None = None
    lowvram: bool | None = None


class InternalProgressRequest(Request):
    """A question about one job, for `/internal/progress`."""

    id_task: str
    """The job's name: its `force_task_id`."""
    id_live_preview: int = -1
    """Number of the last received preview, which is not sent again; -1 for none. Server default -1."""
    live_preview: bool = True
    """Send a preview. Server default true."""


class InternalProgress(Reply):
    """Reply of `/internal/progress`. A job that the server does not know is neither active, queued nor completed."""

    active: bool
    """The server is working on it."""
    queued: bool
    """It waits for its turn."""
    completed: bool
    """It has ended, successfully or not; the server remembers the last 16 jobs."""
    progress: float | None = None
    """0 to 1; None unless active."""
    eta: float | None = None
    """Seconds left, the server's estimate; None unless active."""
    live_preview: ReceivedImage | None = None
    """The preview as an image file's bytes; None if it is the last received one, or previews are off."""
    id_live_preview: int | None = None
    """The preview's number, for the next request."""
    textinfo: str | None = None
    """Text about the job: "Queued...", "Waiting..."."""


class PendingTasks(Reply):
    """Reply of `/internal/pending-tasks`."""

    size: int
    """Number of waiting jobs."""
    tasks: tuple[str, ...] = ()
    """Their names."""


class Upscaler(Reply):
    """One upscaler of `/sdapi/v1/upscalers`.

    A listed upscaler's model may be missing: the server loads it on first use, and answers 200 with a simpler
    enlargement if it cannot.
    """

    name: str
    """The name for requests; "None" does nothing."""
    model_name: str | None = None
    model_path: str | None = None
    """Path of the model, or the URL to load it from."""
    model_url: str | None = None
    scale: float | None = None
    """Factor by which the model enlarges, before the image is resized to the requested size."""


class LatentUpscaleMode(Reply):
    """One mode of `/sdapi/v1/latent-upscale-modes`, for `hr_upscaler`."""

    name: str


class RealESRGANModel(Reply):
    """One model of `/sdapi/v1/realesrgan-models`."""

    name: str
    path: str | None = None
    """Path of the model, or the URL to load it from."""
    scale: int | None = None


class VAE(Reply):
    """One VAE of `/sdapi/v1/sd-vae`, for the option `sd_vae`."""

    model_name: str
    filename: str
    """Path on the server."""


class SDModule(Reply):
    """One VAE or text encoder of Forge's `/sdapi/v1/sd-modules`, for the option `forge_additional_modules`.

    A1111 answers 404 there, Forge at `/sdapi/v1/sd-vae`.
    """

    model_name: str
    filename: str
    """Path on the server."""


class Lora(Reply):
    """One LoRA of `/sdapi/v1/loras`, used in a prompt as `<lora:name:weight>`.

    If a prompt names one that is not listed, the server answers 200 and makes the image without it.
    """

    name: str
    """The file's name without its suffix."""
    alias: str | None = None
    """The name from its training; prompts may use either."""
    path: str | None = None
    """Path on the server."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Data of its training in the file, with names such as "ss_base_model_version"."""


class Embedding(Reply):
    """One textual-inversion embedding."""

    step: int | None = None
    """Training steps, if known."""
    sd_checkpoint: str | None = None
    """Hash of the checkpoint it was trained on, if known."""
    sd_checkpoint_name: str | None = None
    shape: int
    """Length of each vector."""
    vectors: int
    """Number of tokens of the prompt that it takes."""


class Embeddings(Reply):
    """Reply of `/sdapi/v1/embeddings`, by the names that prompts use."""

    loaded: dict[str, Embedding]
    """Those that fit the loaded checkpoint."""
    skipped: dict[str, Embedding]
    """Those that do not; a prompt that names one gives an image without it, and no error."""


class Hypernetwork(Reply):
    """One hypernetwork of `/sdapi/v1/hypernetworks`."""

    name: str
    path: str | None = None


class FaceRestorer(Reply):
    """One face restorer of `/sdapi/v1/face-restorers`; its model may be missing."""

    name: str
    cmd_dir: str | None = None


class PromptStyle(Reply):
    """One saved style of `/sdapi/v1/prompt-styles`; the server answers 200 to an unknown one and ignores it."""

    name: str
    prompt: str | None = None
    """Added to the prompt; a "{prompt}" in it is replaced by the prompt."""
    negative_prompt: str | None = None


class Extension(Reply):
    """One extension of `/sdapi/v1/extensions`."""

    name: str
    remote: str | None = None
    """URL of its repository."""
    branch: str | None = None
    commit_hash: str | None = None
    version: str | None = None
    commit_date: str | int | None = None
    """Seconds since 1970, as a number or as text."""
    enabled: bool


class ExtrasRequest(Request):
    """The fields of both calls of the "Extras" tab."""

    resize_mode: Literal[0, 1] = 0
    """0 enlarges by `upscaling_resize`, 1 to `upscaling_resize_w` x `upscaling_resize_h`."""
    show_extras_results: bool = True
    """Send the image back; otherwise only the server keeps it."""
    gfpgan_visibility: float = Field(default=0, ge=0, le=1)
    """Opacity of the faces restored by GFPGAN; 0: off."""
    codeformer_visibility: float = Field(default=0, ge=0, le=1)
    """Opacity of the faces restored by CodeFormer; 0: off."""
    codeformer_weight: float = Field(default=0, ge=0, le=1)
    """CodeFormer's own weight: 0 changes a face most, 1 least."""
    upscaling_resize: float = Field(default=2, gt=0)
    """Factor of the enlargement, for `resize_mode` 0."""
    upscaling_resize_w: int = Field(default=512, ge=1)
    """Width in px, for `resize_mode` 1."""
    upscaling_resize_h: int = Field(default=512, ge=1)
    """Height in px, for `resize_mode` 1."""
    upscaling_crop: bool = True
    """Crop the overhang if the sides' ratio differs, for `resize_mode` 1."""
    upscaler_1: str = "None"
    """Upscaler as the server lists it. "None", the default, sends the image back in its own size, whatever the
    factor. An unknown name is a 500, but a listed one that cannot be loaded gives 200 with a simpler enlargement:
    look at the server's log, or use only "Lanczos" and "Nearest", which need no model."""
    upscaler_2: str = "None"
    """A second upscaler whose image is blended in."""
    extras_upscaler_2_visibility: float = Field(default=0, ge=0, le=1)
    """Share of the second upscaler's image."""
    upscale_first: bool = False
    """Enlarge before faces are restored."""


class ExtrasSingleRequest(ExtrasRequest):
    """One image for `/sdapi/v1/extra-single-image`."""

    image: SentImage
    """The server's default is an empty text, which it answers with 500."""


class ExtrasSingleReply(Reply):
    """Reply of `/sdapi/v1/extra-single-image`."""

    html_info: str
    """What was done, as HTML; "<p></p>" if nothing was done."""
    image: ReceivedImage | None = None
    """An image file's bytes; empty or None without `show_extras_results`."""


class NamedImage(Request):
    """One image of a batch."""

    data: SentImage
    """The image."""
    name: str
    """A file name; the server does not send it back, but replies keep the order."""


def _name_each(images: object) -> object:
    """Give images without a name their file's name, or a number from 1."""
    if not isinstance(images, Sequence) or isinstance(images, str | bytes):
        return images  # refused by the field's own type
    return [
        image
        if isinstance(image, NamedImage | dict)
        else {"data": image, "name": Path(image).name if isinstance(image, Path | str) else f"{number}.png"}
        for number, image in enumerate(images, 1)
    ]


class ExtrasBatchRequest(ExtrasRequest):
    """Several images for `/sdapi/v1/extra-batch-images`."""

    images: Annotated[Many[NamedImage | ImageInput], BeforeValidator(_name_each)] = Field(
        min_length=1, serialization_alias="imageList"
    )
    """Images with or without names; held as `NamedImage`. Sent as `imageList`."""


class ExtrasBatchReply(Reply):
    """Reply of `/sdapi/v1/extra-batch-images`."""

    html_info: str
    """What was done, as HTML."""
    images: tuple[ReceivedImage, ...]
    """Image files' bytes, in the order of the request."""


class InterrogateRequest(Request):
    """An image for the server to describe, for `/sdapi/v1/interrogate`."""

    image: SentImage
    """The image."""
    model: str = "clip"
    """"clip" writes a sentence, "deepdanbooru" a list of tags; an unknown name is a 404 "Model not found"."""


class InterrogateReply(Reply):
    """Reply of `/sdapi/v1/interrogate`."""

    caption: str
    """The description. If the server could not load its model (for example offline), it answers 200 with "<error>"
    here, alone or after a part of the description: check for it before you use the caption."""
