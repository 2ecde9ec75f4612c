"""The LoRA file with its metadata, and the folder and saved state of a training.

For each adapted layer the LoRA file holds `<key>.lora_down.weight` (rank, in), `<key>.lora_up.weight` (out, rank) and
the number `<key>.alpha`; a WebUI adds weight x alpha / rank x up @ down to the weights of the layer
(AUTOMATIC1111/stable-diffusion-webui, extensions-builtin/Lora/networks.py, network_lora.py, network.py). The key is a
prefix and the layer's name with underscores for dots. SD 1.x and 2.x use the names of diffusers; SDXL's UNet uses those
of the original code (kohya-ss/sd-scripts, networks/lora.py, library/sdxl_model_util.py), with one number per block:
`down_blocks.i.attentions.j` is `input_blocks.(1 + 3 i + j).1`, `up_blocks.i.attentions.j` is
`output_blocks.(3 i + j).1`, and the middle block is `middle_block.1`.

A1111 takes the file's alias from `ss_output_name`, the version of Stable Diffusion from `ss_base_model_version` and
`ss_v2`, the tags it offers from `ss_tag_frequency`, resolutions and counts from `ss_bucket_info` and
`ss_dataset_dirs`, and the short hash it writes into infotexts ("Lora hashes") from `sshs_model_hash`
(AUTOMATIC1111/stable-diffusion-webui, extensions-builtin/Lora/network.py, ui_edit_user_metadata.py).

The state's file name does not end in `.safetensors`, because a WebUI would list such a file in its LoRA folder.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sdcore import __version__
from sdcore.files import write_bytes_atomically

from ..config import LoraSettings
from ..errors import ModelError, SettingsError
from .base_model import LoadedBase
from .dataset import Captions, TrainingImage, fingerprint
from .session import LoraSession, adapter_tensors, load_adapter_tensors

_DOWN = re.compile(r"down_blocks\.(\d+)\.attentions\.(\d+)\.")
_UP = re.compile(r"up_blocks\.(\d+)\.attentions\.(\d+)\.")
_MIDDLE = re.compile(r"mid_block\.attentions\.0\.")
_PARTS = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight"}
_LAYERS_A_BLOCK = 2


def file_tensors(
    prefix: str, tensors: Mapping[str, torch.Tensor], alpha: float, *, is_sdxl: bool, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """The `adapter_tensors` of one model, named as in the file.

    The prefix is "lora_unet", "lora_te", "lora_te1" or "lora_te2". SDXL's UNet has other keys than those of SD 1 and 2.
    """
    written: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        layer, part = next((name.removesuffix(f".{end}"), end) for end in _PARTS if name.endswith(f".{end}"))
        key = layer_key(prefix, layer, is_sdxl=is_sdxl)
        written[f"{key}.{_PARTS[part]}"] = tensor.to(dtype).contiguous()
        written[f"{key}.alpha"] = torch.tensor(alpha, dtype=dtype)
    return written


def layer_key(prefix: str, layer: str, *, is_sdxl: bool) -> str:
    """The key of a layer in the file, from its name in diffusers or transformers."""
    if is_sdxl and prefix == "lora_unet":
        layer = _DOWN.sub(lambda m: f"input_blocks.{1 + (_LAYERS_A_BLOCK + 1) * int(m[1]) + int(m[2])}.1.", layer)
        layer = _UP.sub(lambda m: f"output_blocks.{(_LAYERS_A_BLOCK + 1) * int(m[1]) + int(m[2])}.1.", layer)
        layer = _MIDDLE.sub("middle_block.1.", layer)
    return f"{prefix}_{layer.replace('.', '_')}"


LINEAGE_KEY = "sd_defects.lineage"
_LEGACY_SPAN = slice(0x100000, 0x110000)


def metadata_fields(
    name: str,
    base: LoadedBase,
    settings: LoraSettings,
    images: Sequence[TrainingImage],
    sizes: Sequence[tuple[int, int]],
    reached: TrainingProgress,
    *,
    precision: str,
    finished_at: float,
) -> dict[str, str]:
    """The metadata of the file, without the hashes of its content."""
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
    return {
        key: json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
        for key, value in fields.items()
    }


def file_bytes(tensors: Mapping[str, torch.Tensor], fields: Mapping[str, str]) -> bytes:
    """The content of the whole file.

    Its two hashes are those of the additional-networks extension (kohya-ss/sd-scripts, library/train_util.py), for a
    file that has only the `ss_` fields: the sha256 of everything after the header, and the first eight digits of the
    sha256 of the 64 KiB from 1 MiB on. With these hashes a WebUI need not read the whole file.
    """
    from safetensors.torch import save

    plain = save(dict(tensors), {key: value for key, value in fields.items() if key.startswith("ss_")})
    start = 8 + int.from_bytes(plain[:8], "little")
    hashes = {
        "sshs_model_hash": hashlib.sha256(plain[start:]).hexdigest(),
        "sshs_legacy_hash": hashlib.sha256(plain[_LEGACY_SPAN]).hexdigest()[:8],
    }
    return save(dict(tensors), {**fields, **hashes})


_FORMAT = "sd-defects LoRA in training, 1"
_RANDOM = "random"
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class TrainingProgress:
    """The progress of a training."""

    steps: int
    seconds: float
    started_at: float
    """Seconds since 1970."""
    losses: tuple[float, ...]
    """One per step."""


def save_state(path: Path, session: LoraSession, reached: TrainingProgress, identity: dict[str, Any]) -> None:
    """Write the state atomically.

    Raises:
        OSError: the file cannot be written; the previous one stays.
    """
    from safetensors.torch import save

    tensors = {_RANDOM: session.generator.get_state(), "losses": torch.tensor(reached.losses, dtype=torch.float64)}
    for prefix, model in session.models:
        tensors |= {f"{prefix}/{name}": tensor for name, tensor in adapter_tensors(model).items()}
    moments = session.optimizer.state_dict()["state"]
    for number, moment in moments.items():
        tensors |= {f"optimizer/{number}/{name}": moment[name].cpu().contiguous() for name in _MOMENTS}
    values = {
        "format": _FORMAT,
        "identity": identity,
        "steps": reached.steps,
        "seconds": reached.seconds,
        "started_at": reached.started_at,
        # Not for every parameter: SDXL does not use the last layer of its text encoders, so it has no gradient.
        "optimizer_steps": {str(number): float(moment["step"]) for number, moment in moments.items()},
        "scaler": session.scaler.state_dict(),
    }
    write_bytes_atomically(path, save(tensors, {"state": json.dumps(values, ensure_ascii=False)}))


def read_identity(path: Path) -> dict[str, Any]:
    """The identity of the settings and data with which the training of a state was started.

    Raises:
        ModelError: the file is damaged or of another kind.
    """
    identity: dict[str, Any] = _read(path)[0]["identity"]
    return identity


def load_state(path: Path, session: LoraSession) -> TrainingProgress:
    """Restore a session from a state.

    Raises:
        ModelError: the file is damaged, or does not fit the base.
    """
    values, tensors = _read(path)
    try:
        for prefix, model in session.models:
            start = f"{prefix}/"
            own = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
            load_adapter_tensors(model, own)
        former = session.optimizer.state_dict()
        former["state"] = {
            int(number): {"step": torch.tensor(step)}
            | {name: tensors[f"optimizer/{number}/{name}"] for name in _MOMENTS}
            for number, step in values["optimizer_steps"].items()
        }
        session.optimizer.load_state_dict(former)
        session.scaler.load_state_dict(values["scaler"])
        session.generator.set_state(tensors[_RANDOM])
        losses = tuple(tensors["losses"].tolist())
        return TrainingProgress(int(values["steps"]), float(values["seconds"]), float(values["started_at"]), losses)
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise _damaged(path, error) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            values = json.loads((file.metadata() or {})["state"])
            if values["format"] != _FORMAT:
                raise ValueError(f"format {values['format']!r}")
            return values, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ModelError:
    words = str(error).partition("\n")[0][:120] or type(error).__name__
    return ModelError(
        f"{path}: the state of an interrupted training cannot be read ({words}); add --restart to begin anew"
    )


@dataclass(frozen=True)
class TrainingFolder:
    """`<name>-training/` beside `<name>.safetensors`."""

    output: Path
    """The LoRA file."""

    @property
    def name(self) -> str:
        """The name of the LoRA in prompts."""
        return self.output.stem

    @property
    def path(self) -> Path:
        """The folder."""
        return self.output.with_name(f"{self.name}-training")

    @property
    def state(self) -> Path:
        """The state from which an interrupted training resumes."""
        return self.path / "state"

    def sheet(self, step: int) -> Path:
        """The sheet of sample images after a step."""
        return self.path / "samples" / f"{step:06d}.png"

    def check(self, *, restart: bool) -> None:
        """Refuse an unusable name, and an existing file of another training.

        Raises:
            SettingsError: the message says what to choose.
        """
        if self.output.suffix.lower() != ".safetensors":
            raise SettingsError(f"-o {self.output}: expected a name that ends in .safetensors, as defects.safetensors")
        if any(sign in self.name for sign in ":<>,"):
            raise SettingsError(
                f"-o {self.output}: prompts name the file as <lora:{self.name}:0.8>; leave out : < > and ,"
            )
        if self.output.exists() and not restart and not self.state.exists():
            raise SettingsError(
                f"-o {self.output}: the file exists, and there is no training in {self.path} to resume; take another "
                "name, or add --restart to replace it"
            )

    def write_log(self, losses: Sequence[float]) -> None:
        """Write `log.csv` with the loss of every step.

        Raises:
            OSError: it cannot be written.
        """
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["step", "loss"])
        rows.writerows([number, f"{loss:.6g}"] for number, loss in enumerate(losses, start=1))
        write_bytes_atomically(self.path / "log.csv", text.getvalue().encode("utf-8"))

    def write_run_file(self, captions: Captions, classes: Sequence[str], weight: float = 0.8) -> None:
        """Write `run.toml` with the captions as prompts, for `sdclient generate --config`.

        Raises:
            OSError: it cannot be written.
        """
        lines = [
            "# Prompts as this LoRA was trained with them: sdclient generate SOURCES OUTPUT --config run.toml ...",
            f"loras = [{_quoted(f'{self.name}:{weight:g}')}]",
        ]
        for name in classes:
            prompt = captions.of_class(name).replace("{", "(").replace("}", ")")  # braces would be placeholders
            lines += ["", f"[class.{_quoted(name)}]", f"prompt = {_quoted(prompt)}"]
        write_bytes_atomically(self.path / "run.toml", ("\n".join(lines) + "\n").encode("utf-8"))


def _quoted(text: str) -> str:
    """A TOML string; JSON's escapes are TOML's too."""
    return json.dumps(text, ensure_ascii=False)
