"""The files of a run folder: writing and clearing them, the resume state, comparison with a request, the result."""

import io
import platform
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sdcore import __version__
from sdcore.files import TEMPORARY_PATTERN, read_json_or_none, write_bytes_atomically, write_json
from sdcore.torch_runtime import MixedPrecision, choose_device

from .. import run_files
from ..config import TrainConfig
from ..errors import CheckpointError, SettingsError
from ..evaluation.diagnosis import EarlyStopping
from ..evaluation.history import HISTORY_NAME, EpochRecord, History, read_history
from ..models.decision_threshold import OPERATING_POINT_NAME, VALIDATION_PREDICTIONS_NAME

CURVES_NAME = "curves.png"
EXAMPLES_NAME = "examples.png"

_RUN_FILES = (
    run_files.RESUME_NAME,
    HISTORY_NAME,
    run_files.BEST_NAME,
    run_files.LAST_NAME,
    CURVES_NAME,
    EXAMPLES_NAME,
    run_files.CONFIG_NAME,
    run_files.DATA_NAME,
    run_files.ENVIRONMENT_NAME,
    run_files.NEAR_NAME,
    OPERATING_POINT_NAME,
    VALIDATION_PREDICTIONS_NAME,
)
_PACKAGES = ("torch", "torchvision", "yolov5", "numpy", "pillow")


def clear_run(run: Path) -> None:
    """Remove the files of an interrupted or replaced training."""
    for name in _RUN_FILES:
        (run / name).unlink(missing_ok=True)
    for path in (run / run_files.EVENTS_FOLDER).glob("events.out.tfevents.*"):
        path.unlink()
    clear_parts(run)


def clear_parts(run: Path) -> None:
    """Remove half-written files that a crash left."""
    for path in run.glob(TEMPORARY_PATTERN):
        path.unlink(missing_ok=True)


def write_facts(run: Path, config: TrainConfig, data: dict[str, Any], environment: dict[str, Any]) -> None:
    """Write `config.json`, `data.json` and `environment.json`."""
    write_json(run / run_files.CONFIG_NAME, config.model_dump(mode="json"))
    write_json(run / run_files.DATA_NAME, data)
    write_json(run / run_files.ENVIRONMENT_NAME, environment)


def finished_epochs(run: Path) -> tuple[EpochRecord, ...]:
    """The epochs of a finished training; empty when there is none, or it was interrupted."""
    if (run / run_files.RESUME_NAME).is_file() or not (
        (run / HISTORY_NAME).is_file() and (run / run_files.BEST_NAME).is_file()
    ):
        return ()
    epochs = read_history(run).epochs
    config = read_json_or_none(run / run_files.CONFIG_NAME) or {}
    may_stop_early = config.get("patience") is not None or config.get("stop_on") is not None
    return epochs if may_stop_early or len(epochs) >= int(config.get("epochs", 0)) else ()


def describe_change(run: Path, config: TrainConfig, fingerprint: str) -> str | None:
    """The first setting, or the images, in which an existing run differs from the request, in words; None when equal.

    A setting that a run of an older version does not record had its default value; a requested "auto" fits any value.
    """
    there = read_json_or_none(run / run_files.CONFIG_NAME)
    if not there:
        return f"no readable {run_files.CONFIG_NAME}"
    wanted = config.model_dump(mode="json")
    names = set(wanted)
    if there.get("weights_sha256"):
        names.discard("weights")  # the hash decides, since the file may have moved
    elif "weights_sha256" not in there:
        names.discard("weights_sha256")
    defaults = TrainConfig().model_dump(mode="json")
    for name in sorted(names):
        found = there.get(name, defaults[name])
        if isinstance(found, dict):
            found = {**defaults[name], **found}
        if found != wanted[name] and not (wanted[name] == "auto" and name in ("batch_size", "layout")):
            if isinstance(found, dict):
                part = next(key for key in wanted[name] if found.get(key) != wanted[name][key])
                return f"{name}.{part} {found.get(part)!r}, asked for {wanted[name][part]!r}"
            return f"{name} {found!r}, asked for {wanted[name]!r}"
    data = read_json_or_none(run / run_files.DATA_NAME) or {}
    return None if data.get("fingerprint") == fingerprint else "other images"


