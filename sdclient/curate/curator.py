"""Scores new images, judges all of them, and finds near duplicates."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

from sdcore.images.folders import natural_key
from sdcore.images.hashes import close_pairs
from sdcore.progress import ProgressTracker, no_progress

from ..manifest import curation
from ..manifest.database import Manifest, Parent
from .classifier_opinion import ClassifierOpinions
from .reasons import FACE, NEAR_DUPLICATE, REASONS, JudgedImage
from .reference import ClassStatistics, ReferenceStatistics
from .scores import PairJob, ScoreJob, ScoringFactory, ScoringPool, default_workers, recorded_bytes, scoring
from .thresholds import CurationSettings, Thresholds, duplicate_threshold, rejection_reasons

RUN_KEY = "curation"
"""Key of the manifest's run table that keeps the applied limits."""

_LEAST_LIKENESS = 0.6
"""Pairs of a lower similarity are not kept; no limit is so low."""
_BATCH = 128


class Curator:
    """The filters of one output, whose manifest is open; a dry run only reads it and writes nothing.

    The first call reads the real images, or their measures from the cache; later calls are cheap. Images are scored on
    this machine, unless `open_scoring` gives another place.
    """

    def __init__(
        self,
        output: Path,
        manifest: Manifest,
        settings: CurationSettings | None = None,
        *,
        is_dry_run: bool = False,
        open_scoring: ScoringFactory | None = None,
    ) -> None:
        self._output = output
        self._manifest = manifest
        self._settings = settings or CurationSettings()
        self._is_dry_run = is_dry_run
        self._run = manifest.run()
        self._store = curation.CurationStore(manifest, is_dry_run=is_dry_run)
        self._real = ReferenceStatistics(output, self._run, self._settings, is_dry_run=is_dry_run)
        self._opinions = ClassifierOpinions(output, self._settings)
        self._open_scoring = open_scoring or self._scoring_here

    def check_files(self, track: ProgressTracker = no_progress) -> None:
        """Check the bytes of every image that is done.

        Raises:
            OutputError: one is missing or was changed; the message names it.
        """
        for one in track(self._store.done(), "check files"):
            recorded_bytes(self._output, one.file, one.sha256)

    def score_missing(self, track: ProgressTracker = no_progress) -> int:
        """Score every image whose bytes have no scores yet; gives their number.

        Scores are saved batch by batch, so that an interrupted call loses little.

        Raises:
            OutputError: an image or its base is missing or was changed.
            SourceError: no real images, or one that cannot be read.
            MissingExtra: faces are to be looked for, and the detector is not installed.
        """
        basis, prints = self._real.basis, self._store.prints()
        scored = self._store.scores(prints, basis)
        done = self._store.done()
        if all(one.file in scored and prints[one.file].twins is not None for one in done):
            return 0
        jobs = {job.file: job for job in self._score_jobs()}
        missing = [job for file, job in jobs.items() if file not in scored]
        missing.sort(key=lambda job: (job.base, natural_key(job.file)))
        with self._open_scoring(self._real.measures(track), FACE not in self._settings.skip, len(missing)) as pool:
            for batch in _batches(_tracked(pool.score(missing), len(missing), track, "score")):
                former = (prints.get(job.file) for job, _ in batch)
                self._store.save_scores(
                    {job.file: scores.scores for job, scores in batch},
                    {
                        job.file: curation.Fingerprint(
                            job.file, job.sha256, basis, scores.hash, one.twins if one else None
                        )
                        for (job, scores), one in zip(batch, former, strict=True)
                    },
                )
            self._compare_new_images(pool, jobs, track)
        return len(missing)

    def judge(self, track: ProgressTracker = no_progress) -> list[JudgedImage]:
        """Judge every image that has scores, from these alone, and write the verdicts of the filters.

        Of two near duplicates the one made first stays. A person's decision takes precedence over the filters, so an
        image is never a duplicate of one that a person rejected.

        Raises:
            SettingsError: the predictions or features cannot be used.
            SourceError: no real images, or one that cannot be read.
        """
        done, prints = self._store.done(), self._store.prints()
        scores = self._with_opinions(self._store.scores(prints, self._real.basis), prints, done)
        by_person = self._store.human_verdicts()
        by_class: dict[str, list[curation.ImageRow]] = {}
        for row in done:
            if row.file in scores:
                by_class.setdefault(row.class_name, []).append(row)
        limits = self.limits(track)
        judged: list[JudgedImage] = []
        for name, images in by_class.items():
            judged += self._judge_class(images, scores, prints, limits[name], by_person)
        self._store.save_verdicts(curation.FilterVerdict(one.file, one.sha256, one.reasons) for one in judged)
        return judged

    def limits(self, track: ProgressTracker = no_progress) -> dict[str, Thresholds]:
        """Thresholds of every class of the output, learned or given; also saved in the manifest's run table.

        Raises:
            SourceError: no real images, or one that cannot be read.
            SettingsError: the features of real images cannot be used.
        """
        classes = sorted({one.class_name for one in self._store.done()}, key=natural_key)
        found = self._real.limits(classes, self._opinions.limits(), track)
        chosen = {
            "real": str(self._real.folder),
            "basis": self._real.basis,
            "skip": sorted(self._settings.skip),
            "limits": {name: asdict(limits) for name, limits in found.items()},
        }
        # JSON stores a tuple as a list, so only what it gives back can equal the stored value.
        as_stored = json.loads(json.dumps(chosen))
        if not self._is_dry_run and self._run.get(RUN_KEY) != as_stored:
            self._manifest.set_run({RUN_KEY: as_stored})
            self._run[RUN_KEY] = as_stored
        return found

    def _judge_class(
        self,
        images: Sequence[curation.ImageRow],
        scores: curation.ScoreTable,
        prints: Mapping[str, curation.Fingerprint],
        limits: Thresholds,
        by_person: Mapping[str, str],
    ) -> Iterator[JudgedImage]:
        skip, normal = self._settings.skip, self._settings.normal
        own = {
            one.file: rejection_reasons(scores[one.file], limits, is_normal=one.class_name == normal, skip=skip)
            for one in images
        }
        found: set[str] = set()
        if NEAR_DUPLICATE not in skip:
            rejected = {file for file, reasons in own.items() if reasons}

            def limit_of(one: str, other: str) -> float:
                return duplicate_threshold(scores[one], limits, scores.get(other, {}))

            found = duplicates(images, rejected, prints, limit_of, by_person)
        for one in images:
            reasons = {*own[one.file], *((NEAR_DUPLICATE,) if one.file in found else ())}
            ordered = tuple(word for word in REASONS if word in reasons)
            verdict = by_person.get(one.file, curation.REJECTED if ordered else curation.ACCEPTED)
            yield JudgedImage(one.file, one.class_name, one.source, one.sha256, ordered, scores[one.file], verdict)

    def _compare_new_images(self, pool: ScoringPool, jobs: Mapping[str, ScoreJob], track: ProgressTracker) -> None:
        """Compare new images with those of their class whose hash is close."""
        prints = self._store.prints()
        pairs = pairs_to_compare(prints, {file: job.class_name for file, job in jobs.items()})
        twins: dict[str, list[curation.NearDuplicate]] = {
            file: [] for file, one in prints.items() if one.twins is None and file in jobs
        }
        compared = pool.compare([PairJob(jobs[one], jobs[other]) for one, other in pairs])
        for pair, likeness in _tracked(compared, len(pairs), track, "compare"):
            if likeness >= _LEAST_LIKENESS:
                twins[pair.one.file].append(
                    curation.NearDuplicate(pair.other.file, pair.other.sha256, round(likeness, 6))
                )
        self._store.save_scores({}, {file: replace(prints[file], twins=tuple(found)) for file, found in twins.items()})

    def _with_opinions(
        self, scores: curation.ScoreTable, prints: Mapping[str, curation.Fingerprint], done: Sequence[curation.ImageRow]
    ) -> curation.ScoreTable:
        """Scores with the classifier's opinion; a changed opinion is saved, too."""
        opinions = self._opinions.scores(done)
        merged = {file: {**scores[file], **opinion} for file, opinion in opinions.items() if file in scores}
        changed = {file: row for file, row in merged.items() if row != scores[file]}
        if changed:
            self._store.save_scores(changed, {file: prints[file] for file in changed})
        return {**scores, **changed}

    def _scoring_here(
        self, real: dict[str, ClassStatistics], with_faces: bool, images: int
    ) -> AbstractContextManager[ScoringPool]:
        workers = self._settings.workers or default_workers()
        return scoring(self._output, real, with_faces=with_faces, images=images, workers=workers)

    def _score_jobs(self) -> Iterator[ScoreJob]:
        """A job for every image that is done."""
        sources = self._settings.sources or Path(str(self._run.get("sources", "")))
        others = Path(str(self._run.get("other_sources", "")))
        for record in self._manifest.images():
            base, folder = Parent(record.source, record.source_sha256), sources
            if record.asked.get("base") == "other" and record.other_parents:
                base, folder = record.other_parents[0], others
            yield ScoreJob(
                record.file, record.sha256, record.class_name, str(folder / base.source), base.sha256, record.mask
            )


