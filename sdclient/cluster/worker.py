"""What runs on a node: asks the WebUI beside it, and finishes the images there. Knows nothing of Ray."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from PIL import Image

from ..batch.finish import finish
from ..batch.preparing import RequestPreparer
from ..batch.sending import JobRunner
from ..batch.server import ServerCheck, check_server
from ..batch.servers import Server
from ..client import WebUI
from ..errors import MaskError, SDClientError, WebUIError
from ..masks import decode_mask
from ..photos import decode_photo, size_in
from ..sources import Source
from .wire import Endpoint, JobMessage, JobReply, SourceFiles, WorkerContext

_Error = TypeVar("_Error", bound=SDClientError)


def check_endpoint(
    endpoint: Endpoint, samplers: Sequence[tuple[str, str | None]], loras: Sequence[str]
) -> ServerCheck | SDClientError:
    """What a WebUI makes of a run's settings, or why it cannot be used."""
    try:
        with WebUI(endpoint.url, auth=endpoint.auth) as webui:
            facts = check_server(webui, samplers, loras)
            return ServerCheck(endpoint.name, webui.kind.product.value, facts)
    except SDClientError as error:
        return named(error, endpoint)


class Worker:
    """Asks one WebUI; for as many threads as there are calls at once.

    Args:
        context: which one, and how.
    """

    def __init__(self, context: WorkerContext) -> None:
        self._endpoint = context.endpoint
        self._check = context.check
        self._server = Server(context.endpoint.name, WebUI(context.endpoint.url, auth=context.endpoint.auth))
        self._sources = _SentSource()
        self._preparer = RequestPreparer(context.native_px, self._sources)
        self._runner = JobRunner(lambda job: None)  # the owner learns it from the error
        # A call more than there are places has its request ready when one falls free; another one finishes meanwhile.
        self._places = threading.Semaphore(context.most)
        self._stopped = threading.Event()

    def make(self, sent: JobMessage, files: SourceFiles) -> JobReply:
        """Prepare, send and finish one job."""
        try:
            with self._sources.of(files):
                ready = self._preparer.prepare(sent.job())
            with self._places:
                if self._stopped.is_set():
                    return JobReply(is_unsent=True)
                reply = self._runner.send(self._server, ready)
            return JobReply.of(finish(replace(reply, server=self._endpoint.name), self._check))
        except SDClientError as error:
            return JobReply(error=named(error, self._endpoint))

    def probe(self) -> WebUIError | None:
        """Why the WebUI does not answer; None when it does."""
        try:
            self._server.webui.samplers()
        except WebUIError as error:
            return named(error, self._endpoint)
        return None

    def stop(self) -> None:
        """Send nothing more; what is at the WebUI is still brought back."""
        self._stopped.set()

    def interrupt_jobs(self) -> None:
        """Interrupt our own jobs at the WebUI, and nobody else's; returns when none is there any more."""
        self.stop()
        self._runner.interrupt_jobs()


def named(error: _Error, endpoint: Endpoint) -> _Error:
    """The same error, saying on which node it was met: many have a WebUI at the same loopback address."""
    if isinstance(error, WebUIError):
        error.args = (f"on {endpoint.node}: {error}", *error.args[1:])
    return error


class _SentSource:
    """The pictures of the source whose files came with the call; each thread has its own."""

    def __init__(self) -> None:
        self._call = threading.local()

    @contextmanager
    def of(self, files: SourceFiles) -> Iterator[None]:
        """These are the files of this thread's job, for as long as the block lasts."""
        self._call.files = files
        try:
            yield
        finally:
            del self._call.files

    def size(self, source: Source) -> tuple[int, int]:
        """From the file's header."""
        return size_in(self._files.data, source.relative)

    def photo(self, source: Source, sha256: str) -> Image.Image:
        """Decoded from the bytes, which the owner has compared with the sha256."""
        return decode_photo(self._files.data, source.relative)

    def file_bytes(self, source: Source, sha256: str) -> bytes:
        """The bytes that came."""
        return self._files.data

    def mask(self, source: Source, sha256: str) -> Image.Image:
        """The same of its mask."""
        if self._files.mask is None:
            raise MaskError(f"{source.relative}: its images have a mask, but none was sent")
        return decode_mask(self._files.mask, f"mask of {source.relative}", self.size(source))

    @property
    def _files(self) -> SourceFiles:
        files: SourceFiles = self._call.files
        return files
