"""What a reply tells about a job: the `info` object and the infotexts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..infotext import ENGINE_KEY, Infotext
from ..loras import HASH_LABEL, HASH_OPTION, loras_in
from .catalogue import Choice
from .facts import lora_hash
from .painting import ModelCard
from .resolve import Seeds
from .settings import ServerOptions
from .words import VERSION


def extra_parameters(choice: Choice, words: Mapping[str, Any], engine_name: str) -> dict[str, Any]:
    """`extra_generation_params`: what the call itself tells, the schedule, and what made the pixels."""
    extra: dict[str, Any] = dict(words)
    if choice.schedule is not None:
        extra["Schedule type"] = choice.schedule
    return {**extra, ENGINE_KEY: engine_name}


def lora_hashes(prompt: str, settings: ServerOptions) -> dict[str, str]:
    """What is told of the LoRAs a prompt names; those that are not listed are left out without a word, as there."""
    used = [name for name in loras_in(prompt) if name in settings.loras]
    if not used or not settings[HASH_OPTION]:
        return {}
    return {HASH_LABEL: ", ".join(f"{name}: {lora_hash(name)[:12]}" for name in used)}


def build_infotext(
    body: Any,
    choice: Choice,
    seeds: Seeds,
    index: int,
    *,
    extra: Mapping[str, Any],
    settings: ServerOptions,
    model: ModelCard,
) -> str:
    """The text that image `index` carries, its settings in the WebUI's order."""
    told: dict[str, Any] = {
        "Steps": body.steps,
        "Sampler": choice.sampler,
        "Schedule type": choice.schedule or "Automatic",
        "CFG scale": body.cfg_scale,
        "Seed": seeds.all_seeds[index],
        "Size": f"{body.width}x{body.height}",
    }
    if settings["add_model_hash_to_info"]:
        told["Model hash"] = model.hash
    if settings["add_model_name_to_info"]:
        told["Model"] = model.name
    if seeds.subseed_strength:
        told["Variation seed"] = seeds.all_subseeds[index]
        told["Variation seed strength"] = seeds.subseed_strength
    if body.denoising_strength is not None:
        told["Denoising strength"] = body.denoising_strength
    if settings["CLIP_stop_at_last_layers"] > 1:
        told["Clip skip"] = settings["CLIP_stop_at_last_layers"]
    told.update(extra)
    if settings["add_version_to_infotext"]:
        told["Version"] = VERSION
    values = {key: str(value) for key, value in told.items()}
    return str(Infotext(body.prompt, body.negative_prompt or "", values))


def build_info(
    body: Any,
    choice: Choice,
    seeds: Seeds,
    *,
    extra: Mapping[str, Any],
    infotexts: list[str],
    index_of_first_image: int,
    timestamp: str,
    settings: ServerOptions,
    model: ModelCard,
) -> dict[str, Any]:
    """The `info` of a reply, every key of the genuine one. The seeds are those of the images asked for."""
    count = len(seeds.all_seeds)
    negative = body.negative_prompt or ""
    return {
        "prompt": body.prompt,
        "all_prompts": [body.prompt] * count,
        "negative_prompt": negative,
        "all_negative_prompts": [negative] * count,
        "seed": seeds.all_seeds[0],
        "all_seeds": seeds.all_seeds,
        "subseed": seeds.all_subseeds[0],
        "all_subseeds": seeds.all_subseeds,
        "subseed_strength": seeds.subseed_strength,
        "width": body.width,
        "height": body.height,
        "sampler_name": choice.sampler,
        "cfg_scale": body.cfg_scale,
        "steps": body.steps,
        "batch_size": body.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": model.name,
        "sd_model_hash": model.hash,
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": body.seed_resize_from_w,
        "seed_resize_from_h": body.seed_resize_from_h,
        "denoising_strength": body.denoising_strength,
        "extra_generation_params": dict(extra),
        "index_of_first_image": index_of_first_image,
        "infotexts": infotexts,
        "styles": body.styles or [],
        "job_timestamp": timestamp,
        "clip_skip": settings["CLIP_stop_at_last_layers"],
        "is_using_inpainting_conditioning": False,
        "version": VERSION,
    }
