"""What the server lists: models, samplers, LoRAs, scripts, memory, flags; and the texts in an image."""

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
    """The routes of the lists, which stay the same while the server runs.

    `check` is the FastAPI dependency that checks the password. As in a WebUI, where an extension adds them, the two
    calls about LoRAs need none.
    """
    router = APIRouter(prefix="/sdapi/v1", route_class=ErrorRoute)

    def answer(path: str, reply: Any, *, method: str = "GET", guards: Sequence[Any] = (check,)) -> None:
        async def answered() -> Any:
            return reply

        router.add_api_route(f"/{path}", answered, methods=[method], dependencies=guards, name=path)

    for path, reply in {
        **{path: [] for path in _EMPTY},
        "samplers": [sampler.model_dump() for sampler in engine.catalogue.samplers],
        "schedulers": [scheduler.model_dump() for scheduler in engine.catalogue.schedulers],
        "sd-models": list_sd_models(engine.model),
        "embeddings": {"loaded": {}, "skipped": {}},
        "upscalers": upscalers(),
        "latent-upscale-modes": latent_upscale_modes(),
        "scripts": {"txt2img": list(_ALWAYS_ON), "img2img": list(_ALWAYS_ON)},
        "script-info": script_details(engine.catalogue),
    }.items():
        answer(path, reply)
    for path in _REFRESHED:
        answer(path, None, method="POST")
    for path in ("reload-checkpoint", "unload-checkpoint"):
        answer(path, {}, method="POST")
    answer("loras", [lora_entry(name) for name in loras], guards=())
    answer("refresh-loras", None, method="POST", guards=())
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
"""Keys of an image's `info` that are not texts in the file."""


def read_png_info(image: Image.Image) -> dict[str, Any]:
    """Reply of `/sdapi/v1/png-info`: the infotext, other texts, and the infotext's settings by name."""
    text = read_infotext(image)
    parsed = parse_infotext(text)
    parameters: dict[str, Any] = {}
    for name, value in parsed.settings.items():
        if size := _SIZE.fullmatch(value):
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
    names = {"title": model.title, "model_name": model.name}
    return [names | {"hash": model.hash, "sha256": model.sha256, "filename": model.filename, "config": None}]


def lora_entry(name: str) -> dict[str, Any]:
    """An entry of the list of LoRAs. There is no file; the hash is that of the name."""
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
    """Some command-line flags of a WebUI that behaves like this server."""
    return {
        "api": True,
        "nowebui": not with_page,
        "api_auth": None,
        "api_log": False,
        "listen": False,
        "server_name": host,
        "port": port,
        **dict.fromkeys(("ckpt", "ckpt_dir", "data_dir", "models_dir")),
        **dict.fromkeys(("medvram", "medvram_sdxl", "lowvram", "lowram"), False),
        "no_half": True,
        "no_half_vae": False,
        "precision": "autocast",
        "use_cpu": ["all"],
        "xformers": False,
        "max_batch_count": 16,
        **dict.fromkeys(("no_hashing", "freeze_settings", "disable_nan_check", "skip_load_model_at_start"), False),
        "api_server_stop": False,
        **dict.fromkeys(("subpath", "tls_keyfile", "tls_certfile")),
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
