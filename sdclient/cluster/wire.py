"""What goes between the owner and the workers: plain values and the bytes of files; no path of either machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..batch.finish import Check, GeneratedFile, RejectedImage
from ..batch.jobs import Job, PlannedImage
from ..batch.parameters import ImageParameters
from ..sources import Source


@dataclass(frozen=True)
class Endpoint:
    """A WebUI, and the node that reaches it."""

    node_id: str
    """Ray's."""
    node: str
    """What people call the node."""
    host: str
    """Its address in the network."""
    url: str
    """Of the WebUI as the node reaches it, without credentials."""
    auth: tuple[str, str] | None = field(default=None, repr=False)
    """None: what the node's own SDCLIENT_AUTH says."""

    @property
    def name(self) -> str:
        """As it stands in tables and records."""
        return f"{self.url} on {self.node}"


@dataclass(frozen=True)
class WorkerContext:
    """What a worker is sent out with."""

    endpoint: Endpoint
    native_px: int
    """Side of the square the model was trained on."""
    check: Check | None
    """Finds spoiled images."""
    most: int
    """Requests at the WebUI at once."""


@dataclass(frozen=True)
class JobMessage:
    """A job without the paths of its owner."""

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
        """What a worker has to know of it."""
        source = job.source
        return cls(
            source.class_name,
            source.number,
            source.name,
            job.images[0].source_sha256,
            job.parameters,
            tuple((image.k, image.seed, image.key) for image in job.images),
        )

    def job(self) -> Job:
        """The same job on the worker's side, where its source is no file."""
        source = Source(self.class_name, self.number, Path(self.name))
        return Job(
            tuple(
                PlannedImage(source, self.source_sha256, k, seed, key, self.parameters) for k, seed, key in self.images
            )
        )


@dataclass(frozen=True)
class SourceFiles:
    """The files of one source."""

    data: bytes = field(repr=False)
    mask: bytes | None = field(default=None, repr=False)
    """None where its images have no mask."""


@dataclass(frozen=True)
class Rejected:
    """An image that is not worth keeping."""

    k: int
    reason: str


@dataclass(frozen=True)
class JobReply:
    """What became of a job."""

    images: tuple[GeneratedFile | Rejected, ...] = ()
    error: Exception | None = None
    """Why there are none."""
    is_unsent: bool = False
    """Nothing was asked of the WebUI, for the run was to stop."""

    @classmethod
    def of(cls, images: Sequence[GeneratedFile | RejectedImage]) -> JobReply:
        """A reply with images."""
        return cls(
            tuple(Rejected(one.planned.k, one.reason) if isinstance(one, RejectedImage) else one for one in images)
        )

    def images_of(self, job: Job) -> list[GeneratedFile | RejectedImage]:
        """The images of the job that was sent."""
        planned = {image.k: image for image in job.images}
        return [RejectedImage(planned[one.k], one.reason) if isinstance(one, Rejected) else one for one in self.images]
