"""The source files that the owner holds ready for the workers: read and compared once, put into Ray's store once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import ray

from ..batch.jobs import Job
from ..batch.mask_files import SourceMasks
from ..batch.preparing import SourcesOnDisk
from .wire import SourceFiles

_BYTES_KEPT = 2**25
_FILES_KEPT = 64


class SourceCache:
    """References to the files of the last sources asked for; a job holds its own for as long as it is under way.

    Args:
        masks: where the masks are of jobs that have one.
    """

    def __init__(self, masks: SourceMasks | None) -> None:
        self._sources = SourcesOnDisk(masks)
        self._kept: OrderedDict[tuple[str, str, str], tuple[Any, int]] = OrderedDict()

    def files_of(self, job: Job) -> Any:
        """A reference to the files of a job's source.

        Raises:
            SourceError: the source is no longer the file that was planned with.
            MaskError: the same of its mask.
            OSError: it cannot be read.
        """
        inpainting = job.parameters.inpainting
        sha256 = job.images[0].source_sha256
        wanted = (job.source.relative, sha256, inpainting.mask_sha256 if inpainting is not None else "")
        found = self._kept.get(wanted)
        if found is None:
            files = self._read(job)
            found = self._kept[wanted] = ray.put(files), len(files.data) + len(files.mask or b"")
            while len(self._kept) > 1 and (len(self._kept) > _FILES_KEPT or self._bytes_kept() > _BYTES_KEPT):
                self._kept.popitem(last=False)
        self._kept.move_to_end(wanted)
        return found[0]

    def _read(self, job: Job) -> SourceFiles:
        source, inpainting = job.source, job.parameters.inpainting
        data = self._sources.file_bytes(source, job.images[0].source_sha256)
        if inpainting is None:
            return SourceFiles(data)
        return SourceFiles(data, self._sources.mask_bytes(source, inpainting.mask_sha256))

    def _bytes_kept(self) -> int:
        return sum(size for _, size in self._kept.values())
