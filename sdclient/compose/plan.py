"""The images of a transplant run and their identities, all known before the first one is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..batch.identity import MOST_IMAGES_PER_SOURCE, image_key, seed_base
from ..batch.jobs import PlannedFile
from ..errors import PlanError
from .draws import is_on_own
from .material import Defect
from .settings import ComposeSettings


@dataclass(frozen=True, slots=True)
class PlannedTransplant(PlannedFile):
    """One image to make."""

    mask: Path
    """Of the defect in its source."""
    mask_sha256: str
    is_on_own: bool
    """Whether it is made on the defect's own picture."""

    @property
    def has_mask(self) -> bool:
        """A mask lies beside every transplant."""
        return True


def plan_transplants(
    owed: Sequence[tuple[Defect, int]], settings: ComposeSettings, parameters: Mapping[str, Any]
) -> Iterator[PlannedTransplant]:
    """Every image that is owed, source by source.

    Its key is taken over the bytes of the source and of its mask, all parameters, and its seed; the parameters name the
    good images by a digest of their bytes.

    Args:
        owed: defects and how many images each gives.
        settings: of the run.
        parameters: everything besides that changes pixels, as it is kept with the output.

    Raises:
        PlanError: more images of one source than seeds are kept for.
    """
    for defect, count in owed:
        source = defect.source
        if count > MOST_IMAGES_PER_SOURCE:
            raise PlanError(f"{source.relative}: {count} images of one source; at most {MOST_IMAGES_PER_SOURCE}")
        base = seed_base(settings.seed, source.class_name, source.number)
        identity = {**parameters, "mask_sha256": defect.mask_sha256}
        for k in range(1, count + 1):
            seed = base + k - 1
            yield PlannedTransplant(
                source=source,
                source_sha256=defect.sha256,
                k=k,
                seed=seed,
                key=image_key(defect.sha256, identity, seed),
                mask=defect.mask,
                mask_sha256=defect.mask_sha256,
                is_on_own=is_on_own(settings.onto, source.number, k),
            )