def _tracked(chunks: Iterator[Sequence[Any]], total: int, track: ProgressTracker, title: str) -> Iterator[Any]:
    """The items of the chunks one by one, with progress."""
    items = (item for chunk in chunks for item in chunk)
    for _ in track(range(total), title):
        yield next(items)


def _batches(items: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(items, _BATCH)):
        yield batch


HASH_RADIUS = 40
"""Bits of 256 by which hashes of near duplicates may differ; a shift by one pixel changes 25, sometimes 40."""
MOST_TWINS = 16
"""Pairs compared for each image, the nearest by hash; among many copies of an image that finds one of them."""

Pair = tuple[str, str]
"""(file, earlier file)."""


def pairs_to_compare(prints: Mapping[str, curation.Fingerprint], class_of: Mapping[str, str]) -> list[Pair]:
    """Pairs within a class whose hashes are close and of which at least one image was never compared.

    Files that `class_of` does not have are skipped.
    """
    by_class: dict[str, list[str]] = {}
    for file in prints:
        if file in class_of:
            by_class.setdefault(class_of[file], []).append(file)
    pairs: list[Pair] = []
    for files in by_class.values():
        former = [file for file in files if prints[file].twins is not None]
        ordered = [*former, *(file for file in files if prints[file].twins is None)]
        hashes = [prints[file].hash for file in ordered]
        close = close_pairs(hashes, radius=HASH_RADIUS, most=MOST_TWINS, first_new=len(former))
        pairs.extend((ordered[pair.later], ordered[pair.earlier]) for pair in close)
    return pairs


