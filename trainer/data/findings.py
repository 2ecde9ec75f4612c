"""What `trainer check` looks for in fingerprints: copies, look-alikes, outliers and blank images. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sdcore.images.hashes import HashIndex

from .fingerprints import GRID, ODDITIES, Fingerprint


@dataclass(frozen=True)
class CheckedImage:
    """A readable image with its part and class."""

    file: str
    """Path relative to the folder that was checked, forward slashes."""
    part: str
    """"train", "val" or "test"; "all" in a folder that is not divided; "" outside the parts."""
    label: str
    """Its class; "" outside class folders."""
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Finding:
    """Something to look at: one image, a group of images, or a class."""

    kind: str
    """A key of `KINDS`."""
    words: str
    files: tuple[str, ...] = ()
    """Relative paths; empty for a finding about a class."""
    notes: tuple[str, ...] = ()
    """One per file, or none."""


@dataclass(frozen=True)
class FindingKind:
    """Heading of one kind of finding."""

    title: str
    chinese: str
    words: str
    """What it means and what to do."""


_ODD = {
    "disguised": ("Disguised", "扩展名不符"),
    "huge": ("Huge", "像素过多"),
    "deep": ("More than 8 bits", "高位深"),
    "cmyk": ("CMYK", "印刷色彩"),
    "palette": ("Palette", "调色板图像"),
    "alpha": ("Transparent", "透明通道"),
    "frames": ("Several frames", "多帧图像"),
    "turned": ("Turned by EXIF", "相机旋转标记"),
}

KINDS: dict[str, FindingKind] = {
    "copy_across": FindingKind(
        "The same image in two splits",
        "跨集重复",
        "Equal bytes, or equal pixels in other bytes. The model would be tested on what it was trained on: remove one, "
        "or split again.",
    ),
    "contradiction": FindingKind(
        "The same image in two classes", "标签矛盾", "Equal pixels, two labels: one of the labels is wrong."
    ),
    "near_across": FindingKind(
        "Look-alikes of training images in val or test",
        "跨集近似",
        "Perhaps the same part twice: keep such images in one split, as a group. Aligned photographs of one product "
        "all look alike; then this says little.",
    ),
    "copy": FindingKind("The same image more than once", "重复图像", "Within one split; it counts more than others."),
    "near": FindingKind(
        "Look-alikes",
        "近似图像",
        "Within one split, grouped around the first of each group. See whether they are one part.",
    ),
    "blank": FindingKind("Nearly blank", "近乎空白", "Almost no contrast; left out of the search for look-alikes."),
    "size": FindingKind("Unlike others in size", "尺寸异常", "Side or shape far from the median of the class."),
    "look": FindingKind(
        "Unlike the others of their class",
        "外观异常",
        "Brightness, contrast, colour or coarse layout far from the class: a wrong folder, or a camera fault.",
    ),
    **{kind: FindingKind(*_ODD[kind], words=words[0].upper() + words[1:] + ".") for kind, words in ODDITIES.items()},
    "class": FindingKind(
        "Classes out of balance", "类别失衡", "Too few to learn from or to judge by, or far fewer than others."
    ),
}
"""In the order in which a user should fix them."""


LEAST_CONTRAST = 2.0
"""Grey levels; below this contrast a perceptual hash is meaningless."""

_BLOCK = 256

_Places = npt.NDArray[np.int64]


def find_all(images: Sequence[CheckedImage], *, near_bits: int | None) -> list[Finding]:
    """The findings of every kind but "class"; look-alikes differ in at most `near_bits`, None finds none."""
    return [
        *find_copies(images),
        *(find_look_alikes(images, max_distance=near_bits) if near_bits is not None else ()),
        *find_blank(images),
        *find_size_outliers(images),
        *find_look_outliers(images),
        *(Finding(kind, _odd_words(kind, one), (one.file,)) for one in images for kind in one.fingerprint.oddities),
    ]


def _odd_words(kind: str, one: CheckedImage) -> str:
    if kind == "disguised":
        return f"{one.fingerprint.format} content; rename it or save it anew"
    if kind == "huge":
        return f"{one.fingerprint.size[0]} x {one.fingerprint.size[1]} pixels"
    return f"mode {one.fingerprint.mode}" if kind in ("deep", "palette", "alpha") else ODDITIES[kind].split(";")[0]


def find_copies(images: Sequence[CheckedImage]) -> list[Finding]:
    """Groups of equal pixels: across splits, within one, and under two labels.

    Two labels contradict each other when both are training classes, or both occur in one split. So a test set with
    labels of its own ("Abnormal" for all defects) contradicts no class.
    """
    groups: defaultdict[str, list[CheckedImage]] = defaultdict(list)
    for image in images:
        groups[image.fingerprint.pixel_sha256].append(image)
    known = {image.label for image in images if image.part in ("train", "all")}
    findings = []
    for group in groups.values():
        if len(group) < 2:
            continue
        files = tuple(one.file for one in group)
        same_bytes = len({one.fingerprint.sha256 for one in group}) == 1
        words = f"{len(group)} files of {'equal bytes' if same_bytes else 'equal pixels'}"
        words += ", nearly blank" if group[0].fingerprint.contrast < LEAST_CONTRAST else ""
        parts = _unique(one.part for one in group)
        kind, where = ("copy_across", f", in {', '.join(parts)}") if len(parts) > 1 else ("copy", "")
        findings.append(Finding(kind, words + where, files))
        if _contradict(group, known):
            labels = _unique(one.label for one in group)
            findings.append(Finding("contradiction", f"{words}, in {', '.join(labels)}", files))
    return findings


def find_look_alikes(images: Sequence[CheckedImage], *, max_distance: int) -> list[Finding]:
    """Groups of images that look alike without being copies, and held-out images that look like a training image.

    Two images look alike when their perceptual hashes differ in at most `max_distance` bits, and their 16 x 16 colour
    means differ on average by at most a quarter of the variation within the plainer image, limited to 2 to 12 grey
    levels. All members of a group are compared with its first image, so a chain of small steps cannot join images
    that are far apart. Of copies only the first in each split is used; blank images are left out.

    Only pairs that the index (`sdcore.images.hashes`) suggests are compared; memory grows linearly with the images.
    """
    first_of: dict[tuple[str, str], CheckedImage] = {}
    for image in images:
        if image.fingerprint.contrast >= LEAST_CONTRAST:
            first_of.setdefault((image.part, image.fingerprint.pixel_sha256), image)
    kept = list(first_of.values())
    if len(kept) < 2:
        return []
    search = _Search(kept, max_distance)

    def places_in(*parts: str) -> _Places:
        return np.array([place for place, one in enumerate(kept) if one.part in parts], dtype=np.int64)

    findings = [
        Finding("near_across", _bits(bits), (kept[place].file, kept[other].file), ("held out", "training"))
        for place, other, bits in search.nearest(places_in("val", "test"), places_in("train"))
    ]
    for part in _unique(one.part for one in kept):
        for members, distances in search.groups(places_in(part)):
            labels = _unique(kept[place].label for place in members)
            words = f"{len(members)} look-alikes" + (f" in {part}" if part not in ("all", "") else "")
            words += f", in {len(labels)} classes: {', '.join(labels)}" if len(labels) > 1 else ""
            files = tuple(kept[place].file for place in members)
            findings.append(Finding("near", words, files, ("first", *map(_bits, distances))))
    return findings


class _Search:
    """Search for look-alikes; a place is an index into the images given."""

    def __init__(self, images: Sequence[CheckedImage], max_distance: int) -> None:
        self._hashes = np.array([[one.fingerprint.perceptual_hash] for one in images], dtype=np.uint64)
        self._grids = CoarseImages([one.fingerprint.grid for one in images])
        self._pixels = [one.fingerprint.pixel_sha256 for one in images]
        self._max_distance = max_distance

    def nearest(self, places: _Places, among: _Places) -> Iterator[tuple[int, int, int]]:
        """(place, closest look-alike, bits between them) for each place that has one; copies are left out.

        Of equally close ones the first is taken.
        """
        index = HashIndex(self._hashes[among], radius=self._max_distance)
        for place, (near, bits) in zip(places.tolist(), index.near(self._hashes[places]), strict=True):
            order = np.argsort(bits, kind="stable")
            for start in range(0, len(order), _BLOCK):
                block = order[start : start + _BLOCK]
                alike = block[self._grids.agree(place, among[near[block]])]
                if alike.size:
                    other = int(among[near[alike[0]]])
                    if self._pixels[other] != self._pixels[place]:
                        yield place, other, int(bits[alike[0]])
                    break

    def groups(self, places: _Places) -> Iterator[tuple[list[int], list[int]]]:
        """Members of each group of two or more, the first one first, and the bits between it and each other."""
        hashes = self._hashes[places]
        index = HashIndex(hashes, radius=self._max_distance)
        is_free = np.ones(len(places), dtype=np.bool_)
        while (firsts := np.flatnonzero(is_free)[:_BLOCK]).size:
            for first, (near, bits) in zip(firsts.tolist(), index.near(hashes[firsts]), strict=True):
                if not is_free[first]:
                    continue
                is_free[first] = False
                left = is_free[near]
                if not left.any():  # the usual case: it has no look-alike
                    continue
                near, bits = near[left], bits[left]
                agree = self._grids.agree(int(places[first]), places[near])
                near, bits = near[agree], bits[agree]
                if near.size:
                    yield [int(places[first]), *places[near].tolist()], bits.tolist()
                    is_free[near] = False


def _contradict(group: Sequence[CheckedImage], known: set[str]) -> bool:
    labelled = [one for one in group if one.label]
    if len({one.label for one in labelled if one.label in known}) > 1:
        return True
    # More pairs than parts: one part has two labels.
    return len({(one.part, one.label) for one in labelled}) > len({one.part for one in labelled})


def _unique(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _bits(bits: int) -> str:
    return f"{bits} bit{'' if bits == 1 else 's'} apart"


MOST_DIFFERENCE = 12.0
"""Grey levels that the means of look-alikes may differ on average.

