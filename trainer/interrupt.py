"""Ctrl-C during a training: the step in hand is finished, and what was saved is said."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from .ranks import Ranks


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped a training; its message says what is saved and how to go on."""

    def __init__(self, run: Path, epochs_done: int) -> None:
        self.run, self.epochs_done = run, epochs_done
        if epochs_done:
            kept = f"epoch 1 is saved in {run}" if epochs_done == 1 else f"epochs 1 to {epochs_done} are saved in {run}"
            super().__init__(f"stopped; {kept}, and the same command goes on after that")
        else:
            super().__init__(f"stopped before the first epoch of {run} was finished; the same command starts it again")


@contextmanager
def deferred_interrupts(ranks: Ranks = Ranks()) -> Iterator[Callable[[], bool]]:  # noqa: B008 - frozen
    """Within this, the first Ctrl-C only makes the given function say True; the second one stops at once.

    An exception between any two instructions could leave a half-made step; so the loop asks, and ends where it
    is whole. Off the main thread, where Python hands out no signals, nothing is changed.

    Of several processes the first one says so. SIGTERM counts there, too: torchrun passes on what ends it.

    Args:
        ranks: the place of this process among those that train together.
    """
    asked = threading.Event()
    several = ranks.count > 1

    def note(number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        if number == signal.SIGINT and ranks.first:
            again = "" if several else "; Ctrl-C again stops at once"
            print(f"\nstopping after this step{again}", file=sys.stderr, flush=True)

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    heeded = (signal.SIGINT, signal.SIGTERM) if several else (signal.SIGINT,)
    former = {one: signal.signal(one, note) for one in heeded}
    try:
        yield asked.is_set
    finally:
        for one, handler in former.items():
            signal.signal(one, handler)