def duplicates(
    images: Sequence[curation.ImageRow],
    rejected: Set[str],
    prints: Mapping[str, curation.Fingerprint],
    limit_of: Callable[[str, str], float],
    by_person: Mapping[str, str],
) -> set[str]:
    """Files of a class that look like an accepted image that was made before, or like one that a person accepted.

    `rejected` files have other reasons already; no image is a duplicate of these. `limit_of` gives the similarity from
    which two files are duplicates. Decisions of a person take precedence.
    """
    alike: dict[str, dict[str, float]] = {}
    for one in images:
        for twin in (prints[one.file].twins or ()) if one.file in prints else ():
            alike.setdefault(one.file, {})[twin.file] = twin.likeness
            alike.setdefault(twin.file, {})[one.file] = twin.likeness
    accepted = {file for file, verdict in by_person.items() if verdict == curation.ACCEPTED}
    found = set()
    for one in sorted(images, key=lambda image: (image.created_at, natural_key(image.file))):
        if by_person.get(one.file) == curation.ACCEPTED:
            continue
        near = alike.get(one.file, {}).items()
        if any(other in accepted and likeness >= limit_of(one.file, other) for other, likeness in near):
            found.add(one.file)
        elif one.file not in rejected and one.file not in by_person:
            accepted.add(one.file)
    return found