A perceptual hash alone confuses simple images, such as one trace on a bare board, with others that differ clearly.
"""
MOST_SHARE = 0.25
"""The same limit as a share of the variation within the plainer image, so that a small spot on white counts too."""
LEAST_DIFFERENCE = 2.0
"""Grey levels; compression and rounding alone may cause this difference in the plainest image."""

_CHANNELS = 3
_VALUES = GRID * GRID * _CHANNELS
_COARSE_CELLS = (1, 4)
"""Cells a side of the coarser grids, compared first: if their sums differ too much, the finer grid need not be read."""
_AT_ONCE = 4096


class CoarseImages:
    """The grids of `Fingerprint.grid`, for comparison; a place is an index into the list given."""

    def __init__(self, grids: Sequence[bytes]) -> None:
        pixels = np.frombuffer(b"".join(grids), dtype=np.uint8).reshape(len(grids), _VALUES)
        self._steps = [_block_sums(pixels, cells) for cells in _COARSE_CELLS] + [pixels]
        self._most = np.clip(MOST_SHARE * _mean_deviation(pixels), LEAST_DIFFERENCE, MOST_DIFFERENCE)

    def agree(self, place: int, others: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """(len(others),) bool: whether the colour means of `place` and of each other image are close enough."""
        agree = np.zeros(len(others), dtype=np.bool_)
        for start in range(0, len(others), _AT_ONCE):
            left = np.arange(start, min(start + _AT_ONCE, len(others)))
            for step in self._steps:
                found = others[left]
                difference = np.abs(np.take(step, found, axis=0).astype(np.int32) - step[place]).sum(axis=1)
                left = left[difference / _VALUES <= np.minimum(self._most[found], self._most[place])]
            agree[left] = True
        return agree


def _block_sums(pixels: npt.NDArray[np.uint8], cells: int) -> npt.NDArray[np.int32]:
    """(N, cells * cells * 3): sum of each block in each channel."""
    side = GRID // cells
    blocks = pixels.reshape(len(pixels), cells, side, cells, side, _CHANNELS)
    return np.asarray(blocks.sum(axis=(2, 4), dtype=np.int32)).reshape(len(pixels), cells * cells * _CHANNELS)


def _mean_deviation(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Mean absolute deviation of the values from the mean of their channel."""
    cells = pixels.reshape(len(pixels), GRID * GRID, _CHANNELS)
    found = [np.zeros(0, dtype=np.int64)]
    # Integers, so that nothing is rounded; in blocks, since all at once would need many times the memory.
    for start in range(0, len(cells), _AT_ONCE):
        some = cells[start : start + _AT_ONCE].astype(np.int32)
        found.append(np.abs(GRID * GRID * some - some.sum(axis=1, keepdims=True)).sum(axis=(1, 2), dtype=np.int64))
    return np.concatenate(found) / (GRID * GRID * _VALUES)


