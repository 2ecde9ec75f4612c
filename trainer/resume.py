"""`resume.pt`: all that an interrupted training goes on from, written after every epoch."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sdcore.files import write_bytes_atomically

from .errors import CheckpointError
from .history import EpochRecord

_FORMAT = "sd-defects training in progress"
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Progress:
    """The epochs that are done, and the training as it stood after them."""

    epochs: tuple[EpochRecord, ...]
    """One or more."""
    session: dict[str, Any]
    """What `EpochResult.resume` gave."""


def save_progress(path: Path, epochs: Sequence[EpochRecord], session: dict[str, Any]) -> None:
    """Write `resume.pt` atomically: tensors and plain values.

    Raises:
        OSError: the file cannot be written.
    """
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "epochs": [asdict(record) for record in epochs],
        "session": session,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes_atomically(path, buffer.getvalue())


def load_progress(path: Path) -> Progress:
    """Read `resume.pt`; no code in the file is run.

    Raises:
        CheckpointError: it is damaged, or another version wrote it.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other pickle protocols; what cannot be read raises
            content = torch.load(file, map_location="cpu", weights_only=True)
        if content["format"] != _FORMAT or content["version"] != _VERSION:
            raise ValueError(f"format {content['format']!r}, version {content['version']}")
        epochs = tuple(EpochRecord(**record) for record in content["epochs"])
        if not epochs:
            raise ValueError("no epoch in it")
        return Progress(epochs, dict(content["session"]))
    except OSError:
        raise
    except Exception as error:  # on foreign bytes the reader fails in many ways
        words = str(error).partition("\n")[0][:120] or type(error).__name__
        raise CheckpointError(
            f"{path}: the state of an interrupted training cannot be read ({words}); add --overwrite to start it anew"
        ) from error
