"""The images of a transplant run and their identities, all known before the first one is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..batch.identity import image_keys
from ..batch.jobs import PlannedFile, SourcePlan
from ..errors import PlanError
from .draws import is_on_own
from .material import Defect
from .settings import ComposeSettings, Onto


@dataclass(frozen=True, slots=True)
class PlannedTransplant(PlannedFile):
    """One image to make."""

    mask: Path
    """Of the defect in its source."""
    mask_sha256: str
    is_on_own: bool
    """Whether it is made on the defect's own picture."""


@dataclass(frozen=True)
class TransplantPlan(SourcePlan[PlannedTransplant]):
    """The transplants of one defect."""

    mask: Path
    mask_sha256: str
    onto: Onto
    parameters: Mapping[str, Any]
    """Everything besides the source, its mask and the seed that changes pixels."""

    @property
    def has_masks(self) -> bool:
        """A mask lies beside every transplant."""
        return True

    def images(self, ks: Iterable[int]) -> Iterator[PlannedTransplant]:
        """The images with these numbers."""
        base = self._base()
        key = image_keys(self.source_sha256, {**self.parameters, "mask_sha256": self.mask_sha256})
        for k in ks:
            yield PlannedTransplant(
                source=self.source,
                source_sha256=self.source_sha256,
                k=k,
                seed=base + k,
                key=key(base + k),
                mask=self.mask,
                mask_sha256=self.mask_sha256,
                is_on_own=is_on_own(self.onto, self.source.number, k),
            )


def plan_transplants(
    owed: Sequence[tuple[Defect, int]], settings: ComposeSettings, parameters: Mapping[str, Any]
) -> list[TransplantPlan]:
    """What is owed, source by source.

    The key of an image is taken over the bytes of the source and of its mask, all parameters, and its seed; the
    parameters name the good images by a digest of their bytes.

    Args:
        owed: defects and how many images each gives.
        settings: of the run.
        parameters: everything besides that changes pixels, as it is kept with the output.

    Raises:
        PlanError: more images of one source than seeds are kept for.
    """
    try:
        return [
            TransplantPlan(
                defect.source,
                defect.sha256,
                count,
                settings.seed,
                defect.mask,
                defect.mask_sha256,
                settings.onto,
                parameters,
            )
            for defect, count in owed
        ]
    except ValueError as error:
        raise PlanError(str(error)) from error