LEAST_IMAGES = 10
"""A smaller class is compared in size with all images."""
SIZE_SPREADS = 5.0
"""An outlier in size is this many robust spreads from the median, and also off by one of these factors:"""
SIDE_FACTOR = 1.5
ASPECT_FACTOR = 1.25
LOOK_SPREADS = 6.0
"""Of 2,902 real crops of bare circuit boards (DeepPCB), 13 are further from the median of their class."""
LEAST_FOR_LOOK = 20
"""A smaller class is not searched for outliers in look."""
MOST_OUTLIERS_SHARE = 0.1
"""If more of a class than this would be outliers, the class has no typical size or look: then none is reported."""

_TAIL = 0.05
_NORMAL_SPAN = 3.29
"""Standard deviations between the quantiles at 5 and 95 % of a normal distribution."""

_Array = npt.NDArray[np.float64]

# Feature -> the spread below which differences are too small to matter, whatever the class.
# In grey levels (brightness, saturation) or natural logarithms (contrast, layout).
_LOOK_FLOORS = {"brightness": 4.0, "contrast": 0.1, "saturation": 4.0, "layout": 0.15}


def find_blank(images: Sequence[CheckedImage]) -> list[Finding]:
    """Images with almost no contrast."""
    return [
        Finding("blank", f"contrast {one.fingerprint.contrast:.1f} of 127.5", (one.file,))
        for one in images
        if one.fingerprint.contrast < LEAST_CONTRAST
    ]


