"""Pictures that are unlike the others of their class in size or look, by robust rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .duplicates import LEAST_CONTRAST
from .findings import Finding, Seen

LEAST_PICTURES = 10
"""A class of fewer is judged in size by all pictures together, and in look not at all."""
SIZE_SPREADS = 5.0
"""A size is far when it lies this many robust spreads from the median and by these factors, too:"""
SIDE_FACTOR = 1.5
ASPECT_FACTOR = 1.25
LOOK_SPREADS = 6.0
"""Of 2,902 genuine crops of bare circuit boards (DeepPCB), 13 are further off than this in their class."""
LEAST_FOR_LOOK = 20
MOST_SHARE = 0.1
"""Where more of a class than this would be far off, it has no one size or look, and nothing is called an outlier."""

_TAIL = 0.05
_NORMAL_SPAN = 3.29
"""Standard deviations between the quantiles at 5 and 95 % of a normal distribution."""

_Array = npt.NDArray[np.float64]

# Feature -> the spread below which differences are too small to matter, whatever the class.
_LOOK_FLOORS = {
    "brightness": 4.0,  # grey levels
    "contrast": 0.1,  # natural logarithm
    "saturation": 4.0,  # grey levels
    "layout": 0.15,  # natural logarithm
}


def find_blank(pictures: Sequence[Seen]) -> list[Finding]:
    """Pictures with almost no contrast."""
    return [
        Finding("blank", f"contrast {one.print.contrast:.1f} of 127.5", (one.file,))
        for one in pictures
        if one.print.contrast < LEAST_CONTRAST
    ]


def find_size_outliers(pictures: Sequence[Seen]) -> list[Finding]:
    """Pictures whose side or shape is far from the median of their class.

    Side is the root of the area, shape is width / height. Far: by a factor of 1.5 (shape: 1.25) or more, and by
    5 robust spreads (1.4826 times the median absolute deviation of the logarithm) or more. A class of fewer than
    10 pictures is held against all pictures.
    """
    findings = []
    for group, judged in _size_groups(pictures):
        sizes = np.array([one.print.size for one in group], dtype=np.float64)
        side, aspect = np.log(sizes.prod(axis=1)) / 2, np.log(sizes[:, 0] / sizes[:, 1])
        for name, values, factor in (("side", side, SIDE_FACTOR), ("shape", aspect, ASPECT_FACTOR)):
            distance = np.abs(values - np.median(values))
            # The least of differences that rounding makes must not decide at exactly the factor.
            far = (distance >= np.log(factor) - 1e-9) & (distance >= SIZE_SPREADS * _spread(values))
            if far.mean() > MOST_SHARE:
                continue
            typical = float(np.exp(np.median(values)))
            findings += [
                Finding("size", _size_words(name, one, typical), (one.file,))
                for one, is_far in zip(group, far, strict=True)
                if is_far and one in judged
            ]
    return findings


def find_look_outliers(pictures: Sequence[Seen]) -> list[Finding]:
    """Pictures far from the rest of their class in brightness, contrast, saturation or coarse layout.

    Layout is the mean difference of the 16 x 16 colour means from their medians over the class. Far: 6 spreads from
    the median; a spread is the larger of 1.4826 times the median absolute deviation and of the span between the
    quantiles at 5 and 95 % over 3.29, since classes have tails. Classes of fewer than 20 are not judged.
    """
    by_class: defaultdict[str, list[Seen]] = defaultdict(list)
    for picture in pictures:
        if picture.label and picture.print.contrast >= LEAST_CONTRAST:
            by_class[picture.label].append(picture)
    findings = []
    for group in by_class.values():
        if len(group) < LEAST_FOR_LOOK:
            continue
        features = _look_features(group)
        spreads = np.stack([_spreads_off(name, values) for name, values in features.items()])
        far = spreads.max(axis=0) > LOOK_SPREADS
        if far.mean() > MOST_SHARE:
            continue
        names = list(features)
        for place in np.flatnonzero(far):
            most = int(spreads[:, place].argmax())
            words = f"{names[most]} {spreads[most, place]:.0f} spreads off"
            findings.append(Finding("look", words, (group[place].file,)))
    return findings


def _size_groups(pictures: Sequence[Seen]) -> list[tuple[list[Seen], frozenset[Seen]]]:
    """(pictures that set the measure, those of them that are judged by it)."""
    by_class: defaultdict[str, list[Seen]] = defaultdict(list)
    for picture in pictures:
        by_class[picture.label].append(picture)
    large = [(group, frozenset(group)) for group in by_class.values() if len(group) >= LEAST_PICTURES]
    small = frozenset(one for group in by_class.values() if len(group) < LEAST_PICTURES for one in group)
    return [*large, (list(pictures), small)] if small and len(pictures) >= LEAST_PICTURES else large


def _size_words(name: str, one: Seen, typical: float) -> str:
    width, height = one.print.size
    if name == "side":
        return f"{width} x {height}, side {(width * height) ** 0.5:.0f} px where {typical:.0f} px is usual"
    return f"{width} x {height}, shape {width / height:.2f} where {typical:.2f} is usual"


def _look_features(group: Sequence[Seen]) -> dict[str, _Array]:
    cells = np.frombuffer(b"".join(one.print.grid for one in group), dtype=np.uint8).reshape(len(group), -1, 3)
    # Bytes and whole numbers all the way: a median of doubles takes eight times the memory and five times as long.
    by_cell = np.ascontiguousarray(cells.reshape(len(group), -1).T)
    doubled = (2 * np.median(by_cell, axis=1)).astype(np.int16).reshape(-1, 3)
    layout = [np.abs(2 * one.astype(np.int16) - doubled).sum(dtype=np.int64) for one in cells]
    return {
        "brightness": cells.mean(axis=(1, 2)),
        "contrast": np.log([one.print.contrast for one in group]),
        "saturation": (cells.max(axis=2) - cells.min(axis=2)).mean(axis=1),
        "layout": np.log1p(np.array(layout) / doubled.size / 2),
    }


def _spreads_off(name: str, values: _Array) -> _Array:
    off = values - np.median(values)
    low, high = np.quantile(values, (_TAIL, 1 - _TAIL))
    spread = max(_spread(values), float(high - low) / _NORMAL_SPAN, _LOOK_FLOORS[name])
    # To be nearer the middle of a class than others are is no fault.
    return (off if name == "layout" else np.abs(off)) / spread


def _spread(values: _Array) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
