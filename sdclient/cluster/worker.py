"""What runs on a node (generating and scoring), and the messages it is sent. It does not import Ray."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from PIL import Image

from sdcore import __version__
from sdcore.images.decode import read_image

from ..batch.job_execution import JobRunner, RejectedImage, finish_reply
from ..batch.jobs import Job, PlannedImage
from ..batch.requests import RequestPreparer
from ..batch.servers import Server, ServerCheck, check_server
from ..batch.settings import ImageParameters
from ..client.webui import WebUI
from ..errors import MaskError, MissingExtra, OutputError, SDClientError, SettingsError, UnreadableImage, WebUIError
from ..masks.mask import decode_mask
from ..output.artifacts import ImageCheck
from ..output.store import GeneratedFile
from ..sources.source import Source, image_size, read_photo

if TYPE_CHECKING:
    from ..curate.reference import ClassStatistics
    from ..curate.scores import PairJob, Scored, ScoreJob, Scorer


_Error = TypeVar("_Error", bound=SDClientError)


def check_endpoint(
    endpoint: Endpoint, samplers: Sequence[tuple[str, str | None]], loras: Sequence[str]
) -> ServerCheck | SDClientError:
    """What a WebUI would use for a run's settings, or why it cannot be used."""
    try:
        with WebUI(endpoint.url, auth=endpoint.auth) as webui:
            facts = check_server(webui, samplers, loras)
            return ServerCheck(endpoint.name, webui.kind.product.value, facts)
    except SDClientError as error:
        return named(error, endpoint)


class Worker:
    """Uses one WebUI. Ray calls its methods from several threads at once."""

    def __init__(self, context: WorkerContext) -> None:
        self._endpoint = context.endpoint
        self._check = context.check
        self._server = Server(context.endpoint.name, WebUI(context.endpoint.url, auth=context.endpoint.auth))
        self._sources = _SentSource()
        self._preparer = RequestPreparer(context.native_px, self._sources)
        self._runner = JobRunner(lambda job: None)  # the owner reacts to the error itself
        # There are more calls than places: one has its request ready when a place is free, another finishes a reply.
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
            return JobReply.of(finish_reply(replace(reply, server=self._endpoint.name), self._check))
        except SDClientError as error:
            return JobReply(error=named(error, self._endpoint))

    def probe(self) -> WebUIError | None:
        """Why the WebUI does not answer; None if it does."""
        try:
            self._server.webui.samplers()
        except WebUIError as error:
            return named(error, self._endpoint)
        return None

    def stop(self) -> None:
        """Send nothing more; jobs at the WebUI are still finished."""
        self._stopped.set()

    def interrupt_jobs(self) -> None:
        """Interrupt only our own jobs at the WebUI; returns when none is left there."""
        self.stop()
        self._runner.interrupt_jobs()


def named(error: _Error, endpoint: Endpoint) -> _Error:
    """The error with the node's name in its message, because many nodes have a WebUI at the same loopback address."""
    if isinstance(error, WebUIError):
        error.args = (f"on {endpoint.node}: {error}", *error.args[1:])
    return error


class _SentSource:
    """The images of the source whose files were sent with the call; each thread has its own."""

    def __init__(self) -> None:
        self._call = threading.local()

    @contextmanager
    def of(self, files: SourceFiles) -> Iterator[None]:
        """Use these files for this thread's job within the block."""
        self._call.files = files
        try:
            yield
        finally:
            del self._call.files

    def size(self, source: Source) -> tuple[int, int]:
        """From the file's header."""
        return image_size(self._files.data, source.relative)

    def photo(self, source: Source, sha256: str) -> Image.Image:
        """Decoded from the bytes, which the owner has compared with the sha256."""
        return read_photo(self._files.data, source.relative)

    def file_bytes(self, source: Source, sha256: str) -> bytes:
        """The bytes that were sent."""
        return self._files.data

    def mask(self, source: Source, sha256: str) -> Image.Image:
        """The mask that was sent."""
        if self._files.mask is None:
            raise MaskError(f"{source.relative}: its images have a mask, but none was sent")
        return decode_mask(self._files.mask, f"mask of {source.relative}", self.size(source))

    @property
    def _files(self) -> SourceFiles:
        files: SourceFiles = self._call.files
        return files


@dataclass(frozen=True)
class Endpoint:
    """A WebUI, and the node that reaches it."""

    node_id: str
    """Ray's id of the node."""
    node: str
    """The node's name."""
    host: str
    """The node's address in the network."""
    url: str
    """Of the WebUI from the node, without credentials."""
    auth: tuple[str, str] | None = field(default=None, repr=False)
    """None uses the node's own SDCLIENT_AUTH."""

    @property
    def name(self) -> str:
        """Name in tables and records."""
        return f"{self.url} on {self.node}"


@dataclass(frozen=True)
class WorkerContext:
    """What a worker needs at its start."""

    endpoint: Endpoint
    native_px: int
    """Side of the square the model was trained on."""
    check: ImageCheck | None
    """Finds spoiled images."""
    most: int
    """Maximum number of requests at the WebUI at once."""


