"""What the server lists: models, samplers, LoRAs, scripts, memory, flags; and the texts inside an image."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, HTTPException
from PIL import Image

from sdcore.images.text import PNG_KEYWORD

from ..infotext import parse_infotext, read_infotext
from .bodies import ErrorRoute
from .engine import Engine, ModelCard, SamplerCatalogue
from .extras import latent_upscale_modes, upscalers

_EMPTY = ("sd-vae", "hypernetworks", "face-restorers", "realesrgan-models", "prompt-styles", "extensions")
_REFRESHED = ("refresh-checkpoints", "refresh-vae", "refresh-embeddings")


def list_router(engine: Engine, check: Any, loras: Sequence[str] = ()) -> APIRouter:
    """The routes of the lists.

    Args:
        engine: its samplers, schedules and model are listed.
        check: FastAPI dependency that checks the password. As in a WebUI, where an extension adds them, the two calls
            about LoRAs need none.
        loras: names to list.
    """
    router = APIRouter(prefix="/sdapi/v1", route_class=ErrorRoute)
    guarded = [check]

    async def empty() -> list[Any]:
        return []

    async def nothing() -> None:
        return None

    async def done() -> dict[str, Any]:
        return {}

    for name in _EMPTY:
        router.add_api_route(f"/{name}", empty, methods=["GET"], dependencies=guarded)
    for name in _REFRESHED:
        router.add_api_route(f"/{name}", nothing, methods=["POST"], dependencies=guarded)
    for name in ("reload-checkpoint", "unload-checkpoint"):
        router.add_api_route(f"/{name}", done, methods=["POST"], dependencies=guarded)

    @router.get("/loras")
    async def list_loras() -> list[dict[str, Any]]:
        return [lora_entry(name) for name in loras]

    router.add_api_route("/refresh-loras", nothing, methods=["POST"])

    @router.get("/samplers", dependencies=guarded)
    async def samplers() -> list[dict[str, Any]]:
        return [sampler.model_dump() for sampler in engine.catalogue.samplers]

    @router.get("/schedulers", dependencies=guarded)
    async def schedulers() -> list[dict[str, Any]]:
        return [scheduler.model_dump() for scheduler in engine.catalogue.schedulers]

    @router.get("/sd-models", dependencies=guarded)
    async def sd_models() -> list[dict[str, Any]]:
        return list_sd_models(engine.model)

    @router.get("/embeddings", dependencies=guarded)
    async def embeddings() -> dict[str, Any]:
        return {"loaded": {}, "skipped": {}}

    @router.get("/upscalers", dependencies=guarded)
    async def list_upscalers() -> list[dict[str, Any]]:
        return upscalers()

    @router.get("/latent-upscale-modes", dependencies=guarded)
    async def list_latent_upscale_modes() -> list[dict[str, Any]]:
        return latent_upscale_modes()

    @router.get("/scripts", dependencies=guarded)
    async def list_scripts() -> dict[str, list[str]]:
        return script_titles()

    @router.get("/script-info", dependencies=guarded)
    async def script_info() -> list[dict[str, Any]]:
        return script_details(engine.catalogue)

    return router


_SIZE = re.compile(r"(\d+)x(\d+)")
_DEFAULT_PARAMETERS: dict[str, Any] = {
    "Clip skip": "1",
    "Hires resize-1": 0,
    "Hires resize-2": 0,
    "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler",
    "Hires checkpoint": "Use same checkpoint",
    "Hires prompt": "",
    "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "RNG": "GPU",
    "Schedule type": "Automatic",
    "Schedule max sigma": 0,
    "Schedule min sigma": 0,
    "Schedule rho": 0,
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
    "FP8 weight": "Disable",
    "Refiner switch by sampling steps": False,
}
_STRUCTURAL_ITEMS = frozenset(
    {"dpi", "exif", "jfif", "jfif_density", "jfif_unit", "jfif_version", "gamma", "icc_profile", "interlace"}
    | {"background", "chromaticity", "duration", "loop", "photoshop", "progression", "progressive"}
    | {"timestamp", "transparency", "adobe", "adobe_transform", "srgb", "compression", PNG_KEYWORD}
)
"""Keys of an image's `info` that are no text written into the file."""


def read_png_info(image: Image.Image) -> dict[str, Any]:
    """Reply of `/sdapi/v1/png-info`: the infotext, other texts, and the infotext's settings by name."""
    text = read_infotext(image)
    parsed = parse_infotext(text)
    parameters: dict[str, Any] = {}
    for name, value in parsed.settings.items():
        size = _SIZE.fullmatch(value)
        if size:
            parameters[f"{name}-1"], parameters[f"{name}-2"] = size.groups()
        else:
            parameters[name] = value
    parameters["Prompt"], parameters["Negative prompt"] = parsed.prompt, parsed.negative_prompt
    items = {
        str(key): value
        for key, value in image.info.items()
        if key not in _STRUCTURAL_ITEMS and isinstance(value, str | int | float)
    }
    return {"info": text, "items": items, "parameters": {**_DEFAULT_PARAMETERS, **parameters}}


