"""How a good image lies over a defect image of the same place: by a few pixels, never turned."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MAX_SHIFT_PX = 10.0
LEAST_CORRELATION = 0.35

_FINE_PX, _COARSE_PX = 1.0, 8.0
_UPSAMPLE = 10
_ALIKE = 0.97
_SAME = 1e-6
_STRUCTURE_LEVELS = 1.5


@dataclass(frozen=True)
class Alignment:
    """How a good image lies over a defect image."""

    down_px: float
    right_px: float
    correlation: float
    """Of what both show, the defect left out; from -1 to 1."""
    structure_levels: float
    """How much there is to align by: the standard deviation of the good image between two scales."""

    @property
    def shift_px(self) -> float:
        """How far the good image had to be moved."""
        return math.hypot(self.down_px, self.right_px)

    @property
    def is_sure(self) -> bool:
        """Whether the two show the same; on a surface without structure there is nothing to tell it by."""
        return self.structure_levels < _STRUCTURE_LEVELS or self.correlation >= LEAST_CORRELATION


def align(grey: Array, good: Array, *, max_shift_px: float = MAX_SHIFT_PX) -> Alignment:
    """How to move a good image so that it lies over another.

    Both are freed of uneven light and of noise first. The shift is the best of what phase correlation (Guizar-Sicairos
    et al. 2008, `skimage.registration`), plain correlation and no shift at all propose, then refined to a tenth of a
    pixel. Without structure the images are taken as they lie.

    Args:
        grey: (H, W) levels.
        good: the same.
        max_shift_px: shifts up to this are looked for; a larger one is given only if it is sure.
    """
    import numpy as np
    from scipy import ndimage
    from skimage.registration import phase_cross_correlation

    fine, fine_good = (
        ndimage.gaussian_filter(picture, _FINE_PX) - ndimage.gaussian_filter(picture, _COARSE_PX)
        for picture in (grey, good)
    )
    structure = float(fine_good.std())
    if structure < _STRUCTURE_LEVELS:
        return Alignment(0.0, 0.0, _correlation(fine, fine_good, (0.0, 0.0)), structure)
    window = np.outer(np.hanning(grey.shape[0] + 2)[1:-1], np.hanning(grey.shape[1] + 2)[1:-1])
    seen, wanted = window * fine, window * fine_good
    shifts = [(0.0, 0.0), _best_within(seen, wanted, max_shift_px)]
    if seen.any() and wanted.any():
        for normalization in ("phase", None):
            shift, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
                seen, wanted, upsample_factor=_UPSAMPLE, normalization=normalization
            )
            shifts.append((float(shift[0]), float(shift[1])))
    rated = [(_correlation(fine, fine_good, shift), shift) for shift in shifts]
    best = max(rated)
    if math.hypot(*best[1]) > max_shift_px and best[0] < LEAST_CORRELATION:
        best = max(one for one in rated if math.hypot(*one[1]) <= max_shift_px)
    correlation, shift = _refined(fine, fine_good, best)
    return Alignment(*shift, correlation, structure)


def _best_within(seen: Array, wanted: Array, reach_px: float) -> tuple[float, float]:
    """The whole-pixel shift up to `reach_px` down and across with the highest correlation."""
    import numpy as np
    from scipy import fft

    product = fft.rfft2(seen) * np.conj(fft.rfft2(wanted))
    correlation = fft.irfft2(product, s=seen.shape)
    down, right = (np.minimum(np.arange(length), length - np.arange(length)) for length in seen.shape)
    correlation[(down[:, None] > reach_px) | (right[None, :] > reach_px)] = -np.inf
    row, column = np.unravel_index(int(correlation.argmax()), seen.shape)
    half = seen.shape[0] / 2, seen.shape[1] / 2
    return float(row - (seen.shape[0] if row > half[0] else 0)), float(
        column - (seen.shape[1] if column > half[1] else 0)
    )


def _refined(
    fine: Array, fine_good: Array, best: tuple[float, tuple[float, float]]
) -> tuple[float, tuple[float, float]]:
    """Uphill from the best shift, in ever smaller steps."""
    for step in (1.0, 0.5, 0.25, 0.1):
        improved = True
        while improved:
            down, right = best[1]
            around = [(down + step, right), (down - step, right), (down, right + step), (down, right - step)]
            rated = max((_correlation(fine, fine_good, shift), shift) for shift in around)
            improved = rated[0] > best[0] + _SAME
            best = rated if improved else best
    return best


def _correlation(picture: Array, good: Array, shift: tuple[float, float]) -> float:
    """Pearson's, over what both show, without the few pixels that differ most: the defect is among them."""
    import numpy as np
    from scipy import ndimage

    moved = ndimage.shift(good, shift, order=1, mode="nearest")
    seen = seen_by_both(picture.shape, Alignment(*shift, 0, 0))
    if seen.sum() < 2:
        return -1.0
    one, other = picture[seen], moved[seen]
    gain = float(one.std() / other.std()) if other.std() > 0 else 1.0
    off = np.abs(one - gain * other)
    alike = off <= np.quantile(off, _ALIKE)
    one, other = one[alike], other[alike]
    if one.std() == 0 or other.std() == 0:
        return 1.0 if one.std() == other.std() else 0.0
    return float(np.corrcoef(one, other)[0, 1])


def seen_by_both(shape: tuple[int, ...], found: Alignment) -> Any:
    """Where the moved good image has pixels of its own, (H, W) bool."""
    import numpy as np

    seen = np.ones(shape[:2], dtype=bool)
    for axis, shift in enumerate((found.down_px, found.right_px)):
        edge = min(math.ceil(abs(shift)), shape[axis])
        gone = slice(0, edge) if shift > 0 else slice(shape[axis] - edge, shape[axis])
        seen[gone if axis == 0 else (slice(None), gone)] = False
    return seen
