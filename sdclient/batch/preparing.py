"""Jobs made ready to be sent before it is their turn; a source is read, checked and encoded once for all its jobs."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeAlias

from PIL import Image

from sdcore.files import sha256_of

from .. import sizing
from .._generation import new_task_id
from .._images import image_format
from .._png import PngFile
from ..errors import BadImage, MaskError, SourceError
from ..models import Img2ImgRequest
from ..photos import image_size, read_photo
from ..sources import Source
from .jobs import Job
from .mask_files import SourceMasks
from .masking import SourceMask, mask_source, picture_to_send
from .parameters import Inpainting
from .request import build_request, encode_source

_SOURCES_KEPT = 8
_PIXELS_KEPT = 2**25
_SIZES_KEPT = 1024


@dataclass(frozen=True)
class PreparedSource:
    """A source as it is sent."""

    picture: Image.Image
    data: bytes
    """The same as a PNG file."""
    form: sizing.SourceForm
    """What its images are brought back to."""
    mask: SourceMask | None = None
    """Where it is repainted; None is everywhere."""
    mask_data: bytes | None = None
    """The mask as it is sent, a PNG file."""


_Wanted: TypeAlias = "tuple[Source, str, tuple[int, int], Inpainting | None]"
"""Source, sha256 of its file's bytes, size to generate at, way of repainting."""


@dataclass(frozen=True)
class PreparedJob:
    """A job that needs nothing more but to be sent."""

    job: Job
    source: PreparedSource
    request: Img2ImgRequest
    task_id: str
    """The job's name at the server."""


class SourceReader(Protocol):
    """Where the pictures of sources come from."""

    def size(self, source: Source) -> tuple[int, int]:
        """(width, height) of the upright picture, px.

        Raises:
            SourceError: it cannot be read.
        """

    def photo(self, source: Source, sha256: str) -> Image.Image:
        """The upright picture, from a file whose bytes have this sha256.

        Raises:
            SourceError: it cannot be read, or is another file now.
        """

    def file_bytes(self, source: Source, sha256: str) -> bytes:
        """The whole file, which has this sha256.

        Raises:
            SourceError: it is another file now.
        """

    def mask(self, source: Source, sha256: str) -> Image.Image:
        """Its mask, mode "L", from a file whose bytes have this sha256.

        Raises:
            MaskError: there is none, or it is another file now.
        """


class SourcesOnDisk:
    """The sources and masks of a run, on this machine.

    Args:
        masks: where the masks are of sources that have one.
    """

    def __init__(self, masks: SourceMasks | None = None) -> None:
        self._masks = masks
        self._size_of_file = lru_cache(_SIZES_KEPT)(image_size)

    def size(self, source: Source) -> tuple[int, int]:
        """From the file's header."""
        return self._size_of_file(source.path)

    def photo(self, source: Source, sha256: str) -> Image.Image:
        """Read now, and compared with the file that was planned with."""
        photo = read_photo(source.path)
        if sha256_of(source.path) != sha256:
            raise source_changed(source)
        return photo

    def file_bytes(self, source: Source, sha256: str) -> bytes:
        """Read and compared, too."""
        data = source.path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise source_changed(source)
        return data

    def mask(self, source: Source, sha256: str) -> Image.Image:
        """The same of its mask."""
        return self._masks_of(source).read(source, sha256)

    def mask_bytes(self, source: Source, sha256: str) -> bytes:
        """The whole file of its mask, which has this sha256.

        Raises:
            MaskError: there is none, or it is another file now.
        """
        return self._masks_of(source).data(source, sha256)

    def _masks_of(self, source: Source) -> SourceMasks:
        if self._masks is None:
            raise MaskError(f"{source.relative}: its images have a mask, but the run was given none")
        return self._masks


def source_changed(source: Source) -> SourceError:
    """What to say of a source that is no longer the file that was planned with."""
    return SourceError(
        f"{source.path}: changed while the run was going on; put the former file back, or use a new output folder"
    )


class RequestPreparer:
    """Makes jobs ready; for many threads.

    Args:
        native_px: side of the square the model was trained on, used where a job's parameters name none.
        pictures: where the sources' pictures come from.
    """

    def __init__(self, native_px: int, pictures: SourceReader) -> None:
        self._native_px = native_px
        self._sources = pictures
        self._working = threading.Lock()
        self._kept: OrderedDict[_Wanted, PreparedSource] = OrderedDict()

    def size_of(self, job: Job) -> tuple[int, int]:
        """The (width, height) a job generates at, px.

        Raises:
            SourceError: the source cannot be read.
        """
        width_px, height_px = self._sources.size(job.source)
        native_px = job.parameters.native_px or self._native_px
        return sizing.generation_size(width_px, height_px, native_px=native_px)

    def prepare(self, job: Job) -> PreparedJob:
        """Make a job ready.

        Raises:
            SourceError: the source cannot be read, or is no longer the file that was planned with.
            MaskError: the same of its mask.
            OSError: the same, from the system.
        """
        size = self.size_of(job)
        # One at a time: the jobs of a source follow each other, and the second one finds what the first one made.
        with self._working:
            source = self._source(job, size)
        task_id = new_task_id()
        request = build_request(
            source.data,
            job.parameters,
            size=size,
            seed=job.seed,
            batch_size=len(job.images),
            task_id=task_id,
            mask=source.mask_data,
        )
        return PreparedJob(job, source, request, task_id)

    def _source(self, job: Job, size: tuple[int, int]) -> PreparedSource:
        sha256 = job.images[0].source_sha256
        inpainting = job.parameters.inpainting
        wanted = (job.source, sha256, size, inpainting)
        found = self._kept.get(wanted)
        if found is None:
            photo = self._sources.photo(job.source, sha256)
            if inpainting is None:
                picture = sizing.prepare(photo, size)
                data = self._own_file(job.source, sha256) if photo.size == size else None
                found = PreparedSource(picture, data or encode_source(picture), sizing.SourceForm.of(photo))
            else:
                found = self._masked(job, photo, inpainting, size)
            self._kept[wanted] = found
            while len(self._kept) > 1 and (len(self._kept) > _SOURCES_KEPT or self._pixels_kept() > _PIXELS_KEPT):
                self._kept.popitem(last=False)
        self._kept.move_to_end(wanted)
        return found

    def _own_file(self, source: Source, sha256: str) -> bytes | None:
        """A source's file where it is a PNG of the very pixels that are sent: nothing is encoded then."""
        data = self._sources.file_bytes(source, sha256)
        if image_format(data) != "PNG":
            return None
        try:
            return data if PngFile(data).plain_mode == sizing.SENT_MODE else None
        except BadImage:  # Pillow could read it all the same, a server may not
            return None

    def _masked(self, job: Job, photo: Image.Image, inpainting: Inpainting, size: tuple[int, int]) -> PreparedSource:
        mask = mask_source(photo, self._sources.mask(job.source, inpainting.mask_sha256), inpainting, size)
        picture = picture_to_send(photo, inpainting, size)
        form = sizing.SourceForm.of(photo)
        return PreparedSource(picture, encode_source(picture), form, mask, encode_source(mask.sent))

    def _pixels_kept(self) -> int:
        return sum(source.picture.width * source.picture.height for source in self._kept.values())
