"""Ready jobs sent to their server, and our own interrupted there when asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from ..errors import IncompleteReply, ServerOutOfMemory, WebUIError
from .finish import ServerReply
from .jobs import Job
from .preparing import PreparedJob
from .servers import Server

_INTERRUPT_AGAIN_S = 0.25


class JobRunner:
    """Sends jobs, and knows which are at their server; for many threads.

    Args:
        too_large: told at once of a job that a server's memory did not take.
    """

    def __init__(self, too_large: Callable[[Job], object]) -> None:
        self._too_large = too_large
        self._running: dict[str, Server] = {}
        self._interrupted: set[str] = set()

    def send(self, server: Server, prepared: PreparedJob) -> ServerReply:
        """Send a job and wait for the answer.

        Raises:
            IncompleteReply: its jobs were interrupted meanwhile, and what was half done must not be kept.
            WebUIError: as the client.
        """
        self._running[prepared.task_id] = server
        try:
            result = server.webui.img2img(prepared.request)
        except ServerOutOfMemory:
            self._too_large(prepared.job)
            raise
        finally:
            del self._running[prepared.task_id]
        if server.name in self._interrupted:
            asked = len(prepared.job.images)
            raise IncompleteReply(
                f"{server.name}: interrupted; its {asked} images may be unfinished", asked=asked, got=0
            )
        return ServerReply(prepared.job, server.webui.url, prepared.source, result)

    def interrupt_jobs(self) -> None:
        """Interrupt our own jobs at the servers, and nobody else's; returns when none is there any more."""
        while self._running:
            for task_id, server in list(self._running.items()):
                # An interrupted batch comes whole but unfinished, so nothing that comes from now on may be kept.
                before = server.name in self._interrupted
                self._interrupted.add(server.name)
                with suppress(WebUIError):
                    if not server.webui.interrupt_job(task_id) and not before:
                        self._interrupted.discard(server.name)
            time.sleep(_INTERRUPT_AGAIN_S)  # another of ours may have waited behind it
