"""Payloads about one's own job: the calls the WebUI's page uses, served where the page is (not with --nowebui).

They are left out of the server's OpenAPI; read from AUTOMATIC1111 1.10.1 (modules/progress.py) and its replies.
"""

from __future__ import annotations

from ._base import ReceivedImage, Reply, Request


class InternalProgressRequest(Request):
    """A question about one job, for `/internal/progress`."""

    id_task: str
    """The job's name, the `force_task_id` it was sent with."""
    id_live_preview: int = -1
    """Number of the preview that is already at hand, so that it is not sent again; -1 none. Server default -1."""
    live_preview: bool = True
    """Send a preview at all. Server default true."""


class InternalProgress(Reply):
    """Reply of `/internal/progress`. A job the server never heard of is neither active, queued nor completed."""

    active: bool
    """Being worked on now."""
    queued: bool
    """Waiting for its turn."""
    completed: bool
    """Ended, well or not; the server remembers the last 16 jobs."""
    progress: float | None = None
    """0 to 1; None unless active."""
    eta: float | None = None
    """Seconds left, as the server guesses; None unless active."""
    live_preview: ReceivedImage | None = None
    """The preview as an image file's bytes; None when it is the one asked about, or previews are off."""
    id_live_preview: int | None = None
    """The preview's number, for the next question."""
    textinfo: str | None = None
    """Words about the job: "Queued...", "Waiting..."."""


class PendingTasks(Reply):
    """Reply of `/internal/pending-tasks`."""

    size: int
    """How many jobs wait."""
    tasks: tuple[str, ...] = ()
    """Their names."""
