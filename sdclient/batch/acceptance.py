"""How many accepted images each class and source still needs, and the outcome of a run until accepted."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .strength import StrengthPolicy

EXHAUSTED_AFTER = 6
"""If a source has no accepted image after so many tries, other sources of its class make what it still needs."""
_LIKELY = 0.5
"""With at least this probability of acceptance, several images share a request; else each waits for its verdict."""

_COUNTS = ("accepted", "rejected", "failed", "in_flight")

Acceptance = Callable[[str, str], float]
"""(class, source) -> probability that the source's next image is accepted."""


@dataclass
class SourceTally:
    """Counts of one source; its name is unique within the class."""

    class_name: str
    source: str
    owed: int
    """Accepted images that the plan wants from it."""
    accepted: int = 0
    rejected: int = 0
    failed: int = 0
    """Given up by the runner: no reply, or unusable."""
    in_flight: int = 0
    """Requested and not judged yet."""

    @property
    def tried(self) -> int:
        """Images requested, whatever their result."""
        return self.accepted + self.rejected + self.failed + self.in_flight

    @property
    def still_owed(self) -> int:
        """Images still needed if all images in flight are accepted."""
        return max(0, self.owed - self.accepted - self.in_flight)

    @property
    def is_exhausted(self) -> bool:
        """Whether none of its images was accepted after `EXHAUSTED_AFTER` tries."""
        return self.accepted == 0 and self.rejected + self.failed >= EXHAUSTED_AFTER


@dataclass(frozen=True)
class ClassTally:
    """Counts of one class."""

    class_name: str
    planned: int
    accepted: int
    rejected: int
    failed: int
    in_flight: int
    budget: int
    """Maximum number of images to make."""

    @property
    def is_complete(self) -> bool:
        """Whether it has its planned number."""
        return self.accepted >= self.planned

    @property
    def budget_left(self) -> int:
        """Images that may still be made."""
        return max(0, self.budget - self.accepted - self.rejected - self.failed - self.in_flight)


class Quotas:
    """Accepted images that each source still needs.

    `owed` holds (class, source, accepted images wanted), in the order of making them; `budget` is the maximum number of
    images to make for each planned one, from 1. No lock: `AcceptanceJobs` calls it under its own.
    """

    def __init__(self, owed: Iterable[tuple[str, str, int]], budget: float) -> None:
        self._classes: dict[str, dict[str, SourceTally]] = {}
        for class_name, source, count in owed:
            self._classes.setdefault(class_name, {})[source] = SourceTally(class_name, source, count)
        self._budget = budget

    def sources(self) -> list[SourceTally]:
        """Every source, in the order given."""
        return [tally for sources in self._classes.values() for tally in sources.values()]

    def classes(self) -> list[ClassTally]:
        """Every class, in the order given."""
        return [self._class(name) for name in self._classes]

    def tally(self, class_name: str, source: str) -> SourceTally:
        """Counts of one source of the plan; the caller changes them."""
        return self._classes[class_name][source]

    def next(self, acceptance: Acceptance, most: int) -> tuple[SourceTally, int] | None:
        """The source to make images of next, and their number; None if nothing is needed now.

        A class requests no more than it needs if all images in flight are accepted, so no image is superfluous. First,
        every source makes what it still owes. What exhausted sources owe is then made by the source with the fewest
        accepted images in proportion to what it owes; among equal ones, by the one with the best acceptance.
        One request makes at most `most` images.
        """
        for name, sources in self._classes.items():
            whole = self._class(name)
            missing = min(whole.planned - whole.accepted - whole.in_flight, whole.budget_left)
            if missing <= 0:
                continue
            tally, count = _choose(list(sources.values()), acceptance)
            likely = acceptance(name, tally.source) >= _LIKELY
            return tally, min(count, missing, most) if likely else 1
        return None

    def _class(self, name: str) -> ClassTally:
        tallies = self._classes[name].values()
        planned = sum(tally.owed for tally in tallies)
        return ClassTally(
            name,
            planned,
            **{count: sum(getattr(tally, count) for tally in tallies) for count in _COUNTS},
            budget=math.ceil(round(planned * self._budget, 6)),
        )


def _choose(tallies: Sequence[SourceTally], acceptance: Acceptance) -> tuple[SourceTally, int]:
    """Which source of a class should make images, and how many."""
    not_exhausted = [tally for tally in tallies if not tally.is_exhausted]
    if not not_exhausted:  # the rest of the budget is shared evenly
        return min(tallies, key=lambda tally: tally.tried), 1
    owing = [tally for tally in not_exhausted if tally.still_owed]
    if owing:
        behind = max(owing, key=lambda tally: tally.still_owed / tally.owed)
        return behind, behind.still_owed

    def rank(tally: SourceTally) -> tuple[float, float]:
        share = (tally.accepted + tally.in_flight) / max(1, tally.owed)
        return share, -acceptance(tally.class_name, tally.source)

    return min(not_exhausted, key=rank), 1


LEARNED_KEY = "learned"
"""Key of the outcome in the manifest's run."""


@dataclass(frozen=True)
class SourceOutcome:
    """One source: counts of its images, and the strength that its next image would have."""

    source: str
    owed: int
    accepted: int
    rejected: int
    failed: int
    strength: float
    is_exhausted: bool
    """None of its images was accepted; other sources made what it owed."""


@dataclass(frozen=True)
class ClassOutcome:
    """One class and its sources."""

    class_name: str
    planned: int
    accepted: int
    rejected: int
    failed: int
    budget: int
    """Maximum number of images to make."""
    sources: tuple[SourceOutcome, ...]

    @property
    def is_complete(self) -> bool:
        """Whether it has its planned number."""
        return self.accepted >= self.planned

    @property
    def made(self) -> int:
        """Images made, accepted or not."""
        return self.accepted + self.rejected

    @property
    def strengths(self) -> tuple[float, float]:
        """Lowest and highest strength of its sources."""
        found = [source.strength for source in self.sources]
        return min(found), max(found)


def class_outcomes(quotas: Quotas, strengths: StrengthPolicy) -> list[ClassOutcome]:
    """The outcome of each class so far."""
    sources: dict[str, list[SourceOutcome]] = {}
    for one in quotas.sources():
        strength = strengths.expect(one.class_name, one.source).strength
        counts = (one.owed, one.accepted, one.rejected, one.failed)
        outcome = SourceOutcome(one.source, *counts, strength, one.is_exhausted)
        sources.setdefault(one.class_name, []).append(outcome)
    outcomes = []
    for whole in quotas.classes():
        counts = (whole.planned, whole.accepted, whole.rejected, whole.failed)
        outcomes.append(ClassOutcome(whole.class_name, *counts, whole.budget, tuple(sources[whole.class_name])))
    return outcomes


def outcomes_as_json(classes: Sequence[ClassOutcome]) -> list[dict[str, Any]]:
    """Outcomes as JSON; the key for `is_exhausted` is "is_hopeless", as in manifests that users have."""
    documents = []
    for one in classes:
        document = asdict(one) | {"is_complete": one.is_complete, "made": one.made}
        for source in document["sources"]:
            source["is_hopeless"] = source.pop("is_exhausted")
        documents.append({**document, "sources": list(document["sources"])})
    return documents
