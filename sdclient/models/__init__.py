"""Typed payloads of the WebUI's `/sdapi/v1` API, one file a family."""

from __future__ import annotations

from ._base import Reply, Request, SentImage
from .generation import (
    MAX_SEED,
    SIZE_MULTIPLE_PX,
    GenerationInfo,
    GenerationReply,
    GenerationRequest,
    Img2ImgRequest,
)
from .server import (
    CmdFlags,
    Memory,
    Options,
    PngInfo,
    PngInfoRequest,
    Progress,
    ProgressState,
    Sampler,
    Scheduler,
    SDModel,
)

__all__ = [
    "MAX_SEED",
    "SIZE_MULTIPLE_PX",
    "CmdFlags",
    "GenerationInfo",
    "GenerationReply",
    "GenerationRequest",
    "Img2ImgRequest",
    "Memory",
    "Options",
    "PngInfo",
    "PngInfoRequest",
    "Progress",
    "ProgressState",
    "Reply",
    "Request",
    "SDModel",
    "Sampler",
    "Scheduler",
    "SentImage",
]
