"""What servers of each kind answer, built by hand from the facts named in `sdclient.client.dialects`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from sdclient.errors import NotFound

Answers = dict[str, Any]
"""Path -> the JSON a GET gets; every other path is a 404."""

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "webui"

KARRAS = {"name": "karras", "label": "Karras", "aliases": None, "default_rho": 7.0, "need_inner_model": False}
AUTOMATIC = {"name": "automatic", "label": "Automatic", "aliases": None, "default_rho": -1, "need_inner_model": False}
SAMPLER = {"name": "DPM++ SDE", "aliases": ["k_dpmpp_sde"], "options": {}}
_SHARED_OPTIONS = {
    "samples_format": "png",
    "sd_model_checkpoint": "v1-5.safetensors [6ce0161689]",
    "sd_vae": "Automatic",
}
_A1111_FLAGS = {"api": True, "api_auth": None, "nowebui": False, "gradio_auth": None}
_FORGE_FLAGS = {**_A1111_FLAGS, "forge_ref_a1111_home": None, "controlnet_dir": None, "always_gpu": False}


def _openapi(*img2img_fields: str) -> dict[str, Any]:
    properties = {field: {"type": "string"} for field in img2img_fields}
    return {"components": {"schemas": {"StableDiffusionProcessingImg2Img": {"properties": properties}}}}


A1111_OLD: Answers = {
    "/sdapi/v1/options": _SHARED_OPTIONS,
    "/sdapi/v1/cmd-flags": _A1111_FLAGS,
    "/sdapi/v1/samplers": [SAMPLER, {**SAMPLER, "name": "DPM++ SDE Karras", "aliases": ["k_dpmpp_sde_ka"]}],
    "/sdapi/v1/sd-vae": [{"model_name": "vae-ft-mse.safetensors", "filename": "/models/VAE/vae-ft-mse.safetensors"}],
    "/openapi.json": _openapi("sampler_name", "steps"),
}
A1111_1_9_0: Answers = {
    **A1111_OLD,
    "/sdapi/v1/samplers": [SAMPLER],
    "/openapi.json": _openapi("sampler_name", "scheduler", "steps"),
}
A1111_NEW: Answers = {
    **A1111_1_9_0,
    "/sdapi/v1/schedulers": [AUTOMATIC, KARRAS],
    "/internal/sysinfo": {"Version": "v1.10.1", "Commit": "82a973c04367123ae98bd9abdf80d9eda9b910e2"},
}
FORGE: Answers = {
    "/sdapi/v1/options": {
        **_SHARED_OPTIONS,
        "forge_unet_storage_dtype": "Automatic",
        "forge_inference_memory": 1024,
        "forge_preset": "sd",
        "forge_additional_modules": [],
    },
    "/sdapi/v1/cmd-flags": _FORGE_FLAGS,
    "/sdapi/v1/samplers": [SAMPLER],
    "/sdapi/v1/schedulers": [AUTOMATIC, KARRAS],
    "/sdapi/v1/sd-modules": [
        {"model_name": "ae.safetensors", "filename": "/forge/models/VAE/ae.safetensors"},
        {"model_name": "clip_l.safetensors", "filename": "/forge/models/text_encoder/clip_l.safetensors"},
    ],
}
FORGE_BEFORE_AUGUST_2024: Answers = {**A1111_OLD, "/sdapi/v1/cmd-flags": _FORGE_FLAGS}
REFORGE: Answers = {
    **A1111_NEW,
    "/sdapi/v1/options": {**_SHARED_OPTIONS, "sd_sampling": "A1111", "reflective_padding_vae_sd": "Disabled"},
    "/sdapi/v1/cmd-flags": _FORGE_FLAGS,
}
REFORGE_EARLY: Answers = {**A1111_NEW, "/sdapi/v1/cmd-flags": _FORGE_FLAGS}
SDNEXT: Answers = {
    "/sdapi/v1/options": {**_SHARED_OPTIONS, "samples_format": "jpg", "schedulers_sigma": "default"},
    "/sdapi/v1/cmd-flags": {"auth": None, "auth_file": None, "docs": False},
    "/sdapi/v1/version": {"app": "sd.next", "updated": "2026-04-04", "commit": "0eb4a98e0", "branch": "master"},
    "/sdapi/v1/samplers": [{"name": "DPM++ SDE", "options": {"use_karras_sigmas": False}}],
    "/sdapi/v1/schedulers": [{"name": "DPM++ SDE", "cls": "DPMSolverSDEScheduler", "options": {}}],
    "/sdapi/v1/sd-vae": [],
    "/sdapi/v1/memory": {
        "ram": {"free": 24 * 2**30, "used": 8 * 2**30, "total": 32 * 2**30},
        "cuda": {"system": {"free": 6 * 2**30, "used": 2 * 2**30, "total": 8 * 2**30}},
    },
}
STRANGER: Answers = {"/sdapi/v1/options": {}, "/sdapi/v1/samplers": [SAMPLER]}


def recorded_a1111() -> Answers:
    """The genuine A1111 1.10.1, from its recorded replies; skips the test where they are absent."""
    if not RECORDINGS.is_dir():
        pytest.skip(f"no recordings of the genuine server at {RECORDINGS}")
    answers: Answers = {"/openapi.json": json.loads((RECORDINGS / "openapi.json").read_text(encoding="utf-8"))}
    for file in RECORDINGS.glob("replies/get_*.json"):
        reply = json.loads(file.read_text(encoding="utf-8"))
        if reply["status"] == 200:
            answers[f"/sdapi/v1/{file.stem.removeprefix('get_')}"] = reply["body"]
    return answers


def asking(answers: Answers, asked: list[str] | None = None) -> Callable[[str], Any]:
    """A function that asks a double, noting the paths in `asked`."""

    def ask(path: str) -> Any:
        if asked is not None:
            asked.append(path)
        if path not in answers:
            raise NotFound(f"{path}: not there", status=404)
        return answers[path]

    return ask


def serve(server: HTTPServer, answers: Answers) -> str:
    """Make a server answer as a double, 404 elsewhere; gives its address."""
    for path, body in answers.items():
        server.expect_request(path, method="GET").respond_with_json(body)
    server.expect_request(re.compile(".*"), method="GET").respond_with_json({"detail": "Not Found"}, status=404)
    return server.url_for("").rstrip("/")