def refuse_other_machine(run: Path, environment: dict[str, Any]) -> None:
    """Refuse to resume a run where it would give other bits.

    Raises:
        SettingsError: torch, processor, number format or number of processes differ from those of its start.
    """
    there = {"processes": 1, **(read_json_or_none(run / run_files.ENVIRONMENT_NAME) or {})}
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
        SettingsError: `run` is a file; or it is a run and should hold runs; or it holds runs and should be one.
    """
    if run.exists() and not run.is_dir():
        raise SettingsError(f"{run}: a file; expected a folder to write the run into, choose another -o")
    if several and (run / run_files.CONFIG_NAME).is_file():
        raise SettingsError(f"{run}: is a run itself, so runs of several seeds cannot go into it; choose another -o")
    if not several and any(run.glob(f"seed-*/{run_files.CONFIG_NAME}")):
        raise SettingsError(f"{run}: holds runs of several seeds, so it cannot become one itself; choose another -o")


def describe_environment(config: TrainConfig, *, image_storage: str, processes: int = 1) -> dict[str, Any]:
    """The content of `environment.json`: versions, processor and choices of a run, whose config is tuned already."""
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
        "pictures": image_storage,
    }


def _version_or_none(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


_FORMAT = "sd-defects training in progress"
_VERSION = 1


@dataclass(frozen=True, eq=False)
class ResumeState:
    """The state of an interrupted training after its last complete epoch."""

    epochs: tuple[EpochRecord, ...]
    """One or more."""
    session: dict[str, Any]
    """From `EpochResult.resume`."""


def save_resume_state(path: Path, epochs: Sequence[EpochRecord], session: dict[str, Any]) -> None:
    """Write `resume.pt` atomically: tensors and plain values.

    Raises:
        OSError: the file cannot be written.
    """
    content = {"format": _FORMAT, "version": _VERSION, "epochs": [asdict(one) for one in epochs], "session": session}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes_atomically(path, buffer.getvalue())


def load_resume_state(path: Path) -> ResumeState:
    """Read `resume.pt`; no code in the file is run.

    Raises:
        CheckpointError: it is damaged, or another version wrote it.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other pickle protocols; unreadable content raises
            content = torch.load(file, map_location="cpu", weights_only=True)
        if content["format"] != _FORMAT or content["version"] != _VERSION:
            raise ValueError(f"format {content['format']!r}, version {content['version']}")
        epochs = tuple(EpochRecord(**record) for record in content["epochs"])
        if not epochs:
            raise ValueError("no epoch in it")
        return ResumeState(epochs, dict(content["session"]))
    except OSError:
        raise
    except Exception as error:  # torch raises many types for damaged or foreign files
        words = str(error).partition("\n")[0][:120] or type(error).__name__
        raise CheckpointError(
            f"{path}: the state of an interrupted training cannot be read ({words}); add --overwrite to start it anew"
        ) from error


@dataclass(frozen=True)
class TrainResult:
    """A finished run."""

    run: Path
    seed: int
    best: EpochRecord
    """The epoch whose weights are `best.pt`."""
    epochs: int
    images_per_s: float
    """Median over the epochs, without the validation; of all processes together."""
    was_there: bool
    """The run existed already, with the same config and data, and was kept."""
    resumed_after: int = 0
    """Epochs that were done before the run was resumed."""
    stopped: str = ""
    """Why it ended before its last epoch, in words; "" when it did not."""
    diagnosis: str = ""
    """Diagnosis of its loss curves, in one sentence."""


def read_result(run: Path, config: TrainConfig, *, n_classes: int) -> TrainResult:
    """The result of a finished run, trained with `config`, from its history."""
    epochs = finished_epochs(run)
    stopping = EarlyStopping(config, epochs, n_classes=n_classes, announce=False)
    return make_result(run, config, epochs, stopping, was_there=True)


def make_result(
    run: Path,
    config: TrainConfig,
    records: Sequence[EpochRecord],
    early_stopping: EarlyStopping,
    *,
    was_there: bool = False,
    resumed_after: int = 0,
) -> TrainResult:
    """The result of a run; `records` are its epochs, one or more, and `early_stopping` is updated with all of them."""
    rates = sorted(record.images_per_s for record in records)
    return TrainResult(
        run=run,
        seed=config.seed,
        best=History(tuple(records)).best_by(config.monitor),
        epochs=len(records),
        images_per_s=rates[len(rates) // 2],
        was_there=was_there,
        resumed_after=resumed_after,
        stopped=early_stopping.reason or "",
        diagnosis=early_stopping.line,
    )
