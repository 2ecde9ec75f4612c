"""What an output holds already, as far as a run that decides anew has to know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..manifest import FAILED, Manifest

SourceKey = tuple[str, str]
"""(class, source file name)."""


@dataclass(frozen=True)
class EarlierImages:
    """The images that earlier runs made or gave up."""

    last_k: Mapping[SourceKey, int]
    """The highest number given to an image of a source."""
    failed: Mapping[SourceKey, int]
    """How many of its images were given up."""
    strengths: Mapping[str, float]
    """Denoising strength by file, of those that are done."""

    @classmethod
    def of(cls, manifest: Manifest) -> EarlierImages:
        """Read it.

        Raises:
            ManifestError: the manifest is damaged.
        """
        last_k: dict[SourceKey, int] = {}
        failed: dict[SourceKey, int] = {}
        rows = manifest.query(
            "SELECT class_name, source, max(k), sum(status = ?) FROM images GROUP BY class_name, source", (FAILED,)
        )
        for class_name, source, k, failures in rows:
            key = (class_name, PurePosixPath(source).name)
            last_k[key], failed[key] = k, failures
        strengths = {record.file: float(record.asked["denoising_strength"]) for record in manifest.images()}
        return cls(last_k, failed, strengths)