def list_sd_models(model: ModelCard) -> list[dict[str, Any]]:
    """Reply of `/sdapi/v1/sd-models`: the one model."""
    return [
        {
            "title": model.title,
            "model_name": model.name,
            "hash": model.hash,
            "sha256": model.sha256,
            "filename": model.filename,
            "config": None,
        }
    ]


def lora_entry(name: str) -> dict[str, Any]:
    """An entry of the list of LoRAs; there is no file, and the hash is that of the name."""
    return {
        "name": name,
        "alias": name,
        "path": "(no file) listed to try clients; it changes no pixel",
        "metadata": {"ss_output_name": name, "sshs_model_hash": lora_hash(name)},
    }


def lora_hash(name: str) -> str:
    """Stands for the hash of a LoRA's weights: the hash of its name."""
    return hashlib.sha256(name.encode("utf-8")).hexdigest()


def read_memory() -> dict[str, Any]:
    """Free, used and total memory in bytes, where the system reports it; no graphics card is used."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
        ram: dict[str, Any] = {"free": free, "used": total - free, "total": total}
    except (AttributeError, OSError, ValueError) as error:
        ram = {"error": str(error)}
    return {"ram": ram, "cuda": {"error": "unavailable"}}


def cmd_flags(host: str, port: int | None, *, with_page: bool) -> dict[str, Any]:
    """The command-line flags of a WebUI that behaves as this server does; a selection."""
    return {
        "api": True,
        "nowebui": not with_page,
        "api_auth": None,
        "api_log": False,
        "listen": False,
        "server_name": host,
        "port": port,
        "ckpt": None,
        "ckpt_dir": None,
        "data_dir": None,
        "models_dir": None,
        "medvram": False,
        "medvram_sdxl": False,
        "lowvram": False,
        "lowram": False,
        "no_half": True,
        "no_half_vae": False,
        "precision": "autocast",
        "use_cpu": ["all"],
        "xformers": False,
        "max_batch_count": 16,
        "no_hashing": False,
        "freeze_settings": False,
        "disable_nan_check": False,
        "skip_load_model_at_start": False,
        "api_server_stop": False,
        "subpath": None,
        "tls_keyfile": None,
        "tls_certfile": None,
        "timeout_keep_alive": 30,
    }


_ALWAYS_ON = ("sampler", "seed")
_SELECTABLE = frozenset(
    {
        "img2img alternative test",
        "loopback",
        "outpainting mk2",
        "poor man's outpainting",
        "prompt matrix",
        "prompts from file or textbox",
        "sd upscale",
        "x/y/z plot",
    }
)
"""Scripts of the genuine server, which has an error message for naming one of them as always-on."""


def _arg(
    label: str, value: Any, low: Any = None, high: Any = None, step: Any = None, choices: list[str] | None = None
) -> dict[str, Any]:
    return {"label": label, "value": value, "minimum": low, "maximum": high, "step": step, "choices": choices}


def script_titles() -> dict[str, list[str]]:
    """Reply of `/sdapi/v1/scripts`."""
    return {"txt2img": list(_ALWAYS_ON), "img2img": list(_ALWAYS_ON)}


def script_details(catalogue: SamplerCatalogue) -> list[dict[str, Any]]:
    """Reply of `/sdapi/v1/script-info`: each script with its arguments, for txt2img and for img2img."""
    samplers = [sampler.name for sampler in catalogue.samplers]
    schedules = [scheduler.label for scheduler in catalogue.schedulers]
    args = {
        "sampler": [
            _arg("Sampling steps", 20, 1, 150, 1),
            _arg("Sampling method", samplers[0], choices=samplers),
            _arg("Schedule type", schedules[0], choices=schedules),
        ],
        "seed": [
            _arg("Seed", -1, step=1),
            _arg("Extra", False),
            _arg("Variation seed", -1, step=1),
            _arg("Variation strength", 0.0, 0, 1, 0.01),
            _arg("Resize seed from width", 0, 0, 2048, 8),
            _arg("Resize seed from height", 0, 0, 2048, 8),
        ],
    }
    return [
        {"name": name, "is_alwayson": True, "is_img2img": is_img2img, "args": args[name]}
        for is_img2img in (False, True)
        for name in _ALWAYS_ON
    ]


def check_scripts(script_name: str | None, always_on: Mapping[str, Any]) -> None:
    """Refuse scripts that this server does not have, with the WebUI's message.

    Raises:
        HTTPException: 422.
    """
    if script_name:
        raise HTTPException(422, f"Script '{script_name}' not found")
    for name in always_on:
        if name.lower() in _SELECTABLE:
            raise HTTPException(422, "Cannot have a selectable script in the always on scripts params")
        if name.lower() not in _ALWAYS_ON:
            raise HTTPException(422, f"Script '{name}' not found")
