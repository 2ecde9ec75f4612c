"""Runs one job at a time, keeps what `/progress` shows of it, and notifies a watcher."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

from PIL import Image

from ..models.server import ProgressState

_HAND_OVER_S = 0.1
"""Longest wait for the next job to take the lock, which it does at once; enough for a busy machine."""


class JobWatcher(Protocol):
    """Is notified of generating jobs by name (`force_task_id`), in the thread that works on them."""

    def job_began(self, task: str) -> None:
        """Its turn has come."""

    def job_ended(self, task: str) -> None:
        """The server no longer works on it; its reply is not sent yet."""


class FairLock:
    """A lock that the next waiting thread gets before the former holder continues.

    The former holder next encodes images, which holds Python's global lock for milliseconds. Without the handover, a
    GPU's next job would start that much later, and a clock would count the time as waiting for the client.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._queued = 0
        self._taken = threading.Event()
        """Set once the lock is taken again; a new event for each release."""

    @property
    def queued(self) -> int:
        """Number of threads that wait for the lock."""
        return self._queued

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock and hold it for as long as the block lasts."""
        with self._counting:
            self._queued += 1
        self._lock.acquire()
        with self._counting:
            self._queued -= 1
        self._taken.set()
        try:
            yield
        finally:
            # The event has to be in place before the release: the next holder sets it.
            taken = self._taken = threading.Event()
            self._lock.release()
            if self._queued:
                taken.wait(_HAND_OVER_S)


class JobBoard:
    """The lock that requests queue on, and the server-wide state of the running job.

    A job is a request of `count` batches. Interrupting is server-wide too: it ends the running job, whichever it is.
    """

    def __init__(self, watcher: JobWatcher | None = None) -> None:
        self.tasks = TaskHistory()
        self._watcher = watcher
        self.lock = FairLock()
        """Held by the running job; all others queue on it. The benchmarks replace it by one that measures time."""
        self._changing = threading.Lock()
        self._interrupted = threading.Event()
        self.batch_stop = threading.Event()
        """Set when the running batch is to end at the step it has reached."""
        self._closed = False
        self._state = ProgressState()
        self._started_s = 0.0
        self._current_image: Image.Image | None = None
        self.preview_number = 0
        """Grows with each preview of a job, so that a page does not fetch one twice."""

    @property
    def interrupted(self) -> bool:
        """Whether the running job is to stop."""
        return self._interrupted.is_set()

    @property
    def timestamp(self) -> str:
        """When the running job began, as the WebUI writes it ("20261123170429")."""
        return self._state.job_timestamp

    @property
    def current_image(self) -> Image.Image | None:
        """The running job's last image; None before the first."""
        return self._current_image

    def show(self, image: Image.Image) -> None:
        """Make this image the preview."""
        with self._changing:
            self._current_image = image
            self.preview_number += 1

    @contextmanager
    def turn(self, *, count: int, label: str = "scripts_img2img") -> Iterator[None]:
        """Wait for the running job to end; the block then is the running job."""
        with self.lock.held():
            stamp = datetime.now().strftime("%Y%m%d%H%M%S")
            with self._changing:
                if not self._closed:  # a stopping server leaves its waiting jobs interrupted
                    self._interrupted.clear()
                    self.batch_stop.clear()
                self._started_s = time.monotonic()
                self.preview_number = 0
                self._state = ProgressState(job=label, job_count=count, job_timestamp=stamp)
            try:
                yield
            finally:
                with self._changing:
                    self._current_image = None
                    self._state = ProgressState(interrupted=self.interrupted, job_timestamp=stamp)

    @contextmanager
    def task(self, name: str) -> Iterator[None]:
        """The block works on the job of this name, within its turn."""
        self.tasks.start(name)
        try:
            if self._watcher is not None:
                self._watcher.job_began(name)
            yield
            self.tasks.finish(name)
        finally:
            if self._watcher is not None:
                self._watcher.job_ended(name)

    def begin_batch(self, number: int, *, steps: int) -> None:
        """Record that batch `number` (from 0) begins, and how many sampling steps it will take."""
        count = self._state.job_count
        label = self._state.job if count == 1 else f"Batch {number + 1} out of {count}"
        if not self.interrupted:  # a skip ends one batch, an interrupt all
            self.batch_stop.clear()
        self._update(job=label, job_no=number, sampling_step=0, sampling_steps=steps, skipped=False)

    def step(self, step: int) -> None:
        """Record how many sampling steps are done."""
        self._update(sampling_step=step)

    def interrupt(self) -> None:
        """End the running job with the images it has; without a running job nothing happens."""
        self._interrupted.set()
        self.batch_stop.set()
        self._update(interrupted=True)

    def skip(self) -> None:
        """End the running batch at the step it has reached; its images are returned, and the next batch begins."""
        self.batch_stop.set()
        self._update(skipped=True)

    def close(self) -> None:
        """Interrupt the running job and every waiting one, because the server stops."""
        self._closed = True
        self.interrupt()

    def progress(self) -> dict[str, Any]:
        """State, share done (0 to 1) and seconds left, as `/sdapi/v1/progress` gives them."""
        state = self._state
        if state.job_count == 0:
            return {"progress": 0.0, "eta_relative": 0.0, "state": state.model_dump()}
        progress = min(0.01 + _share_done(state), 1.0)
        elapsed_s = time.monotonic() - self._started_s
        return {"progress": progress, "eta_relative": elapsed_s / progress - elapsed_s, "state": state.model_dump()}

    def share_and_eta(self) -> tuple[float, float | None]:
        """Share done and seconds left of the running job, as `/internal/progress` counts them."""
        share = min(_share_done(self._state), 1.0)
        elapsed_s = time.monotonic() - self._started_s
        return share, elapsed_s / share - elapsed_s if share > 0 else None

    def _update(self, **changes: Any) -> None:
        with self._changing:
            self._state = self._state.model_copy(update=changes)


