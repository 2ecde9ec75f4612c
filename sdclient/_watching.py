"""Progress of one job while its call runs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar

from ._http import Connection
from ._images import from_base64
from .errors import BadImage, NotFound, WebUIError

_T = TypeVar("_T")


@dataclass(frozen=True)
class JobProgress:
    """How far one job is."""

    fraction: float
    """0 to 1."""
    step: int | None
    """Sampling step of the present batch, where the server says it."""
    steps: int | None
    """Sampling steps of a batch, where the server says it."""
    seconds_left: float | None
    """As the server guesses; None when it does not."""
    queued: bool
    """Whether the job still waits behind others."""
    preview: bytes | None
    """An image file's bytes, when previews were asked for and the server makes them."""


def watch(
    call: Callable[[], _T],
    connection: Connection,
    task_id: str,
    on_progress: Callable[[JobProgress], None],
    *,
    poll_s: float,
    preview: bool,
) -> _T:
    """Run `call` beside this thread and report the progress of its job in this one until it ends.

    A question about progress that fails is passed over: the call itself tells what is wrong.
    """
    with ThreadPoolExecutor(1) as pool:
        future: Future[_T] = pool.submit(call)
        last: JobProgress | None = None
        while not wait([future], timeout=poll_s).done:
            try:
                now = job_progress(connection, task_id, preview=preview)
            except WebUIError:
                continue
            if now is not None and now != last:
                on_progress(now)
                last = now
        return future.result()


def job_progress(connection: Connection, task_id: str, *, preview: bool = False) -> JobProgress | None:
    """Progress of one job; None when the server does not know it, or works on another one.

    A WebUI without its page (`--nowebui`) cannot tell jobs apart: there the running one counts as this.

    Raises:
        WebUIError: the server does not answer.
    """
    state = connection.send("GET", "/sdapi/v1/progress", params={"skip_current_image": str(not preview).lower()})
    sampling: dict[str, Any] = state.get("state") or {}
    step, steps = sampling.get("sampling_step"), sampling.get("sampling_steps")
    try:
        job = connection.send("POST", "/internal/progress", json={"id_task": task_id, "live_preview": preview})
    except NotFound:
        if not (sampling.get("job") or sampling.get("job_count")):
            return None
        left, picture = state.get("eta_relative"), state.get("current_image")
        return JobProgress(float(state.get("progress") or 0), step, steps, left, False, _picture(picture))
    if job.get("queued"):
        return JobProgress(0.0, None, None, None, True, None)
    if not job.get("active"):
        return None
    fraction = float(job.get("progress") or 0)
    return JobProgress(fraction, step, steps, job.get("eta"), False, _picture(job.get("live_preview")))


def _picture(text: str | None) -> bytes | None:
    try:
        return from_base64(text) if text else None
    except BadImage:
        return None  # a preview is a courtesy; a broken one is none
