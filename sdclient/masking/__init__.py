"""Making a folder of masks for numbered sources: from boxes, from masks of other tools, from a good image."""

from __future__ import annotations

from .from_boxes import BoxMasks
from .from_difference import DifferenceMasks, difference_mask
from .from_masks import ForeignMasks, defect_area
from .make import MaskingResult, MaskOrigin, NoMask, make_masks

__all__ = [
    "BoxMasks",
    "DifferenceMasks",
    "ForeignMasks",
    "MaskOrigin",
    "MaskingResult",
    "NoMask",
    "defect_area",
    "difference_mask",
    "make_masks",
]
