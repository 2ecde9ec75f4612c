"""What a check finds beside files that cannot be used: kinds of findings, their order and their words."""

from __future__ import annotations

from dataclasses import dataclass, field

from .fingerprints import Fingerprint
from .unusable import ODDITIES


@dataclass(frozen=True)
class Seen:
    """A picture that can be read to its end, and where it stands."""

    file: str
    """Path relative to the folder that was checked, forward slashes."""
    part: str
    """"train", "val" or "test"; "all" in a folder that is not divided; "" outside of the parts."""
    label: str
    """Its class; "" outside of class folders."""
    print: Fingerprint


@dataclass(frozen=True)
class Finding:
    """Something to look at: one picture, pictures that belong together, or a class as a whole."""

    kind: str
    """A key of `KINDS`."""
    words: str
    files: tuple[str, ...] = ()
    """Relative paths; empty when it is about a class."""
    notes: tuple[str, ...] = field(default=())
    """One a file, or none at all."""


@dataclass(frozen=True)
class Kind:
    """How findings of one kind are headed."""

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

KINDS: dict[str, Kind] = {
    "copy_across": Kind(
        "The same picture in two splits",
        "跨集重复",
        "Equal bytes, or equal pixels in other bytes. A model is judged on what it has learnt by heart: remove one, "
        "or split again.",
    ),
    "contradiction": Kind(
        "The same picture in two classes", "标签矛盾", "Equal pixels, two labels: one of the labels is wrong."
    ),
    "near_across": Kind(
        "Look-alikes of training pictures in val or test",
        "跨集近似",
        "Perhaps the same part twice: keep such pictures in one split, as a group. Aligned photographs of one product "
        "all look alike; then this says little.",
    ),
    "copy": Kind("The same picture more than once", "重复图像", "Within one split; it counts more than others."),
    "near": Kind(
        "Look-alikes",
        "近似图像",
        "Within one split, grouped around the first of each group. See whether they are one part.",
    ),
    "blank": Kind("Nearly blank", "近乎空白", "Almost no contrast; left out of the search for look-alikes."),
    "size": Kind("Unlike others in size", "尺寸异常", "Side or shape far from the median of the class."),
    "look": Kind(
        "Unlike the others of their class",
        "外观异常",
        "Brightness, contrast, colour or coarse layout far from the class: a wrong folder, or a camera fault.",
    ),
    **{kind: Kind(*_ODD[kind], words=words[0].upper() + words[1:] + ".") for kind, words in ODDITIES.items()},
    "class": Kind(
        "Classes out of balance", "类别失衡", "Too few to learn from or to judge by, or far fewer than others."
    ),
}
"""In the order in which they should be put right."""
