"""What the server tells about itself and about an image: flags, memory, models, png-info."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any

from PIL import Image

from ..infotext import PNG_KEYWORD, parse_infotext, read_infotext
from .painting import ModelCard

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
"""What an image's `info` holds beside texts that somebody wrote into it."""


def png_info(image: Image.Image) -> dict[str, Any]:
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


def sd_models(model: ModelCard) -> list[dict[str, Any]]:
    """The one model; where there is no file, its file name says so."""
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


def lora(name: str) -> dict[str, Any]:
    """An entry of the list of LoRAs; no file is behind it, and the hash is that of its name."""
    return {
        "name": name,
        "alias": name,
        "path": "(no file) listed to try clients; it changes no pixel",
        "metadata": {"ss_output_name": name, "sshs_model_hash": lora_hash(name)},
    }


def lora_hash(name: str) -> str:
    """What stands in for the hash of a LoRA's weights."""
    return hashlib.sha256(name.encode("utf-8")).hexdigest()


def memory() -> dict[str, Any]:
    """Free, used and total memory in bytes where the system tells; there is no graphics card in use."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
        ram: dict[str, Any] = {"free": free, "used": total - free, "total": total}
    except (AttributeError, OSError, ValueError) as error:
        ram = {"error": str(error)}
    return {"ram": ram, "cuda": {"error": "unavailable"}}


def cmd_flags(*, host: str, port: int | None, with_page: bool) -> dict[str, Any]:
    """The flags a WebUI would have been started with to behave as this server does, trimmed."""
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
