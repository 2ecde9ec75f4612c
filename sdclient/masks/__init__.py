"""Making a folder of masks for numbered sources: from boxes, from masks of other tools, from a good image."""

from typing import TYPE_CHECKING

from sdcore.optional_imports import import_on_first_use

from .from_labels import BoxMasks, ExternalMasks, defect_area
from .make import MaskingResult, MaskOrigin, NoMaskForSource, make_masks

if TYPE_CHECKING:
    from .from_difference import DifferenceMasks, difference_mask

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

# These need the extra "curate".
__getattr__ = import_on_first_use(__name__, {".from_difference": ["DifferenceMasks", "difference_mask"]})
