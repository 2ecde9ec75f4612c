"""The state of an interrupted training: tensors in safetensors form, plain values as JSON beside them.

The file has no `.safetensors` at its end: a WebUI whose LoRA folder it lies in would list it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sdcore.files import write_bytes_atomically

from ..errors import ModelError
from .adapters import adapter_tensors, load_adapter_tensors
from .session import Session

_FORMAT = "sd-defects LoRA in training, 1"
_RANDOM = "random"
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Reached:
    """How far a training is."""

    steps: int
    seconds: float
    started_at: float
    """Seconds since 1970."""
    losses: tuple[float, ...]
    """Of each step."""


def save_state(path: Path, session: Session, reached: Reached, identity: dict[str, Any]) -> None:
    """Write the state atomically.

    Raises:
        OSError: the file cannot be written; a former one stays.
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
        # Not of every parameter: SDXL reads no text encoder's last layer, which so never has a gradient.
        "optimizer_steps": {str(number): float(moment["step"]) for number, moment in moments.items()},
        "scaler": session.scaler.state_dict(),
    }
    write_bytes_atomically(path, save(tensors, {"state": json.dumps(values, ensure_ascii=False)}))


def read_identity(path: Path) -> dict[str, Any]:
    """What the training of a state was started with.

    Raises:
        ModelError: the file is damaged, or none of ours.
    """
    identity: dict[str, Any] = _read(path)[0]["identity"]
    return identity


def load_state(path: Path, session: Session) -> Reached:
    """Put a session where the state left it.

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
            int(number): {
                "step": torch.tensor(step),
                **{name: tensors[f"optimizer/{number}/{name}"] for name in _MOMENTS},
            }
            for number, step in values["optimizer_steps"].items()
        }
        session.optimizer.load_state_dict(former)
        session.scaler.load_state_dict(values["scaler"])
        session.generator.set_state(tensors[_RANDOM])
        losses = tuple(tensors["losses"].tolist())
        return Reached(int(values["steps"]), float(values["seconds"]), float(values["started_at"]), losses)
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
