"""The files of a run: which there are, what they say of a training, and whether it is the one asked for."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sdcore.files import TEMPORARY_PATTERN, read_json_or_none, write_json
from sdcore.torch_runtime import MixedPrecision, choose_device

from . import __version__
from .config import TrainConfig, make_config
from .errors import SettingsError
from .event_log import clear_events
from .history import HISTORY_NAME, EpochRecord, read_history
from .near import NEAR_NAME
from .operating_point_file import OPERATING_POINT_NAME, VALIDATION_PREDICTIONS_NAME
from .run_names import BEST_NAME, LAST_NAME, RESUME_NAME

CONFIG_NAME = "config.json"
DATA_NAME = "data.json"
ENVIRONMENT_NAME = "environment.json"
CURVES_NAME = "curves.png"
EXAMPLES_NAME = "examples.png"

_RUN_FILES = (
    RESUME_NAME,
    HISTORY_NAME,
    BEST_NAME,
    LAST_NAME,
    CURVES_NAME,
    EXAMPLES_NAME,
    CONFIG_NAME,
    DATA_NAME,
    ENVIRONMENT_NAME,
    NEAR_NAME,
    OPERATING_POINT_NAME,
    VALIDATION_PREDICTIONS_NAME,
)
_PACKAGES = ("torch", "torchvision", "yolov5", "numpy", "pillow")


def clear_run(run: Path) -> None:
    """Remove whatever an interrupted or replaced training left."""
    for name in _RUN_FILES:
        (run / name).unlink(missing_ok=True)
    clear_events(run)
    clear_parts(run)


def clear_parts(run: Path) -> None:
    """Remove files that were broken off half-written."""
    for path in run.glob(TEMPORARY_PATTERN):
        path.unlink(missing_ok=True)


def write_facts(run: Path, config: TrainConfig, data: dict[str, Any], environment: dict[str, Any]) -> None:
    """Write `config.json`, `data.json` and `environment.json`."""
    write_json(run / CONFIG_NAME, config.model_dump(mode="json"))
    write_json(run / DATA_NAME, data)
    write_json(run / ENVIRONMENT_NAME, environment)


def finished_epochs(run: Path) -> tuple[EpochRecord, ...]:
    """The epochs of a training that came to its end; empty when there is none, or it was interrupted."""
    if (run / RESUME_NAME).is_file() or not ((run / HISTORY_NAME).is_file() and (run / BEST_NAME).is_file()):
        return ()
    epochs = read_history(run).epochs
    config = read_json_or_none(run / CONFIG_NAME) or {}
    may_stop_early = config.get("patience") is not None or config.get("stop_on") is not None
    return epochs if may_stop_early or len(epochs) >= int(config.get("epochs", 0)) else ()


def what_changed(run: Path, config: TrainConfig, fingerprint: str) -> str | None:
    """What of a run's settings and images is not as asked for, in words; None when all is.

    A setting that a run of an older version does not name had its default value, and "auto" takes what is there.
    """
    there = read_json_or_none(run / CONFIG_NAME)
    if not there:
        return f"no readable {CONFIG_NAME}"
    asked = config.model_dump(mode="json")
    names = set(asked)
    if there.get("weights_sha256"):
        names.discard("weights")  # the same weights under another name
    elif "weights_sha256" not in there:
        names.discard("weights_sha256")
    defaults = TrainConfig().model_dump(mode="json")
    for name in sorted(names):
        found = there.get(name, defaults[name])
        if isinstance(found, dict):
            found = {**defaults[name], **found}
        if found != asked[name] and not (asked[name] == "auto" and name in ("batch_size", "layout")):
            if isinstance(found, dict):
                part = next(key for key in asked[name] if found.get(key) != asked[name][key])
                return f"{name}.{part} {found.get(part)!r}, asked for {asked[name][part]!r}"
            return f"{name} {found!r}, asked for {asked[name]!r}"
    data = read_json_or_none(run / DATA_NAME) or {}
    return None if data.get("fingerprint") == fingerprint else "other images"


def read_config(run: Path) -> TrainConfig:
    """The settings a run was started with, every "auto" resolved.

    Raises:
        SettingsError: `config.json` is missing or was changed.
    """
    return make_config(**(read_json_or_none(run / CONFIG_NAME) or {}))


def refuse_other_machine(run: Path, environment: dict[str, Any]) -> None:
    """Let an interrupted run go on only where it comes to the same bits.

    Raises:
        SettingsError: another torch, processor, number format or number of processes than it was started with.
    """
    there = {"processes": 1, **(read_json_or_none(run / ENVIRONMENT_NAME) or {})}
    if there["processes"] != environment["processes"]:
        raise SettingsError(
            f"{run}: was interrupted with {there['processes']} process(es), here there are {environment['processes']}, "
            "and batch statistics would be of other parts; go on with as many (torchrun --nproc-per-node), or add "
            "--overwrite to start anew"
        )
    for name in ("torch", "device", "precision"):
        if there.get(name) != environment[name]:
            raise SettingsError(
                f"{run}: was interrupted with {name} {there.get(name)}, here it is {environment[name]}; go on there, "
                "or add --overwrite to start anew"
            )


def refuse_mixed_layout(run: Path, *, several: bool) -> None:
    """Keep a run and a folder of runs apart.

    Raises:
        SettingsError: `run` is a file, or is the one where the other is to be made.
    """
    if run.exists() and not run.is_dir():
        raise SettingsError(f"{run}: a file; expected a folder to write the run into, choose another -o")
    if several and (run / CONFIG_NAME).is_file():
        raise SettingsError(f"{run}: is a run itself, so runs of several seeds cannot go into it; choose another -o")
    if not several and any(run.glob(f"seed-*/{CONFIG_NAME}")):
        raise SettingsError(f"{run}: holds runs of several seeds, so it cannot become one itself; choose another -o")


def describe_environment(config: TrainConfig, *, pictures: str, processes: int = 1) -> dict[str, Any]:
    """Versions, processor and choices that a run was made with; goes into `environment.json`.

    Args:
        config: of the run, tuned for this machine.
        pictures: where the decoded training pictures lie.
        processes: that train together.
    """
    device = choose_device(config.device)
    return {
        "sd-defects": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        **{name: _version_or_none(name) for name in _PACKAGES},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "processes": processes,
        "threads": config.threads,
        "precision": MixedPrecision(device, amp=config.amp).name,
        "layout": config.layout,
        "pictures": pictures,
    }


def _version_or_none(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
