"""`resume.pt`: all that a training goes on from; tensors and plain values, written in one step."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sdcore.files import write_bytes_atomically

from .errors import ModelError
from .record import Report

RESUME_NAME = "resume.pt"
_FORMAT = "sd-defects generator training"
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Progress:
    """A training as it stood."""

    config: dict[str, Any]
    """Its settings, as JSON would hold them."""
    fingerprint: str
    """Of its pictures."""
    training_s: float
    """How long it has trained."""
    reports: tuple[Report, ...]
    session: dict[str, Any]
    """What `Session.state` gave."""


def save_progress(path: Path, progress: Progress) -> None:
    """Write `resume.pt`; when that fails, the former one is still there.

    Raises:
        OSError: it cannot be written, above all because the disk is full.
    """
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "config": progress.config,
        "fingerprint": progress.fingerprint,
        "training_s": progress.training_s,
        "reports": [asdict(report) for report in progress.reports],
        "session": progress.session,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes_atomically(path, buffer.getbuffer())


def load_progress(path: Path) -> Progress:
    """Read `resume.pt`; no code in the file is run.

    Raises:
        ModelError: it is damaged, or another version wrote it.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other pickle protocols; what cannot be read raises
            content = torch.load(file, map_location="cpu", weights_only=True)
        if content["format"] != _FORMAT or content["version"] != _VERSION:
            raise ValueError(f"format {content['format']!r}, version {content['version']}")
        return Progress(
            config=dict(content["config"]),
            fingerprint=str(content["fingerprint"]),
            training_s=float(content["training_s"]),
            reports=reports_of(content["reports"]),
            session=dict(content["session"]),
        )
    except OSError:
        raise
    except Exception as error:  # on foreign bytes the reader fails in many ways
        words = str(error).partition("\n")[0][:120] or type(error).__name__
        raise ModelError(
            f"{path}: the state of an earlier training cannot be read ({words}); add --overwrite to start anew"
        ) from error


def reports_of(rows: Sequence[dict[str, Any]]) -> tuple[Report, ...]:
    """Reports out of their fields."""
    return tuple(Report(**row) for row in rows)
