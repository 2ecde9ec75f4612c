"""What curation reads from and writes into a manifest; in a dry run it is kept in memory and nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..manifest import DONE, Manifest
from ..manifest_curation import Curation, FilterVerdict
from ..manifest_fingerprints import Fingerprint, Fingerprints

ScoreTable = dict[str, dict[str, float | None]]
"""Scores by name, by file."""


@dataclass(frozen=True)
class ImageRow:
    """What judging needs of an image that is done."""

    file: str
    class_name: str
    source: str
    sha256: str
    created_at: str


class CurationStore:
    """Scores, fingerprints and verdicts of one output.

    Args:
        manifest: open for writing, or for reading in a dry run.
        is_dry_run: keep all in memory.
    """

    def __init__(self, manifest: Manifest, *, is_dry_run: bool) -> None:
        self._manifest = manifest
        self._curation = Curation(manifest)
        self._fingerprints = Fingerprints(manifest)
        self._is_dry_run = is_dry_run
        self._unwritten_scores: ScoreTable = {}
        self._unwritten_prints: dict[str, Fingerprint] = {}
        self._saved: dict[str, FilterVerdict] = {}

    def done(self) -> list[ImageRow]:
        """Every image that is done, ordered by file name."""
        rows = self._manifest.query(
            "SELECT file, class_name, source, sha256, created_at FROM images WHERE status = ? ORDER BY file", (DONE,)
        )
        return [ImageRow(*row) for row in rows]

    def prints(self) -> dict[str, Fingerprint]:
        """Fingerprints by file, of images whose bytes are still the same."""
        stored = self._fingerprints.all()
        if not self._unwritten_prints:
            return stored
        current = {one.file: one.sha256 for one in self.done()}
        return {**stored, **{f: one for f, one in self._unwritten_prints.items() if current.get(f) == one.sha256}}

    def scores(self, prints: Mapping[str, Fingerprint], basis: str) -> ScoreTable:
        """Scores by file, of images whose bytes are still the same and that were scored with this basis."""
        known = {**self._curation.scores(), **self._unwritten_scores}
        return {file: row for file, row in known.items() if file in prints and prints[file].basis == basis}

    def human_verdicts(self) -> dict[str, str]:
        """What a person decided, by file."""
        return {one.file: one.verdict for one in self._curation.verdicts() if one.is_by_person}

    def save_scores(self, scores: ScoreTable, prints: Mapping[str, Fingerprint]) -> None:
        """Keep scores and fingerprints of the same images."""
        if self._is_dry_run:
            self._unwritten_scores.update(scores)
            self._unwritten_prints.update(prints)
            return
        # The scores first: a fingerprint says that its image was scored.
        self._curation.set_scores((file, prints[file].sha256, row) for file, row in scores.items())
        self._fingerprints.keep(prints.values())

    def save_verdicts(self, verdicts: Iterable[FilterVerdict]) -> None:
        """Write the verdicts that are not written yet."""
        if self._is_dry_run:
            return
        by_file = {one.file: one for one in verdicts}
        new = [verdict for file, verdict in by_file.items() if self._saved.get(file) != verdict]
        if new:
            self._curation.set_filter_verdicts(new)
        self._saved = by_file
