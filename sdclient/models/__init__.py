"""Typed payloads of the WebUI's `/sdapi/v1` API, one file a family."""

from __future__ import annotations

from ._base import Reply, Request, SentImage
from .adetailer import ADetailerUnit
from .controlnet import ControlNetUnit
from .extras import (
    ExtrasBatchReply,
    ExtrasBatchRequest,
    ExtrasRequest,
    ExtrasSingleReply,
    ExtrasSingleRequest,
    InterrogateReply,
    InterrogateRequest,
    NamedImage,
)
from .generation import (
    MAX_SEED,
    SIZE_MULTIPLE_PX,
    GenerationInfo,
    GenerationReply,
    GenerationRequest,
    Img2ImgRequest,
)
from .resources import (
    VAE,
    Embedding,
    Embeddings,
    Extension,
    FaceRestorer,
    Hypernetwork,
    LatentUpscaleMode,
    Lora,
    PromptStyle,
    RealESRGANModel,
    SDModule,
    Upscaler,
)
from .scripts import ScriptArg, ScriptInfo, ScriptsList, alwayson
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
from .tasks import InternalProgress, InternalProgressRequest, PendingTasks
from .txt2img import Txt2ImgRequest

__all__ = [
    "MAX_SEED",
    "SIZE_MULTIPLE_PX",
    "VAE",
    "ADetailerUnit",
    "CmdFlags",
    "ControlNetUnit",
    "Embedding",
    "Embeddings",
    "Extension",
    "ExtrasBatchReply",
    "ExtrasBatchRequest",
    "ExtrasRequest",
    "ExtrasSingleReply",
    "ExtrasSingleRequest",
    "FaceRestorer",
    "GenerationInfo",
    "GenerationReply",
    "GenerationRequest",
    "Hypernetwork",
    "Img2ImgRequest",
    "InternalProgress",
    "InternalProgressRequest",
    "InterrogateReply",
    "InterrogateRequest",
    "LatentUpscaleMode",
    "Lora",
    "Memory",
    "NamedImage",
    "Options",
    "PendingTasks",
    "PngInfo",
    "PngInfoRequest",
    "Progress",
    "ProgressState",
    "PromptStyle",
    "RealESRGANModel",
    "Reply",
    "Request",
    "SDModel",
    "SDModule",
    "Sampler",
    "Scheduler",
    "ScriptArg",
    "ScriptInfo",
    "ScriptsList",
    "SentImage",
    "Txt2ImgRequest",
    "Upscaler",
    "alwayson",
]