def find_size_outliers(images: Sequence[CheckedImage]) -> list[Finding]:
    """Images whose side or shape is far from the median of their class.

    Side is the root of the area, shape is width / height. "Far" is a factor of 1.5 (shape: 1.25) or more, and also
    5 robust spreads (1.4826 times the median absolute deviation of the logarithm) or more. Classes of fewer than
    10 images are compared with all images.
    """
    findings = []
    for group, judged in _size_groups(images):
        sizes = np.array([one.fingerprint.size for one in group], dtype=np.float64)
        side, aspect = np.log(sizes.prod(axis=1)) / 2, np.log(sizes[:, 0] / sizes[:, 1])
        for name, values, factor in (("side", side, SIDE_FACTOR), ("shape", aspect, ASPECT_FACTOR)):
            distance = np.abs(values - np.median(values))
            # Tolerance, so that rounding does not decide at exactly the factor.
            far = (distance >= np.log(factor) - 1e-9) & (distance >= SIZE_SPREADS * _spread(values))
            if far.mean() > MOST_OUTLIERS_SHARE:
                continue
            typical = float(np.exp(np.median(values)))
            findings += [
                Finding("size", _size_words(name, one, typical), (one.file,))
                for one, is_far in zip(group, far, strict=True)
                if is_far and one in judged
            ]
    return findings


