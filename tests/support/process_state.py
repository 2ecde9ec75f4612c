"""What a test may change in its process and has to put back, so that no test depends on the one before it."""

from __future__ import annotations

import gc
import locale
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from weakref import WeakSet

SEED = 20260101
_THREADS_END_S = 5.0
_LIVES_ON = ("AnyIO worker thread", "ray_", "sdclient-testing-port")
"""Names of threads that outlive a test: the last is of a session's server whose port a test shut and opened again."""
_SET_BY_IMPORTS = {
    "PYTEST_CURRENT_TEST",
    *("LD_LIBRARY_PATH", "QT_QPA_FONTDIR", "QT_QPA_PLATFORM_PLUGIN_PATH"),
    *("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "TORCHINDUCTOR_CACHE_DIR"),
    *("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"),
}
"""Environment variables that pytest keeps up to date, and those that OpenCV, torch and `import_diffusers` set when
they are first imported."""

_of_session: WeakSet[threading.Thread] = WeakSet()


@dataclass(frozen=True)
class ProcessState:
    """Everything global that is compared; what a library has not loaded yet is None."""

    signal_handlers: dict[str, Any]
    environment: dict[str, str]
    working_directory: str
    import_path: list[str]
    locale: str
    umask: int
    logging: dict[str, Any]
    excepthooks: tuple[Any, ...]
    torch: dict[str, Any] | None
    numpy: dict[str, Any] | None


def read_process_state() -> ProcessState:
    """The state now; imports nothing heavy by itself."""
    return ProcessState(
        signal_handlers={one.name: signal.getsignal(one) for one in signal.valid_signals() if _named(one)},
        environment={name: value for name, value in os.environ.items() if name not in _SET_BY_IMPORTS},
        working_directory=str(Path.cwd()),
        import_path=list(sys.path),
        locale=locale.setlocale(locale.LC_ALL),
        umask=_umask(),
        logging=_logging(),
        excepthooks=(sys.excepthook, threading.excepthook),
        torch=_torch(),
        numpy=_numpy(),
    )


def differences(before: ProcessState, after: ProcessState) -> list[str]:
    """One line for each thing that differs."""
    lines: list[str] = []
    for field in fields(ProcessState):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old is None or old == new:
            continue
        if isinstance(old, dict):
            lines += [
                f"{field.name} {key}: {old.get(key)!r} -> {new.get(key)!r}"
                for key in sorted({*old, *new})
                if old.get(key) != new.get(key)
            ]
        else:
            lines.append(f"{field.name}: {old!r} -> {new!r}")
    return lines


def put_back(before: ProcessState) -> None:
    """Restore what the next test could stumble over, so that only the test that left it fails."""
    for name, handler in before.signal_handlers.items():
        if handler is not None and signal.getsignal(signal.Signals[name]) != handler:
            signal.signal(signal.Signals[name], handler)
    for name in set(os.environ) - set(before.environment) - _SET_BY_IMPORTS:
        del os.environ[name]
    os.environ.update(before.environment)
    os.chdir(before.working_directory)
    sys.path[:] = before.import_path
    os.umask(before.umask)
    torch = sys.modules.get("torch")
    if torch is not None and before.torch is not None:
        torch.set_default_dtype(before.torch["default dtype"])
        torch.use_deterministic_algorithms(before.torch["deterministic"])
        torch.set_num_threads(before.torch["threads"])
        torch.set_grad_enabled(before.torch["grad"])
        torch.backends.cudnn.benchmark = before.torch["cudnn.benchmark"]
        torch.backends.cudnn.deterministic = before.torch["cudnn.deterministic"]


def threads_left(before: set[threading.Thread]) -> list[str]:
    """Names of threads that were not there before and do not end within a few seconds."""
    end = time.monotonic() + _THREADS_END_S
    left = [one for one in threading.enumerate() if one not in before and not _may_live_on(one)]
    if left:
        gc.collect()  # a run that a test left half done ends its threads when it is collected
    for one in left:
        one.join(max(0.0, end - time.monotonic()))
    return [f"thread {one.name} ({type(one).__name__})" for one in left if one.is_alive()]


@contextmanager
def threads_of_session() -> Iterator[None]:
    """Threads that begin within this block belong to a fixture of the session, though a test asked for them."""
    before = set(threading.enumerate())
    try:
        yield
    finally:
        _of_session.update(set(threading.enumerate()) - before)


def seed_random_numbers() -> None:
    """Begin each test with the same random numbers, whichever ran before it."""
    random.seed(SEED)
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "random"):
        numpy.random.seed(SEED)
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "manual_seed"):
        torch.manual_seed(SEED)


def _may_live_on(thread: threading.Thread) -> bool:
    # tqdm watches its bars from one thread for as long as the process lives. Ray's threads belong to the session's
    # cluster, and AnyIO's idle workers to the event loop of a server, whose own thread is looked for.
    return thread in _of_session or type(thread).__name__ == "TMonitor" or thread.name.startswith(_LIVES_ON)


def _named(number: Any) -> bool:
    return isinstance(number, signal.Signals) and number.name not in ("SIGKILL", "SIGSTOP")


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _logging() -> dict[str, Any]:
    """Handlers of the root and of our own packages; a library sets up its own once, when it is first imported."""
    names = ("", "sdcore", "sdclient", "trainer", "generator")
    loggers = {name: logging.getLogger(name) for name in names}
    # pytest's own handlers are there in one phase of a test and not in another.
    found: dict[str, Any] = {
        f"handlers of {name or 'root'}": [
            one for one in logger.handlers if not type(one).__module__.startswith("_pytest.")
        ]
        for name, logger in loggers.items()
    }
    found |= {f"level of {name}": logger.level for name, logger in loggers.items() if name}
    found["disabled below"] = logging.root.manager.disable
    return found


def _torch() -> dict[str, Any] | None:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_num_threads"):
        return None
    values: dict[str, Callable[[], Any]] = {
        "default dtype": torch.get_default_dtype,
        "deterministic": torch.are_deterministic_algorithms_enabled,
        "threads": torch.get_num_threads,
        "grad": torch.is_grad_enabled,
        "inference": torch.is_inference_mode_enabled,
        "cudnn.benchmark": lambda: torch.backends.cudnn.benchmark,
        "cudnn.deterministic": lambda: torch.backends.cudnn.deterministic,
        "default device": torch.get_default_device,
        "process group": lambda: torch.distributed.is_available() and torch.distributed.is_initialized(),
        "anomaly detection": torch.is_anomaly_enabled,
    }
    return {name: read() for name, read in values.items()}


def _numpy() -> dict[str, Any] | None:
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "geterr"):
        return None
    return {"errors": numpy.geterr()}
