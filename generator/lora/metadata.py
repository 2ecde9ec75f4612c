"""What a LoRA file says of itself: the fields that kohya-ss/sd-scripts began and WebUIs show, and our own lineage.

A1111 takes the file's alias from `ss_output_name`, the version of Stable Diffusion from `ss_base_model_version` and
`ss_v2`, the tags it offers from `ss_tag_frequency`, resolutions and counts from `ss_bucket_info` and
`ss_dataset_dirs`, and the short hash it writes into infotexts ("Lora hashes") from `sshs_model_hash`
(AUTOMATIC1111/stable-diffusion-webui, extensions-builtin/Lora/network.py, ui_edit_user_metadata.py).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .. import __version__
from .base import Base
from .pictures import TrainingImage, fingerprint
from .settings import LoraSettings
from .state import Reached

LINEAGE_KEY = "sd_defects.lineage"
_LEGACY_SPAN = slice(0x100000, 0x110000)


def describe(
    name: str,
    base: Base,
    settings: LoraSettings,
    images: Sequence[TrainingImage],
    sizes: Sequence[tuple[int, int]],
    reached: Reached,
    *,
    precision: str,
    finished_at: float,
) -> dict[str, str]:
    """The fields, without the hashes of the file's content."""
    size_px = settings.size_px or base.family.native_px
    buckets = Counter(sizes)
    tags = Counter(tag.strip() for image in images for tag in image.caption.split(",") if tag.strip())
    batches = -(-len(images) // settings.batch)
    fields: dict[str, Any] = {
        "ss_output_name": name,
        "ss_base_model_version": base.family.version + ("_v" if base.prediction == "v_prediction" else ""),
        "ss_v2": base.family.version.startswith("sd_v2"),
        "ss_sd_model_name": base.name,
        "ss_new_sd_model_hash": base.sha256,
        "ss_network_module": "networks.lora",
        "ss_network_dim": settings.rank,
        "ss_network_alpha": settings.scale,
        "ss_network_args": {"targets": settings.targets},
        "ss_resolution": f"({size_px}, {size_px})",
        "ss_enable_bucket": True,
        "ss_bucket_info": {
            "buckets": {
                str(number): {"resolution": list(size), "count": count}
                for number, (size, count) in enumerate(sorted(buckets.items()))
            }
        },
        "ss_num_train_images": len(images),
        "ss_num_reg_images": 0,
        "ss_dataset_dirs": {name: {"n_repeats": 1, "img_count": len(images)}},
        "ss_tag_frequency": {name: dict(tags.most_common())},
        "ss_num_batches_per_epoch": batches,
        "ss_num_epochs": -(-reached.steps // batches),
        "ss_steps": reached.steps,
        "ss_max_train_steps": settings.steps,
        "ss_total_batch_size": settings.batch,
        "ss_learning_rate": settings.lr,
        "ss_unet_lr": settings.lr,
        "ss_text_encoder_lr": settings.text_encoder_lr if settings.text_encoder else None,
        "ss_lr_scheduler": "constant_with_warmup" if settings.warmup_steps else "constant",
        "ss_lr_warmup_steps": settings.warmup_steps,
        "ss_optimizer": "torch.optim.adamw.AdamW",
        "ss_mixed_precision": "no" if precision == "fp32" else precision,
        "ss_gradient_checkpointing": settings.gradient_checkpointing,
        "ss_min_snr_gamma": settings.min_snr,
        "ss_clip_skip": settings.clip_skip,
        "ss_flip_aug": bool(settings.flips),
        "ss_seed": settings.seed,
        "ss_training_started_at": reached.started_at,
        "ss_training_finished_at": finished_at,
        "ss_training_comment": f"sd-defects {__version__}",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": base.family.architecture,
        "modelspec.implementation": "diffusers",
        "modelspec.title": name,
        "modelspec.resolution": f"{size_px}x{size_px}",
        "modelspec.prediction_type": "v" if base.prediction == "v_prediction" else "epsilon",
        LINEAGE_KEY: {
            "data_sha256": fingerprint(images),
            "classes": dict(sorted(Counter(image.class_name for image in images).items())),
            "base_sha256": base.sha256,
        },
    }
    return {key: _text(value) for key, value in fields.items()}


def file_bytes(tensors: Mapping[str, torch.Tensor], fields: Mapping[str, str]) -> bytes:
    """The whole file.

    Its two hashes are those of the additional-networks extension (kohya-ss/sd-scripts, library/train_util.py): sha256
    of what follows the header, and eight signs of the sha256 of 64 KiB one MiB into a file that has the `ss_` fields
    alone. A WebUI then need not read the file to name it.
    """
    from safetensors.torch import save

    plain = save(dict(tensors), {key: value for key, value in fields.items() if key.startswith("ss_")})
    start = 8 + int.from_bytes(plain[:8], "little")
    hashes = {
        "sshs_model_hash": hashlib.sha256(plain[start:]).hexdigest(),
        "sshs_legacy_hash": hashlib.sha256(plain[_LEGACY_SPAN]).hexdigest()[:8],
    }
    return save(dict(tensors), {**fields, **hashes})


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
