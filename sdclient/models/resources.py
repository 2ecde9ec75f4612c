"""What a server has to offer, one model an entry of its lists."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ._base import Reply


class Upscaler(Reply):
    """One upscaler of `/sdapi/v1/upscalers`.

    That it is listed does not mean that its model is there: the server loads it on first use, and answers 200 with
    a plainer enlargement when it cannot.
    """

    name: str
    """As requests want it; "None" is the one that does nothing."""
    model_name: str | None = None
    model_path: str | None = None
    """Where the model is, or the URL it would be loaded from."""
    model_url: str | None = None
    scale: float | None = None
    """Factor the model enlarges by before the picture is brought to the size asked for."""


class LatentUpscaleMode(Reply):
    """One mode of `/sdapi/v1/latent-upscale-modes`, for `hr_upscaler`."""

    name: str


class RealESRGANModel(Reply):
    """One model of `/sdapi/v1/realesrgan-models`."""

    name: str
    path: str | None = None
    """Where the model is, or the URL it would be loaded from."""
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

    A prompt may name one that is not listed: the server answers 200 and makes the picture without it.
    """

    name: str
    """The file's name without its suffix."""
    alias: str | None = None
    """The name its training gave it; prompts may use either."""
    path: str | None = None
    """Path on the server."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """What its training wrote into the file, under names such as "ss_base_model_version"."""


class Embedding(Reply):
    """One textual-inversion embedding."""

    step: int | None = None
    """Training steps, when known."""
    sd_checkpoint: str | None = None
    """Hash of the checkpoint it was trained on, when known."""
    sd_checkpoint_name: str | None = None
    shape: int
    """Length of each vector."""
    vectors: int
    """How many tokens of the prompt it takes."""


class Embeddings(Reply):
    """Reply of `/sdapi/v1/embeddings`: by the name a prompt uses."""

    loaded: dict[str, Embedding]
    """Those that fit the loaded checkpoint."""
    skipped: dict[str, Embedding]
    """Those that do not; a prompt that names one gets a picture without it, and no error."""


class Hypernetwork(Reply):
    """One hypernetwork of `/sdapi/v1/hypernetworks`."""

    name: str
    path: str | None = None


class FaceRestorer(Reply):
    """One face restorer of `/sdapi/v1/face-restorers`; listed whether or not its model is there."""

    name: str
    cmd_dir: str | None = None


class PromptStyle(Reply):
    """One saved style of `/sdapi/v1/prompt-styles`; a request that names an unknown one gets 200 without it."""

    name: str
    prompt: str | None = None
    """Added to the prompt, or put around it where it holds "{prompt}"."""
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
