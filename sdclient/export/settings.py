"""How boxes are written beside exported images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LabelKind = Literal["yolo", "voc"]
Unlabelled = Literal["error", "skip"]


@dataclass(frozen=True)
class Labels:
    """What a detector's training needs to know."""

    kind: LabelKind
    """ "yolo": a `.txt` an image, `classes.txt` and `data.yaml`; "voc": an `.xml` an image."""
    normal: str = "Normal"
    """The class without defects: its images have no box."""
    unlabelled: Unlabelled = "error"
    """What becomes of an image whose place of the defect is not known."""
    min_change: int = 1
    """A pixel counts as changed from this many levels on, 1 to 255, in any channel."""
    source_masks: Path | None = None
    """A folder of the sources' masks, `<class>/<number>.png`: what they show of a source that stayed has a box too."""
    classes: Path | None = None
    """A `classes.txt` with the numbers of the classes, where the data set has none of its own yet."""
