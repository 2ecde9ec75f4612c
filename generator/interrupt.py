"""Ctrl-C during a training: the step in hand is finished and all is saved."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped a training; its message says what is saved and how to go on."""

    def __init__(self, folder: Path, steps_done: int) -> None:
        self.folder, self.steps_done = folder, steps_done
        super().__init__(f"stopped after step {steps_done}, all of it saved in {folder}; the same command goes on")


@contextmanager
def deferred_interrupts() -> Iterator[Callable[[], bool]]:
    """Within this, the first Ctrl-C only makes the given function say True; the second one stops at once.

    Off the main thread, where Python hands out no signals, nothing is changed.
    """
    asked = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        print("\nstopping after this step; Ctrl-C again stops at once", file=sys.stderr, flush=True)

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    former = signal.signal(signal.SIGINT, note)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, former)
