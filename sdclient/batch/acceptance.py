"""What each class and source still owes, and what was learnt."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .strength import StrengthPolicy

EXHAUSTED_AFTER = 6
"""A source none of whose images was accepted after so many has what it still owes passed on to others of its class."""
_LIKELY = 0.5
"""From this probability of being accepted on, several images share a request; before, each waits for the verdict."""

Acceptance = Callable[[str, str], float]
"""(class, source) -> the probability that its next image is accepted."""


@dataclass
class SourceTally:
    """How far one source is."""

    class_name: str
    source: str
    """Unique within the class."""
    owed: int
    """Accepted images the plan wants from it."""
    accepted: int = 0
    rejected: int = 0
    failed: int = 0
    """Given up by the runner: never came, or spoiled."""
    in_flight: int = 0
    """Asked for and not judged yet."""

    @property
    def tried(self) -> int:
        """Images asked for, whatever became of them."""
        return self.accepted + self.rejected + self.failed + self.in_flight

    @property
    def still_owed(self) -> int:
        """What is missing if all that is on its way is accepted."""
        return max(0, self.owed - self.accepted - self.in_flight)

    @property
    def is_exhausted(self) -> bool:
        """Whether enough came back of it, and nothing good."""
        return self.accepted == 0 and self.rejected + self.failed >= EXHAUSTED_AFTER


@dataclass(frozen=True)
class ClassTally:
    """How far one class is."""

    class_name: str
    planned: int
    accepted: int
    rejected: int
    failed: int
    in_flight: int
    budget: int
    """Most images to make for it."""

    @property
    def is_complete(self) -> bool:
        """Whether it has its planned number."""
        return self.accepted >= self.planned

    @property
    def budget_left(self) -> int:
        """Images that may still be made."""
        return max(0, self.budget - self.accepted - self.rejected - self.failed - self.in_flight)


class Quotas:
    """What each source still owes.

    Args:
        owed: (class, source, accepted images wanted), in the order in which they are to be made.
        budget: images to make at most, for each planned one; from 1 on.
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
        """How far one source is; to be changed by whoever sends and judges.

        Raises:
            KeyError: the plan has no such source.
        """
        return self._classes[class_name][source]

    def next(self, acceptance: Acceptance, most: int) -> tuple[SourceTally, int] | None:
        """Which source is to be asked next, and for how many images; None while there is nothing to ask for.

        A class asks for no more than it misses if all that is on its way is accepted, so nothing is made in vain.
        First every source makes what it still owes; the rest of an exhausted one is passed on to the source with the
        fewest accepted for what it owes, of equal ones to the one that promises most.

        Args:
            acceptance: what each source promises.
            most: images in one request.
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
            sum(tally.accepted for tally in tallies),
            sum(tally.rejected for tally in tallies),
            sum(tally.failed for tally in tallies),
            sum(tally.in_flight for tally in tallies),
            math.ceil(round(planned * self._budget, 6)),
        )


def _choose(tallies: Sequence[SourceTally], acceptance: Acceptance) -> tuple[SourceTally, int]:
    """A source of a class that misses images, and how many it should make."""
    not_exhausted = [tally for tally in tallies if not tally.is_exhausted]
    if not not_exhausted:  # whatever is left of the budget is shared evenly
        return min(tallies, key=lambda tally: tally.tried), 1
    owing = [tally for tally in not_exhausted if tally.still_owed]
    if owing:
        behind = max(owing, key=lambda tally: tally.still_owed / tally.owed)
        return behind, behind.still_owed
    return (
        min(
            not_exhausted,
            key=lambda tally: (
                (tally.accepted + tally.in_flight) / max(1, tally.owed),
                -acceptance(tally.class_name, tally.source),
            ),
        ),
        1,
    )


LEARNED_KEY = "learned"
"""Key in the manifest's run under which it is kept."""


@dataclass(frozen=True)
class SourceOutcome:
    """One source: what became of its images, and the strength its next one would have."""

    source: str
    owed: int
    accepted: int
    rejected: int
    failed: int
    strength: float
    is_exhausted: bool
    """None of its images was accepted, so what it owed was passed on."""


@dataclass(frozen=True)
class ClassOutcome:
    """One class and its sources."""

    class_name: str
    planned: int
    accepted: int
    rejected: int
    failed: int
    budget: int
    """Most images that were to be made for it."""
    sources: tuple[SourceOutcome, ...]

    @property
    def is_complete(self) -> bool:
        """Whether it has its planned number."""
        return self.accepted >= self.planned

    @property
    def made(self) -> int:
        """Images made, good and bad."""
        return self.accepted + self.rejected

    @property
    def strengths(self) -> tuple[float, float]:
        """Least and largest strength of its sources."""
        found = [source.strength for source in self.sources]
        return min(found), max(found)


def learned(quotas: Quotas, strengths: StrengthPolicy) -> list[ClassOutcome]:
    """How far each class is and what each source was found to need."""
    sources = quotas.sources()
    return [
        _class(tally, [source for source in sources if source.class_name == tally.class_name], strengths)
        for tally in quotas.classes()
    ]


def as_json(classes: Sequence[ClassOutcome]) -> list[dict[str, Any]]:
    """The same for JSON."""
    return [
        {
            **asdict(one),
            "sources": [_source_as_json(source) for source in one.sources],
            "is_complete": one.is_complete,
            "made": one.made,
        }
        for one in classes
    ]


def _source_as_json(source: SourceOutcome) -> dict[str, Any]:
    """As it stands in manifests since the first version, where an exhausted source is called hopeless."""
    values = asdict(source)
    values["is_hopeless"] = values.pop("is_exhausted")
    return values


def _class(tally: ClassTally, sources: Sequence[SourceTally], strengths: StrengthPolicy) -> ClassOutcome:
    return ClassOutcome(
        tally.class_name,
        tally.planned,
        tally.accepted,
        tally.rejected,
        tally.failed,
        tally.budget,
        tuple(
            SourceOutcome(
                one.source,
                one.owed,
                one.accepted,
                one.rejected,
                one.failed,
                strengths.expect(one.class_name, one.source).strength,
                one.is_exhausted,
            )
            for one in sources
        ),
    )
