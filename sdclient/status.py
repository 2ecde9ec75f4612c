"""How far an output is, by class and by reason; and a second chance for what failed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .batch.store import upkeep_manifest
from .manifest import DONE, FAILED, PLANNED, Manifest
from .manifest_progress import STATUSES, count_by_class, count_failures


@dataclass(frozen=True)
class OutputStatus:
    """Counts over the rows of a manifest."""

    by_class: dict[str, dict[str, int]]
    """class -> status -> images; every status is there."""
    failures: dict[tuple[str, str], int]
    """(class, reason) -> images that were given up."""

    def total(self, status: str) -> int:
        """Images of all classes with this status."""
        return sum(counts[status] for counts in self.by_class.values())

    @property
    def is_complete(self) -> bool:
        """Whether every planned image is done."""
        return all(self.total(status) == 0 for status in STATUSES if status != DONE)


def read_status(output: Path) -> OutputStatus:
    """Count an output's rows; may be asked at any time, also while a run is at work.

    Raises:
        ManifestError: no manifest, or a damaged one.
    """
    with Manifest(output) as manifest:
        by_class, failures = count_by_class(manifest), count_failures(manifest)
    filled = {name: {status: counts[status] for status in STATUSES} for name, counts in by_class.items()}
    return OutputStatus(filled, dict(failures))


def retry_failed(output: Path) -> int:
    """Plan the images that were given up once more, with a fresh budget; gives how many.

    Raises:
        ManifestError: no manifest, or a damaged one.
        FolderInUse: a run is at work.
    """
    with upkeep_manifest(output) as manifest:
        failed = [state.file for state in manifest.states(FAILED)]
        manifest.mark(failed, PLANNED)
    return len(failed)
