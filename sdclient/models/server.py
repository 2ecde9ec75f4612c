"""Payloads about the server itself: what it has, what it is doing, how it is set."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ._base import ReceivedImage, Reply, Request, SentImage


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
    """The name people and infotexts use ("Karras")."""
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
    """"" when idle, "Batch 1 out of 3" or the task's name while working."""
    job_count: int = 0
    job_timestamp: str = "0"
    job_no: int = 0
    sampling_step: int = 0
    sampling_steps: int = 0


class Progress(Reply):
    """Reply of `/sdapi/v1/progress`; server-wide, so it may speak of another client's job."""

    progress: float
    """0 to 1; 0 when idle."""
    eta_relative: float
    """Seconds left, as the server guesses."""
    state: ProgressState
    current_image: ReceivedImage | None = None
    """A preview as an image file's bytes; None when there is none yet, or previews are off."""
    textinfo: str | None = None


class PngInfoRequest(Request):
    """An image whose infotext the server is to read."""

    image: SentImage
    """The image; one without infotext gives an empty text, not an error."""


class PngInfo(Reply):
    """Reply of `/sdapi/v1/png-info`."""

    info: str
    """The infotext; "" when the image has none."""
    items: dict[str, Any] = Field(default_factory=dict)
    parameters: dict[str, Any] = Field(default_factory=dict)


class Options(Reply):
    """The server's settings; the few that change results are typed, the others kept as they are."""

    samples_format: str = "png"
    """Format of the images in replies."""
    sd_model_checkpoint: str | None = None
    img2img_fix_steps: bool = False
    """Run exactly `steps` steps in img2img."""
    CLIP_stop_at_last_layers: int = 1


class Memory(Reply):
    """Reply of `/sdapi/v1/memory`; sizes in bytes, or an `error` in place of them."""

    ram: dict[str, Any] = Field(default_factory=dict)
    cuda: dict[str, Any] = Field(default_factory=dict)


class CmdFlags(Reply):
    """The options the server was started with."""

    api: bool | None = None
    nowebui: bool | None = None
    medvram: bool | None = None
    lowvram: bool | None = None
