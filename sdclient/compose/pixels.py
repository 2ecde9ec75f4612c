"""Pictures as arrays of levels, and back: every picture of a transplant takes the form of its base picture.

The form is 8 bit, grey where the base picture is grey and colour where it has colour, as results of `generate` have
it: deep grey is scaled by its camera's depth, alpha lies on white (`sdclient.sizing`). A colour defect that goes onto
a grey picture becomes grey; a grey one that goes onto a colour picture takes that one's colour by the match of tone.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdcore.images.decode import to_rgb

from .. import sizing

Pixels: TypeAlias = NDArray[np.float32]
"""(H, W, C) levels 0-255; C is 1 (grey) or 3 (R, G, B)."""
Levels: TypeAlias = NDArray[np.uint8]
"""The same in 8 bits."""
Plane: TypeAlias = NDArray[np.float32]
"""(H, W)."""
Area: TypeAlias = NDArray[np.bool_]
"""(H, W)."""
Form = Literal["L", "RGB"]


def form_of(picture: Image.Image) -> Form:
    """The form that a result takes on this base picture."""
    return sizing.SourceForm.of(picture).mode


def to_form(picture: Image.Image, form: Form) -> Image.Image:
    """An upright picture of any mode in 8 bits, grey or colour."""
    return to_rgb(picture).convert(form)


def to_levels(picture: Image.Image) -> Levels:
    """Levels of a picture that is "L" or "RGB"."""
    levels = np.asarray(picture, dtype=np.uint8)
    return levels[..., None] if levels.ndim == 2 else levels


def to_bytes(pixels: NDArray[np.float32]) -> Levels:
    """Levels rounded to 8 bits and cut off at 0 and 255."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def to_picture(levels: Levels) -> Image.Image:
    """The picture of these levels."""
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
