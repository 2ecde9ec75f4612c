"""Decides what is made next until each class has its planned number of accepted images, or its budget ends."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath

from ..batch.jobs import Job, PlannedImage
from ..curate.judged import JudgedImage
from ..manifest import ImageRecord
from ..sources import Source
from .debts import Quotas
from .history import EarlierImages, SourceKey
from .strengths import StrengthPolicy

ImageJudge = Callable[[], Iterable[JudgedImage]]
"""Judges every image of the output, those that came since the last call too."""
MakeImages = Callable[[Source, int, int, float], Sequence[PlannedImage]]
"""(source, number of the first image, number of the last, strength) -> the images."""


class AcceptanceJobs:
    """A job source that asks for an image only while one is missing, with the strength its source has shown to need.

    Args:
        sources: those that owe images.
        quotas: what they owe; tallied by this object.
        strengths: which strength suits a source.
        history: what the output holds already.
        judge: the filters, and a person's decisions before them.
        make_images: plans images.
        batch_size: images in one request.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        quotas: Quotas,
        strengths: StrengthPolicy,
        history: EarlierImages,
        judge: ImageJudge,
        make_images: MakeImages,
        *,
        batch_size: int,
    ) -> None:
        self.quotas = quotas
        self.strengths = strengths
        self._sources = {(source.class_name, source.name): source for source in sources}
        self._judge = judge
        self._make_images = make_images
        self._batch_size = batch_size
        self._last_k = Counter(history.last_k)
        self._strength_of = dict(history.strengths)
        self._observed: set[str] = set()
        # The threads that ask the servers take jobs while the one that writes hears of results.
        self._deciding = threading.Lock()
        for key, count in history.failed.items():
            if key in self._sources:
                quotas.tally(*key).failed = count
        self._hear()

    def next_job(self) -> Job | None:
        """The next images of one source, as many as share a request."""
        with self._deciding:
            found = self.quotas.next(self._acceptance, self._batch_size)
            if found is None:
                return None
            tally, count = found
            key = (tally.class_name, tally.source)
            first = self._last_k[key] + 1
            strength = self.strengths.expect(*key).strength
            images = self._make_images(self._sources[key], first, first + count - 1, strength)
            self._last_k[key] += count
            tally.in_flight += count
            self._strength_of.update((image.file, strength) for image in images)
            return Job(tuple(images))

    def saved(self, records: Sequence[ImageRecord]) -> None:
        """Have them judged, and learn from it."""
        self._hear(records)

    def failed(self, images: Sequence[PlannedImage]) -> None:
        """They count as tries."""
        with self._deciding:
            for image in images:
                tally = self.quotas.tally(image.source.class_name, image.source.name)
                tally.in_flight -= 1
                tally.failed += 1

    def _acceptance(self, class_name: str, source: str) -> float:
        return self.strengths.expect(class_name, source).acceptance

    def _hear(self, arrived: Sequence[ImageRecord] = ()) -> None:
        """Tally all verdicts anew, for those on former images may have changed with the ones that came since."""
        judged = list(self._judge())
        accepted: Counter[SourceKey] = Counter()
        rejected: Counter[SourceKey] = Counter()
        with self._deciding:  # in one step, or an image would be neither on its way nor judged, and be asked for again
            for record in arrived:
                self.quotas.tally(record.class_name, PurePosixPath(record.source).name).in_flight -= 1
            for one in judged:
                key = (one.class_name, PurePosixPath(one.source).name)
                if key not in self._sources:
                    continue
                (accepted if one.is_accepted else rejected)[key] += 1
                if one.file not in self._observed:
                    self._observed.add(one.file)
                    self._learn(one, key)
            for tally in self.quotas.sources():
                tally.accepted = accepted[tally.class_name, tally.source]
                tally.rejected = rejected[tally.class_name, tally.source]

    def _learn(self, one: JudgedImage, key: SourceKey) -> None:
        # A person who rejects what no filter does leaves open in which direction.
        if one.is_accepted or one.is_too_alike or one.is_unreal:
            self.strengths.observe(
                *key,
                self._strength_of[one.file],
                too_alike=one.is_too_alike and not one.is_accepted,
                unreal=one.is_unreal and not one.is_accepted,
            )
