"""Our checkpoints: only tensors and plain values, so that loading one cannot run code.

A file is a dictionary of tensors, strings and numbers, written by `torch.save` and read with `weights_only=True`, which
refuses everything else. Upstream's `.pt` files are pickles of whole models; only `upstream_weights` reads those.
"""

import io
import pickle
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdcore.files import write_bytes_atomically

from ..config import MODELS
from ..errors import CheckpointError
from ..run_files import BEST_NAME, LAST_NAME
from .yolov5 import build_classifier

UPSTREAM_RELEASE = "https://github.com/ultralytics/yolov5/releases/tag/v7.0"

_FORMAT = "sd-defects classifier"
_VERSION = 1
_UPSTREAM_NAME = re.compile(r"yolov5[nsmlx]6?(-cls|-seg)?\.pt")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The weights of a classifier and what is needed to use them."""

    model: str
    """One of `config.MODELS`."""
    classes: tuple[str, ...]
    """In the order of the outputs."""
    imgsz: int
    """Side in pixels of the square that images are resized to."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Images in [0, 1] are normalised as (image - mean) / std, per channel R, G, B."""
    epoch: int
    """From 1."""
    val_macro_f1: float
    state: dict[str, torch.Tensor]
    """The module's state dict, on the CPU."""


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically.

    Raises:
        OSError: the file cannot be written.
    """
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "model": checkpoint.model,
        "classes": list(checkpoint.classes),
        "imgsz": checkpoint.imgsz,
        "mean": list(checkpoint.mean),
        "std": list(checkpoint.std),
        "epoch": checkpoint.epoch,
        "val_macro_f1": checkpoint.val_macro_f1,
        "state_dict": {name: tensor.detach().cpu() for name, tensor in checkpoint.state.items()},
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes_atomically(path, buffer.getvalue())


def find_checkpoint(run: Path) -> Path:
    """The checkpoint of a run: `run/best.pt`, or `run` itself when it is a file.

    Raises:
        CheckpointError: there is none.
    """
    if run.is_file():
        return run
    if (run / BEST_NAME).is_file():
        return run / BEST_NAME
    seeds = sorted(folder.name for folder in run.glob("seed-*") if (folder / BEST_NAME).is_file())
    if seeds:
        raise CheckpointError(f"{run}: holds {len(seeds)} runs ({', '.join(seeds)}); name one, as {run / seeds[0]}")
    if not run.exists() and _UPSTREAM_NAME.fullmatch(run.name):
        raise CheckpointError(
            f"{run}: no such file, and none is downloaded here; fetch it from {UPSTREAM_RELEASE} and give the path of "
            "your copy"
        )
    found = "no such folder or file" if not run.exists() else f"no {BEST_NAME} in it"
    raise CheckpointError(f"{run}: {found}; expected a run that 'trainer train DATA -o {run}' makes")


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without running any code in the file.

    Raises:
        CheckpointError: no such file, damaged, or not written by this program.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other pickle protocols; a broken file raises
            content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; expected the {BEST_NAME} or {LAST_NAME} of a run") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds more than tensors and plain values, perhaps a whole pickled model as upstream YOLOv5 "
            "writes; expected a checkpoint of 'trainer train'"
        ) from error
    except OSError:
        raise
    except Exception as error:  # the reader fails in many ways on foreign bytes
        words = str(error).partition("\n")[0][:120] or type(error).__name__
        raise CheckpointError(
            f"{path}: damaged or no checkpoint ({words}); train again or take another copy"
        ) from error
    return _to_checkpoint(path, content)


def load_classifier(path: Path) -> tuple[nn.Module, Checkpoint]:
    """The trained network, in evaluation mode on the CPU, and its checkpoint.

    Raises:
        CheckpointError: as `load_checkpoint`, or the weights do not fit the model they name.
        ModuleNotFoundError: yolov5 is not installed.
    """
    checkpoint = load_checkpoint(path)
    with torch.random.fork_rng(devices=[]):
        network = build_classifier(checkpoint.model, len(checkpoint.classes))
    try:
        network.load_state_dict(checkpoint.state)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: its weights do not fit {checkpoint.model} with {len(checkpoint.classes)} classes; "
            "expected a checkpoint of 'trainer train'"
        ) from error
    return network.eval(), checkpoint


def _to_checkpoint(path: Path, content: Any) -> Checkpoint:
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this program; expected one that 'trainer train' wrote")
    if content.get("version") != _VERSION:
        raise CheckpointError(
            f"{path}: checkpoint version {content.get('version')}, this program reads {_VERSION}; "
            "use the version of sd-defects that wrote it"
        )
    try:
        red, green, blue = (float(value) for value in content["mean"])
        red_std, green_std, blue_std = (float(value) for value in content["std"])
        checkpoint = Checkpoint(
            model=str(content["model"]),
            classes=tuple(str(name) for name in content["classes"]),
            imgsz=int(content["imgsz"]),
            mean=(red, green, blue),
            std=(red_std, green_std, blue_std),
            epoch=int(content["epoch"]),
            val_macro_f1=float(content["val_macro_f1"]),
            state=dict(content["state_dict"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: a part is missing or malformed ({error!r}); take another copy") from error
    if checkpoint.model not in MODELS:
        raise CheckpointError(f"{path}: model {checkpoint.model!r} is unknown; expected one of {', '.join(MODELS)}")
    return checkpoint
