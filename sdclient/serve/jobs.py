"""One job at a time, and what can be asked about it meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from PIL import Image

from ..models import ProgressState


class JobBoard:
    """The lock that requests queue on, and the server-wide state of the running job.

    A job is a request of `count` batches. Interrupting is server-wide too: it ends whatever runs.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._changing = threading.Lock()
        self._interrupted = threading.Event()
        self._closed = False
        self._state = ProgressState()
        self._started_s = 0.0
        self.current_image: Image.Image | None = None

    @property
    def interrupted(self) -> bool:
        """Whether the running job was told to stop."""
        return self._interrupted.is_set()

    @property
    def timestamp(self) -> str:
        """When the running job began, as the WebUI writes it ("20261123170429")."""
        return self._state.job_timestamp

    @contextmanager
    def turn(self, *, count: int) -> Iterator[None]:
        """Wait for the running job to end, then be the running job."""
        with self._turn:
            stamp = datetime.now().strftime("%Y%m%d%H%M%S")
            with self._changing:
                if not self._closed:
                    self._interrupted.clear()
                self._started_s = time.monotonic()
                self._state = ProgressState(job="scripts_img2img", job_count=count, job_timestamp=stamp)
            try:
                yield
            finally:
                self.current_image = None
                with self._changing:
                    self._state = ProgressState(interrupted=self.interrupted, job_timestamp=stamp)

    def begin_batch(self, number: int, *, steps: int) -> None:
        """Say that batch `number` (from 0) begins, and how many sampling steps it will take."""
        count = self._state.job_count
        label = self._state.job if count == 1 else f"Batch {number + 1} out of {count}"
        self._update(job=label, job_no=number, sampling_step=0, sampling_steps=steps)

    def step(self, step: int) -> None:
        """Say that so many sampling steps are done."""
        self._update(sampling_step=step)

    def pause(self, duration_s: float) -> None:
        """Wait, though no longer than until an interrupt."""
        self._interrupted.wait(duration_s)

    def interrupt(self) -> None:
        """Let the running job end with the images it has; without one nothing happens."""
        self._interrupted.set()
        self._update(interrupted=True)

    def close(self) -> None:
        """Interrupt the running job and every one that waits, because the server stops."""
        self._closed = True
        self.interrupt()

    def progress(self) -> dict[str, Any]:
        """State, share done (0 to 1) and seconds left, as `/sdapi/v1/progress` gives them."""
        state = self._state
        if state.job_count == 0:
            return {"progress": 0.0, "eta_relative": 0.0, "state": state.model_dump()}
        batches_done = state.job_no + state.sampling_step / max(state.sampling_steps, 1)
        progress = min(0.01 + batches_done / state.job_count, 1.0)
        elapsed_s = time.monotonic() - self._started_s
        return {
            "progress": progress,
            "eta_relative": elapsed_s / progress - elapsed_s,
            "state": state.model_dump(),
        }

    def _update(self, **changes: Any) -> None:
        with self._changing:
            self._state = self._state.model_copy(update=changes)