class JobSteps:
    """The steps of one batch, as the board shows them; `batch_s` is the least time of all steps together."""

    def __init__(self, board: JobBoard, steps: int, batch_s: float) -> None:
        self._board = board
        self._step_s = batch_s / max(steps, 1)

    @property
    def is_stopped(self) -> bool:
        """Whether the batch is to end at the step it has reached."""
        return self._board.batch_stop.is_set()

    def step(self, done: int) -> None:
        """Record how many steps are done; each takes its share of the least time."""
        if self._step_s > 0:
            self._board.batch_stop.wait(self._step_s)  # an interrupt or a skip ends the wait early
        self._board.step(done)

    def spend(self, steps: int) -> None:
        """Let the time of these steps pass, one step after another, so that progress grows as in a real server."""
        if self._step_s > 0:
            for done in range(1, steps + 1):
                if self.is_stopped:
                    return
                self.step(done)
        self._board.step(steps)


def _share_done(state: ProgressState) -> float:
    if state.job_count == 0:
        return 0.0
    return (state.job_no + state.sampling_step / max(state.sampling_steps, 1)) / state.job_count


class TaskHistory:
    """Names of the running job, of the waiting ones, and of the last 16 that succeeded.

    Two defects of the genuine server are reproduced: a job that failed counts as running until another one begins, and
    a job that failed before it began (a source that cannot be read) counts as waiting forever.
    """

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._current: str | None = None
        self._waiting: dict[str, None] = {}
        self._done: deque[str] = deque(maxlen=16)

    def add(self, task: str) -> None:
        """Add a job that waits for its turn."""
        with self._changing:
            self._waiting[task] = None

    def start(self, task: str) -> None:
        """The job's turn has come."""
        with self._changing:
            self._current = task
            self._waiting.pop(task, None)

    def finish(self, task: str) -> None:
        """The job has succeeded."""
        with self._changing:
            if self._current == task:
                self._current = None
            self._done.append(task)

    def waiting(self) -> list[str]:
        """The waiting jobs, in the order they came."""
        with self._changing:
            return list(self._waiting)

    def is_running(self, task: str | None) -> bool:
        """Whether this job is running. None counts as running while the server is idle, as in a WebUI."""
        return task == self._current

    def is_done(self, task: str | None) -> bool:
        """Whether it is one of the last jobs that succeeded."""
        with self._changing:
            return task in self._done
