"""The review of one output: rows for the page, image files, decisions. No HTTP here.

A request names a generated image by its file in the manifest, and one of its image files by its role (candidate, mask,
parent). Paths come from the manifest alone and stay within the output and the folders of sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ..manifest.curation import ACCEPTED, REJECTED
from ..manifest.database import Manifest
from ..manifest.review import (
    ClassCounts,
    DecisionResult,
    ReviewFilter,
    ReviewList,
    ReviewQueries,
    ReviewRow,
    SeenRevision,
)
from .image_cache import ImageCache, ServedImage, path_within

CANDIDATE, MASK, PARENT = "candidate", "mask", "parent"
_SHOWN_SETTINGS = ("denoising_strength", "sampler_name", "scheduler", "steps", "cfg_scale", "prompt")
_VERSION_DIGITS = 16


@dataclass(frozen=True)
class DecisionCounts:
    """Decisions on the page since its start; an image's last decision counts."""

    accepted: int
    rejected: int
    cleared: int
    """Removed or undone, so that the filters' verdict applies again."""


class ReviewService:
    """One output under review; use as a context manager. Without `sources` the manifest names their folder.

    Safe for several threads: each call opens its own connection to the manifest, as several programs may.

    Raises:
        ManifestError: there is no manifest, it is damaged, or it cannot be written.
    """

    def __init__(self, output: Path, *, sources: Path | None = None) -> None:
        Manifest(output).close()  # fails if there is none; opening with `create` would make one
        self.output = output
        self.images = ImageCache()
        self._given_sources = sources
        self._decided: dict[str, str] = {}
        # Kept open: otherwise each call would be the last connection and copy the write-ahead log into the database.
        self._held = Manifest(output, create=True)

    def __enter__(self) -> ReviewService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    @property
    def decision_counts(self) -> DecisionCounts:
        """Decisions since the start."""
        last = list(self._decided.values())
        return DecisionCounts(*(last.count(verdict) for verdict in (ACCEPTED, REJECTED, "")))

    def sources(self) -> Path | None:
        """The folder of numbered sources; None if neither the manifest nor the user names one."""
        with Manifest(self.output) as manifest:
            return self._folders(manifest.run())[0]

    def counts(self) -> list[ClassCounts]:
        """Images by class and verdict."""
        with self._review() as review:
            return review.counts()

    def facets(self) -> dict[str, Any]:
        """Choices of the filters: reasons with their counts, scores with their ranges."""
        with self._review() as review:
            return {"reasons": review.reasons(), "scores": review.score_ranges()}

    def find(self, wanted: ReviewFilter) -> ReviewList:
        """The files that match a filter."""
        with self._review() as review:
            return review.find(wanted)

    def rows(self, files: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of these images for the page, in order; missing images are left out."""
        with Manifest(self.output) as manifest:
            rows, folders = ReviewQueries(manifest).rows(files), self._folders(manifest.run())
        return [self._describe(row, folders) for row in rows]

    def image(self, file: str, what: str, *, small: bool = False) -> ServedImage | None:
        """One image file of a generated image, or its thumbnail; None if the image or the file does not exist.

        `what` is the file's role: CANDIDATE, MASK, or PARENT with a number, as "parent0".

        Raises:
            SourceError: not an image that can be read.
        """
        with Manifest(self.output) as manifest:
            row = next(iter(ReviewQueries(manifest).rows([file])), None)
            folders = self._folders(manifest.run())
        path = None if row is None else self._paths(row, folders).get(what)
        if path is None:
            return None
        return self.images.thumb(path) if small else self.images.full(path)

    def decide(self, seen: Sequence[SeenRevision], verdict: str, *, tab: str) -> DecisionResult:
        """Store a decision (ACCEPTED, REJECTED or "") about images as the person saw them on the page `tab`.

        An image whose file is missing or changed cannot be accepted.
        """
        refused: list[tuple[str, str]] = []
        if verdict == ACCEPTED:
            for one in seen:
                state = self.images.state(path_within(self.output, one.file), one.sha256)
                if state != "ok":
                    refused.append((one.file, f"{one.file}: the file is {state}, so it cannot be accepted"))
        names = {file for file, _ in refused}
        with Manifest(self.output, create=True) as manifest:
            done = ReviewQueries(manifest).decide([one for one in seen if one.file not in names], verdict, tab=tab)
        self._decided |= dict.fromkeys(done.written, verdict)
        return DecisionResult(done.written, (*refused, *done.conflicts))

    def undo(self, tab: str) -> tuple[str, ...]:
        """Undo the last step of a page; returns the step's files."""
        with Manifest(self.output, create=True) as manifest:
            review = ReviewQueries(manifest)
            files = review.undo(tab)
            self._decided |= {row.file: row.person for row in review.rows(files)}
        return files

    @contextmanager
    def _review(self) -> Iterator[ReviewQueries]:
        with Manifest(self.output) as manifest:
            yield ReviewQueries(manifest)

    def _folders(self, run: Mapping[str, Any]) -> tuple[Path | None, Path | None]:
        """Folders of the sources and of the other parents."""
        own = self._given_sources or (self.output / str(run["sources"]) if run.get("sources") else None)
        other = self.output / str(run["other_sources"]) if run.get("other_sources") else own
        return own, other

    def _paths(self, row: ReviewRow, folders: tuple[Path | None, Path | None]) -> dict[str, Path | None]:
        """Paths of an image's files by role, without those of an unknown folder; None for a path outside its folder."""
        own, other = folders
        paths = {CANDIDATE: path_within(self.output, row.file)}
        if row.mask:
            paths[MASK] = path_within(self.output, row.mask)
        if own is not None:
            paths[f"{PARENT}0"] = path_within(own, row.source)
        if other is not None:
            for number, parent in enumerate(row.other_parents, 1):
                paths[f"{PARENT}{number}"] = path_within(other, parent.source)
        return paths

    def _describe(self, row: ReviewRow, folders: tuple[Path | None, Path | None]) -> dict[str, Any]:
        recorded = {CANDIDATE: (row.file, row.sha256), f"{PARENT}0": (row.source, row.source_sha256)}
        if row.mask:
            recorded[MASK] = (row.mask, "")
        for number, parent in enumerate(row.other_parents, 1):
            recorded[f"{PARENT}{number}"] = (parent.source, parent.sha256)
        paths = self._paths(row, folders)
        images = {
            what: {
                "name": name,
                "state": self.images.state(paths[what], sha256) if what in paths else "missing",
                "version": (self.images.digest(path) or "")[:_VERSION_DIGITS] if (path := paths.get(what)) else "",
            }
            for what, (name, sha256) in recorded.items()
        }
        # The base keeps its pixels where the mask is black, so the candidate is compared with it.
        base = 1 if row.asked.get("base") == "other" and row.other_parents else 0
        return {
            "file": row.file,
            "class": row.class_name,
            "sha256": row.sha256,
            "revision": row.revision,
            "verdict": row.verdict,
            "person": row.person,
            "filters": row.filter_verdict,
            "reasons": list(row.reasons),
            "scores": row.scores,
            "width": row.width,
            "height": row.height,
            "pictures": images,
            "base": f"{PARENT}{base}",
            "facts": {
                "source": row.source,
                "seed": row.seed,
                **{name: row.asked[name] for name in _SHOWN_SETTINGS if row.asked.get(name) not in (None, "")},
                "engine": row.engine,
                "model": row.model,
                "created_at": row.created_at,
            },
        }
