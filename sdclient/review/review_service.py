"""What the review page does with one output: rows for the page, images by name, decisions. No HTTP here.

A request names an image as the manifest does, and its images by what they are to it; paths come from the manifest
alone and stay within the output and the folders of sources.
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
_ASKED_SHOWN = ("denoising_strength", "sampler_name", "scheduler", "steps", "cfg_scale", "prompt")
_ETAG_SHOWN = 16


@dataclass(frozen=True)
class DecisionCounts:
    """What was decided on the page since it was started, each image by its last decision."""

    accepted: int
    rejected: int
    cleared: int
    """Given back to the filters, or undone."""


class ReviewService:
    """One output under review; use as a context manager.

    Safe for several threads: each question opens the manifest for itself, as several programs may.

    Args:
        output: the output folder; an older manifest is migrated.
        sources: where the numbered sources are; None takes the folder that the manifest names.

    Raises:
        ManifestError: no manifest there, a damaged one, or one that cannot be written.
    """

    def __init__(self, output: Path, *, sources: Path | None = None) -> None:
        Manifest(output).close()  # so that none is made by looking
        self.output = output
        self.pictures = ImageCache()
        self._given_sources = sources
        self._decided: dict[str, str] = {}
        # Held open all the while, so that the last of the others to close does not fold the journal each time.
        self._held = Manifest(output, create=True)

    def __enter__(self) -> ReviewService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    @property
    def made(self) -> DecisionCounts:
        """What was decided since the start."""
        last = list(self._decided.values())
        return DecisionCounts(last.count(ACCEPTED), last.count(REJECTED), last.count(""))

    def sources(self) -> Path | None:
        """The folder of numbered sources; None where neither the manifest nor the user names one."""
        with Manifest(self.output) as manifest:
            return self._folders(manifest.run())[0]

    def counts(self) -> list[ClassCounts]:
        """Images by class and verdict."""
        with self._review() as review:
            return review.counts()

    def facets(self) -> dict[str, Any]:
        """What can be filtered by: reasons with their counts, scores with their ranges."""
        with self._review() as review:
            return {"reasons": review.reasons(), "scores": review.score_ranges()}

    def find(self, wanted: ReviewFilter) -> ReviewList:
        """Files of a filter."""
        with self._review() as review:
            return review.find(wanted)

    def rows(self, files: Sequence[str]) -> list[dict[str, Any]]:
        """What the page shows of these images, in their order; those that are gone are left out."""
        with Manifest(self.output) as manifest:
            rows, folders = ReviewQueries(manifest).rows(files), self._folders(manifest.run())
        return [self._told(row, folders) for row in rows]

    def picture(self, file: str, what: str, *, small: bool = False) -> ServedImage | None:
        """An image of an image; None where there is no such image or its file is not there.

        Args:
            file: the image as the manifest names it.
            what: CANDIDATE, MASK, or PARENT with its number, as "parent0".
            small: within the size of a thumbnail.

        Raises:
            SourceError: not an image that can be read.
        """
        with Manifest(self.output) as manifest:
            row = next(iter(ReviewQueries(manifest).rows([file])), None)
            folders = self._folders(manifest.run())
        path = None if row is None else self._paths(row, folders).get(what)
        if path is None:
            return None
        return self.pictures.thumb(path) if small else self.pictures.full(path)

    def decide(self, seen: Sequence[SeenRevision], verdict: str, *, tab: str) -> DecisionResult:
        """Write a decision about images; one whose file is missing or changed cannot be accepted.

        Args:
            seen: the images as the person saw them.
            verdict: ACCEPTED, REJECTED or "".
            tab: which page.
        """
        refused: list[tuple[str, str]] = []
        if verdict == ACCEPTED:
            for one in seen:
                state = self.pictures.state(path_within(self.output, one.file), one.sha256)
                if state != "ok":
                    refused.append((one.file, f"{one.file}: the file is {state}, so it cannot be accepted"))
        names = {file for file, _ in refused}
        with Manifest(self.output, create=True) as manifest:
            done = ReviewQueries(manifest).decide([one for one in seen if one.file not in names], verdict, tab=tab)
        self._decided |= dict.fromkeys(done.written, verdict)
        return DecisionResult(done.written, (*refused, *done.conflicts))

    def undo(self, tab: str) -> tuple[str, ...]:
        """Take back the last step of a page; gives the files."""
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
        """Of the sources, and of the further parents."""
        own = self._given_sources or (self.output / str(run["sources"]) if run.get("sources") else None)
        other = self.output / str(run["other_sources"]) if run.get("other_sources") else own
        return own, other

    def _paths(self, row: ReviewRow, folders: tuple[Path | None, Path | None]) -> dict[str, Path | None]:
        """Where the images of an image are, by what they are to it.

        One whose folder is not known is left out; None stands for a path that leads out of its folder.
        """
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

    def _told(self, row: ReviewRow, folders: tuple[Path | None, Path | None]) -> dict[str, Any]:
        recorded = {CANDIDATE: (row.file, row.sha256), f"{PARENT}0": (row.source, row.source_sha256)}
        if row.mask:
            recorded[MASK] = (row.mask, "")
        for number, parent in enumerate(row.other_parents, 1):
            recorded[f"{PARENT}{number}"] = (parent.source, parent.sha256)
        paths = self._paths(row, folders)
        pictures = {
            what: {
                "name": name,
                "state": self.pictures.state(paths[what], sha256) if what in paths else "missing",
                "version": (self.pictures.digest(path) or "")[:_ETAG_SHOWN] if (path := paths.get(what)) else "",
            }
            for what, (name, sha256) in recorded.items()
        }
        # What stays where the mask is black, and so what the candidate is compared with.
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
            "pictures": pictures,
            "base": f"{PARENT}{base}",
            "facts": {
                "source": row.source,
                "seed": row.seed,
                **{name: row.asked[name] for name in _ASKED_SHOWN if row.asked.get(name) not in (None, "")},
                "engine": row.engine,
                "model": row.model,
                "created_at": row.created_at,
            },
        }
