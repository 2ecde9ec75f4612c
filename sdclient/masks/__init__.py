"""Making a folder of masks for numbered sources: from boxes, from masks of other tools, from a good image."""

from .from_difference import DifferenceMasks, difference_mask
from .from_labels import BoxMasks, ExternalMasks, defect_area
from .make import MaskingResult, MaskOrigin, NoMaskForSource, make_masks

__all__ = [
    "BoxMasks",
    "DifferenceMasks",
    "ExternalMasks",
    "MaskOrigin",
    "MaskingResult",
    "NoMaskForSource",
    "defect_area",
    "difference_mask",
    "make_masks",
]
