"""Sending a job so that the server never works on it twice."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ._http import Connection
from ._retry import Retrier
from .errors import (
    NotFound,
    RequestTimedOut,
    ServerLoading,
    ServerUnreachable,
    WebUIError,
)

_POLL_S = 2.0


def new_task_id() -> str:
    """A name for a job that nobody else uses, in the form the WebUI gives its own."""
    return f"task(sdclient-{uuid.uuid4().hex})"


@dataclass(frozen=True)
class JobSender:
    """Sends generating requests; sends one again only when the server is not working on it any more.

    Attributes:
        connection: the server.
        retrier: how often to try, and the clock.
    """

    connection: Connection
    retrier: Retrier = field(default_factory=Retrier)

    def send(self, path: str, payload: dict[str, Any], *, read_s: float) -> Any:
        """Send one job, named by `payload["force_task_id"]`, and give the reply's JSON.

        A failure after which the server may be working on the job is followed by questions about that job
        until it has ended; its result is then lost, and the job is sent anew.

        Raises:
            WebUIError: the last failure, when the policy gives up or nothing can be learnt about the job.
        """
        failures = 0
        while True:
            try:
                return self.connection.send("POST", path, json=payload, read_s=read_s)
            except WebUIError as error:
                failures += 1
                wait_s = self._wait_s(failures, error)
                if wait_s is None:
                    raise
                if may_have_arrived(error) and not self._wait_until_ended(payload["force_task_id"]):
                    raise
                self.retrier.sleep(wait_s)

    def _wait_s(self, failures: int, error: WebUIError) -> float | None:
        """As the policy says; a job that took too long counts as one that may be sent again."""
        if isinstance(error, RequestTimedOut) and error.phase == "read":
            again = failures < self.retrier.policy.attempts
            return self.retrier.policy.first_wait_s if again else None
        return self.retrier.policy.wait_s(failures, error, self.retrier.chance())

    def _wait_until_ended(self, task_id: str) -> bool:
        """Wait until the server no longer has the job; False when that cannot be learnt or takes too long."""
        waited_s, unsure = 0.0, 0
        while waited_s <= self.connection.timeouts.generate_s:
            try:
                state = job_state(self.connection, task_id)
            except WebUIError:
                return False
            unsure = unsure + 1 if state is JobState.UNSURE else 0
            if state is JobState.ENDED or unsure > 1:
                return True
            self.retrier.sleep(_POLL_S)
            waited_s += _POLL_S
        return False


def may_have_arrived(error: WebUIError) -> bool:
    """Whether the server may be working on the request in spite of this failure."""
    if isinstance(error, ServerUnreachable):
        return error.may_have_arrived
    if isinstance(error, RequestTimedOut):
        return error.phase == "read"
    return isinstance(error, ServerLoading)  # a gateway's 502 or 504 says nothing about what lies behind it


class JobState(Enum):
    """What a server says of a job."""

    WORKING = "the server is working, on this job or on one it cannot tell from it"
    UNSURE = "the job is in the queue, but nothing runs: between two jobs, or it was dropped without a word"
    ENDED = "the server no longer has the job"


def job_state(connection: Connection, task_id: str) -> JobState:
    """Ask a server about a job.

    That a job is "active" proves nothing: one that failed stays so until the next begins (lllyasviel/stable-diffusion-
    webui-forge, modules/api/api.py, calls `finish_task` only on success), so what counts is whether anything runs.
    Where the server never heard of the job, anything that runs counts: a WebUI without its page (`--nowebui`), SD.Next
    and an A1111 before 1.8 cannot tell jobs apart (AUTOMATIC1111/stable-diffusion-webui, pull request 14314;
    vladmandic/sdnext, modules/api/generate.py, 175e9cbe).
    """
    try:
        task = connection.send("POST", "/internal/progress", json={"id_task": task_id, "live_preview": False})
    except NotFound:
        task = {}
    if task.get("completed"):
        return JobState.ENDED
    progress = connection.send("GET", "/sdapi/v1/progress", params={"skip_current_image": "true"})
    state = progress.get("state") or {}
    if state.get("job") or state.get("job_count"):
        return JobState.WORKING
    return JobState.UNSURE if task.get("queued") else JobState.ENDED
