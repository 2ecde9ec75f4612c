"""What the filters say of one image, for whoever acts on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..manifest_curation import ACCEPTED
from .reasons import Direction, fails


@dataclass(frozen=True)
class JudgedImage:
    """One image with its scores and what follows from them."""

    file: str
    """Relative to the output folder, forward slashes."""
    class_name: str
    source: str
    """Of its source, relative to the sources folder, forward slashes."""
    sha256: str
    """Of the bytes that were judged."""
    reasons: tuple[str, ...]
    """The filters' reasons, words of `reasons.REASONS`; none accepts it."""
    scores: Mapping[str, float | None]
    """Score by name (`score_names.SCORES`); None where it does not apply."""
    verdict: str
    """What holds: a person's decision where there is one, else the filters'."""

    @property
    def is_accepted(self) -> bool:
        """Whether the image counts; a person's word goes before the filters'."""
        return self.verdict == ACCEPTED

    @property
    def is_too_alike(self) -> bool:
        """Whether a filter rejects it as too alike; a higher strength may help."""
        return fails(self.reasons, Direction.TOO_ALIKE)

    @property
    def is_unreal(self) -> bool:
        """Whether a filter rejects it as unreal; a lower strength may help."""
        return fails(self.reasons, Direction.UNREAL)
