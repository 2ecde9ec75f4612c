"""What a run would take, before it is started: images, time, disk."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..sources import Source


@dataclass(frozen=True)
class Estimate:
    """What making some images takes."""

    images: int
    time_s: float
    disk_bytes: int


@dataclass(frozen=True)
class DryRun:
    """What a run would do."""

    images_by_class: dict[str, int]
    """In the order of the sources; the classes that owe none are left out."""
    estimate: Estimate
    disk_free_bytes: int

    @property
    def fits_on_disk(self) -> bool:
        """Whether the images fit into what is free now."""
        return self.estimate.disk_bytes <= self.disk_free_bytes


def estimate(images: int, seconds_per_image: float, bytes_per_image: float) -> Estimate:
    """Time and disk for a number of images.

    Args:
        images: how many, from 0.
        seconds_per_image: measured; what one image of a full request takes.
        bytes_per_image: measured or assumed size of a file.

    Raises:
        ValueError: a figure is negative or not finite.
    """
    for figure in (images, seconds_per_image, bytes_per_image):
        if not (math.isfinite(figure) and figure >= 0):
            raise ValueError(
                f"{images} images, {seconds_per_image} s and {bytes_per_image} bytes each: expected 0 or more"
            )
    return Estimate(images, images * seconds_per_image, math.ceil(images * bytes_per_image))


def dry_run(
    owed: Iterable[tuple[Source, int]], *, seconds_per_image: float, bytes_per_image: float, disk_free_bytes: int
) -> DryRun:
    """What a plan would take; counts are those still to be made.

    Raises:
        ValueError: a figure is negative or not finite.
    """
    by_class: dict[str, int] = {}
    for source, count in owed:
        if count:
            by_class[source.class_name] = by_class.get(source.class_name, 0) + count
    return DryRun(by_class, estimate(sum(by_class.values()), seconds_per_image, bytes_per_image), disk_free_bytes)


def disk_free(path: Path) -> int:
    """Bytes free for the user where `path` is or would be made.

    Raises:
        OSError: the file system cannot be asked.
    """
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free
