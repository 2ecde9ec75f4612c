"""What a run learnt of its sources, as it is kept in the manifest and reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .debts import ClassTally, Quotas, SourceTally
from .strengths import StrengthPolicy

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
