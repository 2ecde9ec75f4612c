"""A manifest opened for curation by a command of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..manifest import Manifest


@contextmanager
def curation_manifest(output: Path, *, is_dry_run: bool) -> Iterator[Manifest]:
    """The manifest of an existing output, for reading alone in a dry run.

    A run may be at work there, or a review page: each change is a short transaction of its own, and what is judged is
    bound to the bytes that were seen.

    Raises:
        ManifestError: no manifest, or a damaged one; none is made by looking.
    """
    with Manifest(output) as manifest:
        if is_dry_run:
            yield manifest
            return
    with Manifest(output, create=True) as manifest:
        yield manifest
