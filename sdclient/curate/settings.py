"""What a person may choose about curation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SettingsError
from .decide import UserThresholds
from .reasons import REASONS


@dataclass(frozen=True)
class CurationSettings:
    """Files to compare with, limits, and filters to leave out.

    Raises:
        SettingsError: an unknown word in `skip`, features without those of real images or the other way round, or
            predictions of real images alone.
    """

    real: Path | None = None
    """Folder of class folders of real images; the run's numbered sources by default."""
    sources: Path | None = None
    """Where the numbered sources are now; where the run found them by default."""
    predictions: Path | None = None
    """What a classifier says of the output's images."""
    features: Path | None = None
    """Its features of the output's images."""
    real_predictions: Path | None = None
    """What it says of real images; the limits of its opinion are then learnt from these."""
    real_features: Path | None = None
    """Its features of real images."""
    limits: UserThresholds = field(default_factory=UserThresholds)
    skip: frozenset[str] = frozenset()
    """Reasons that are not applied."""
    normal: str = "Normal"
    """Name of the class of good boards."""
    workers: int | None = None
    """Processes for scoring; by default what the machine has, four at most."""

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        unknown = sorted(self.skip - REASONS.keys())
        if unknown:
            raise SettingsError(f"skip-filter {unknown[0]!r}: no such filter; expected one of {', '.join(REASONS)}")
        if self.real_predictions is not None and self.predictions is None:
            raise SettingsError("predictions of real images alone judge nothing; give --predictions of the output, too")
        if (self.features is None) != (self.real_features is None):
            raise SettingsError(
                "features of the output and of real images belong together; give both --features and --real-features, "
                "each made with 'trainer predict RUN FOLDER --features FILE'"
            )
