"""A manifest opened for curation by a command of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ManifestError
from ..manifest import Manifest

_LEAST_SCHEMA = 2


@contextmanager
def curation_manifest(output: Path, *, is_dry_run: bool) -> Iterator[Manifest]:
    """The manifest of an existing output, for reading alone in a dry run.

    A run may be at work there, or a review page: each change is a short transaction of its own, and what is judged is
    bound to the bytes that were seen.

    Raises:
        ManifestError: no manifest, or a damaged one; none is made by looking. One too old to be judged without
            migrating it, in a dry run.
    """
    with Manifest(output) as manifest:
        if is_dry_run:
            if manifest.version < _LEAST_SCHEMA:
                raise ManifestError(
                    f"{manifest.path}: schema version {manifest.version}, which a dry run cannot judge; "
                    "run 'sdclient curate' without --dry-run, which brings it up to date"
                )
            yield manifest
            return
    with Manifest(output, create=True) as manifest:
        yield manifest