def find_look_outliers(images: Sequence[CheckedImage]) -> list[Finding]:
    """Images far from the rest of their class in brightness, contrast, saturation or coarse layout.

    Layout is the mean difference of the 16 x 16 colour means from their medians over the class. "Far" is more than
    6 spreads from the median. A spread is the larger of 1.4826 times the median absolute deviation and the span between
    the 5 % and 95 % quantiles over 3.29, since classes have long tails. Classes of fewer than 20 are left out.
    """
    by_class: defaultdict[str, list[CheckedImage]] = defaultdict(list)
    for image in images:
        if image.label and image.fingerprint.contrast >= LEAST_CONTRAST:
            by_class[image.label].append(image)
    findings = []
    for group in by_class.values():
        if len(group) < LEAST_FOR_LOOK:
            continue
        features = _look_features(group)
        spreads = np.stack([_spreads_off(name, values) for name, values in features.items()])
        far = spreads.max(axis=0) > LOOK_SPREADS
        if far.mean() > MOST_OUTLIERS_SHARE:
            continue
        for place in np.flatnonzero(far):
            most = int(spreads[:, place].argmax())
            words = f"{list(features)[most]} {spreads[most, place]:.0f} spreads off"
            findings.append(Finding("look", words, (group[place].file,)))
    return findings


def _size_groups(images: Sequence[CheckedImage]) -> list[tuple[list[CheckedImage], frozenset[CheckedImage]]]:
    """(reference images, those of them to judge)."""
    by_class: defaultdict[str, list[CheckedImage]] = defaultdict(list)
    for image in images:
        by_class[image.label].append(image)
    large = [(group, frozenset(group)) for group in by_class.values() if len(group) >= LEAST_IMAGES]
    small = frozenset(one for group in by_class.values() if len(group) < LEAST_IMAGES for one in group)
    return [*large, (list(images), small)] if small and len(images) >= LEAST_IMAGES else large


def _size_words(name: str, one: CheckedImage, typical: float) -> str:
    width, height = one.fingerprint.size
    if name == "side":
        return f"{width} x {height}, side {(width * height) ** 0.5:.0f} px where {typical:.0f} px is usual"
    return f"{width} x {height}, shape {width / height:.2f} where {typical:.2f} is usual"


def _look_features(group: Sequence[CheckedImage]) -> dict[str, _Array]:
    cells = np.frombuffer(b"".join(one.fingerprint.grid for one in group), dtype=np.uint8).reshape(len(group), -1, 3)
    # Bytes and integers throughout: a median of doubles takes eight times the memory and five times as long.
    by_cell = np.ascontiguousarray(cells.reshape(len(group), -1).T)
    doubled = (2 * np.median(by_cell, axis=1)).astype(np.int16).reshape(-1, 3)
    layout = [np.abs(2 * one.astype(np.int16) - doubled).sum(dtype=np.int64) for one in cells]
    return {
        "brightness": cells.mean(axis=(1, 2)),
        "contrast": np.log([one.fingerprint.contrast for one in group]),
        "saturation": (cells.max(axis=2) - cells.min(axis=2)).mean(axis=1),
        "layout": np.log1p(np.array(layout) / doubled.size / 2),
    }


def _spreads_off(name: str, values: _Array) -> _Array:
    off = values - np.median(values)
    low, high = np.quantile(values, (_TAIL, 1 - _TAIL))
    spread = max(_spread(values), float(high - low) / _NORMAL_SPAN, _LOOK_FLOORS[name])
    # A layout closer to the median than that of others is no fault.
    return (off if name == "layout" else np.abs(off)) / spread


def _spread(values: _Array) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