@dataclass(frozen=True)
class JobMessage:
    """A job without paths of the owner's machine."""

    class_name: str
    number: int
    name: str
    """Of the source's file."""
    source_sha256: str
    parameters: ImageParameters
    images: tuple[tuple[int, int, str], ...]
    """(k, seed, key) of each."""

    @classmethod
    def of(cls, job: Job) -> JobMessage:
        """The message for a job."""
        source = job.source
        images = tuple((image.k, image.seed, image.key) for image in job.images)
        sha256 = job.images[0].source_sha256
        return cls(source.class_name, source.number, source.name, sha256, job.parameters, images)

    def job(self) -> Job:
        """The job on the worker's side, where its source is no file."""
        source = Source(self.class_name, self.number, Path(self.name))
        planned = (PlannedImage(source, self.source_sha256, *image, self.parameters) for image in self.images)
        return Job(tuple(planned))


@dataclass(frozen=True)
class SourceFiles:
    """The files of one source."""

    data: bytes = field(repr=False)
    mask: bytes | None = field(default=None, repr=False)
    """None if its images have no mask."""


@dataclass(frozen=True)
class Rejected:
    """An image that is not worth keeping."""

    k: int
    reason: str


@dataclass(frozen=True)
class JobReply:
    """The result of a job."""

    images: tuple[GeneratedFile | Rejected, ...] = ()
    error: Exception | None = None
    """Why there are none."""
    is_unsent: bool = False
    """The job was not sent to the WebUI, because the run stopped."""

    @classmethod
    def of(cls, images: Sequence[GeneratedFile | RejectedImage]) -> JobReply:
        """A reply with images."""
        sent = (Rejected(one.planned.k, one.reason) if isinstance(one, RejectedImage) else one for one in images)
        return cls(tuple(sent))

    def images_of(self, job: Job) -> list[GeneratedFile | RejectedImage]:
        """The images of the job that was sent."""
        planned = {image.k: image for image in job.images}
        return [RejectedImage(planned[one.k], one.reason) if isinstance(one, Rejected) else one for one in self.images]


_Found = TypeVar("_Found")


@dataclass(frozen=True)
class ScoringSetup:
    """What is the same for all images of a scoring."""

    name: str
    """Unique for each scoring."""
    version: str
    """Of this software on the owner's machine."""
    real: dict[str, ClassStatistics] = field(repr=False)
    """Measures of real images by class."""
    with_faces: bool


@dataclass(frozen=True)
class SentImages:
    """The files of some scoring jobs, for use on a node."""

    images: dict[str, bytes] = field(repr=False)
    """By file name in the manifest, as are the masks."""
    masks: dict[str, bytes] = field(repr=False)
    bases: dict[str, bytes] = field(default_factory=dict, repr=False)
    """By sha256; sent separately, once to each node."""

    def image(self, job: ScoreJob) -> Image.Image:
        """Decoded from the bytes, which the owner has compared with the record."""
        try:
            return read_image(self.images[job.file], job.file)
        except UnreadableImage as error:
            raise OutputError(
                f"{job.file}: cannot be decoded; run 'sdclient verify OUTPUT --repair', generate what is missing, and "
                "curate again"
            ) from error

    def base(self, job: ScoreJob) -> Image.Image:
        """Decoded base of the image."""
        return read_photo(self.bases[job.base_sha256], f"the image that {job.file} was made from")

    def mask(self, job: ScoreJob, size: tuple[int, int]) -> Image.Image:
        """Decoded mask of the image."""
        return decode_mask(self.masks[job.mask], job.mask, size)


def score_chunk(
    setup: ScoringSetup, jobs: Sequence[ScoreJob], images: SentImages, names: Sequence[str], *bases: bytes
) -> list[Scored] | SDClientError:
    """Scores of some images, in order; an error is returned, so that it arrives unchanged.

    Args:
        images: their files, without the bases.
        names: sha256 of each of `bases`.
    """
    sent = replace(images, bases=dict(zip(names, bases, strict=True)))
    return _with_scorer(setup, sent, lambda scorer: [scorer.score(job) for job in jobs])


def compare_chunk(
    setup: ScoringSetup, pairs: Sequence[PairJob], images: SentImages, names: Sequence[str], *bases: bytes
) -> list[float] | SDClientError:
    """Similarities of some pairs, in order; otherwise as `score_chunk`."""
    sent = replace(images, bases=dict(zip(names, bases, strict=True)))
    return _with_scorer(setup, sent, lambda scorer: [scorer.compare(pair) for pair in pairs])


def _with_scorer(
    setup: ScoringSetup, sent: SentImages, work: Callable[[Scorer], list[_Found]]
) -> list[_Found] | SDClientError:
    if setup.version != __version__:
        return SettingsError(
            f"a node has sd-defects {__version__}, the owner's machine {setup.version}; install the same version there"
        )
    try:
        from ..curate.scores import Scorer
    except ImportError:
        return MissingExtra("'sdclient curate --ray' on each node", "curate")
    if setup.name not in _SCORERS:
        _SCORERS.clear()
        _SCORERS[setup.name] = Scorer(sent, setup.real, with_faces=setup.with_faces)
    scorer = _SCORERS[setup.name]
    scorer.images = sent
    try:
        return work(scorer)
    except SDClientError as error:
        return error


_SCORERS: dict[str, Scorer] = {}
"""The scorer of this process, by the name of its scoring, so that real images are evaluated once."""
