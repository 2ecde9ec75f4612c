"""The real images that an output is compared with: where they are, what was measured of them, the limits they teach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from sdcore.files import printable
from sdcore.progress import ProgressTracker, no_progress

from ..errors import SourceError
from .decide import Thresholds
from .learnt import ReferenceModel
from .opinion import OpinionLimits
from .real import ClassStatistics, ReferenceFolder, keep_measures, load_measures
from .settings import CurationSettings

SCORES_VERSION = 1
"""Grows when a score comes to mean something else, so that it is computed anew."""


class ReferenceStatistics:
    """Real images of all classes; read when first asked, or taken from what was measured before.

    Args:
        output: the output folder; keeps the measures.
        run: the run's parameters, which name the sources.
        settings: what a person chose.
        is_dry_run: keep nothing.
    """

    def __init__(self, output: Path, run: Mapping[str, Any], settings: CurationSettings, *, is_dry_run: bool) -> None:
        self._output = output
        self._run = run
        self._settings = settings
        self._is_dry_run = is_dry_run
        self._listed: ReferenceFolder | None = None
        self._signature = ""
        self._measures: dict[str, ClassStatistics] | None = None
        self._learnt: ReferenceModel | None = None

    @property
    def folder(self) -> Path:
        """Where they are.

        Raises:
            SourceError: neither a person nor the run says.
        """
        chosen = self._settings.real or self._settings.sources
        if chosen is not None:
            return chosen
        recorded = self._run.get("sources")
        if not recorded:
            raise SourceError(f"{printable(self._output)}: its manifest names no sources; give --real FOLDER")
        return Path(str(recorded))

    @property
    def basis(self) -> str:
        """What scores depend on beside the image: changes with the real images and with the meaning of a score.

        Raises:
            SourceError: no real images.
        """
        if not self._signature:
            self._listed = ReferenceFolder.of(self.folder)
            self._signature = self._listed.signature()
        return f"{SCORES_VERSION}:{self._signature}"

    def measures(self, track: ProgressTracker = no_progress) -> dict[str, ClassStatistics]:
        """What was measured of each class.

        Raises:
            SourceError: no real images, or one that cannot be read.
        """
        if self._measures is None:
            basis = self.basis
            self._measures = load_measures(self._output, basis)
            if self._measures is None and self._listed is not None:
                self._measures = self._listed.measure(track)
                if not self._is_dry_run:
                    keep_measures(self._output, basis, self._measures)
        return self._measures or {}

    def limits(
        self, classes: Iterable[str], opinion: OpinionLimits, track: ProgressTracker = no_progress
    ) -> dict[str, Thresholds]:
        """Every limit of these classes, given or learnt.

        Args:
            classes: which.
            opinion: what the classifier's opinion of real images taught.
            track: shows the progress.

        Raises:
            SourceError: no real images, or one that cannot be read.
        """
        if self._learnt is None:
            self._learnt = ReferenceModel(self.measures(track))
        learnt = self._learnt
        return {
            name: Thresholds.of(
                self._settings.limits,
                learnt.limits_for(name),
                learnt.counts.get(name, 0),
                {field.name: getattr(opinion, field.name).get(name) for field in fields(OpinionLimits)},
            )
            for name in classes
        }
