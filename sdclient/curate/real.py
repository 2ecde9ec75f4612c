"""The real images of each class: which of them are looked at, and what is measured of each. The measures are kept."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sdcore.files import printable, write_bytes_atomically
from sdcore.images.folders import is_image_name, list_entries
from sdcore.images.similarity import luma_of
from sdcore.progress import ProgressTracker, no_progress

from ..errors import SourceError
from ..photos import read_photo
from ..sizing import SourceForm, generation_size, prepare, restore
from .sharpness import grain, sharpness, texture
from .tone import Looks, look_of

MOST_PER_CLASS = 300
"""Real images that are looked at in each class, spread evenly over the names; more do not move a limit much."""
CACHE_NAME = ".curation-real.npz"
"""File in an output folder that keeps what was measured of real images."""

_VERSION = 1
_HALF_PIXEL = 0.5


@dataclass(frozen=True, eq=False)
class ClassStatistics:
    """What was measured of the N real images of a class.

    Sharpness and texture are those of the picture taken again: moved by half a pixel, enlarged to the model's size and
    shrunk back, for that much every generated image goes through. Where a picture is flat, its sharpness is NaN.
    """

    sharpness: npt.NDArray[np.float64]
    """(N,)"""
    texture: npt.NDArray[np.float64]
    """(N,)"""
    grain: npt.NDArray[np.float64]
    """(N,)"""
    looks: Looks
    """(N, 3, QUANTILES)"""

    @property
    def count(self) -> int:
        """How many real images."""
        return len(self.grain)


@dataclass(frozen=True)
class ReferenceFolder:
    """A folder of class folders of real images, and which of them are looked at."""

    folder: Path
    chosen: Mapping[str, tuple[Path, ...]]
    """Images by class."""

    @classmethod
    def of(cls, folder: Path, *, most: int = MOST_PER_CLASS) -> ReferenceFolder:
        """List a folder.

        Raises:
            SourceError: no such folder, or no image in any class folder.
        """
        chosen = {}
        for entry in list_entries(folder):
            if entry.is_dir():
                images = [path for path in list_entries(entry) if path.is_file() and is_image_name(path.name)]
                if images:
                    chosen[entry.name] = _spread(images, most)
        if not chosen:
            raise SourceError(
                f"{printable(folder)}: no class folder with images in it; expected REAL/<class>/*.png, "
                "real images to learn limits from"
            )
        return cls(folder, chosen)

    def signature(self) -> str:
        """Changes when another image would be looked at, or one of them was changed (by size and time)."""
        digest = hashlib.sha256(f"{_VERSION}".encode())
        for name, paths in sorted(self.chosen.items()):
            for path in paths:
                state = path.stat()
                line = f"{name}/{path.name}|{state.st_size}|{state.st_mtime_ns}\n"
                digest.update(line.encode("utf-8", "backslashreplace"))
        return digest.hexdigest()

    def measure(self, track: ProgressTracker = no_progress) -> dict[str, ClassStatistics]:
        """Measure every image that was chosen.

        Raises:
            SourceError: one cannot be read.
        """
        jobs = [(name, path) for name, paths in self.chosen.items() for path in paths]
        rows: dict[str, list[_Row]] = {name: [] for name in self.chosen}
        for name, path in track(jobs, "real images"):
            rows[name].append(_Row.of(read_photo(path)))
        return {name: _gather(found) for name, found in rows.items()}


@dataclass(frozen=True, eq=False)
class _Row:
    sharpness: float
    texture: float
    grain: float
    look: npt.NDArray[np.float32]

    @classmethod
    def of(cls, image: Image.Image) -> _Row:
        again = luma_of(taken_again(image))
        sharp = sharpness(again)
        return cls(
            sharpness=float("nan") if sharp is None else sharp,
            texture=texture(again),
            grain=grain(luma_of(image)),
            look=look_of(image),
        )


def measure_pictures(pictures: Sequence[Image.Image]) -> ClassStatistics:
    """The measures of a class from its pictures in memory, at least one."""
    return _gather([_Row.of(picture) for picture in pictures])


def taken_again(image: Image.Image) -> Image.Image:
    """The picture moved by half a pixel along both directions, enlarged to the model's size and shrunk back."""
    large = prepare(image, generation_size(*image.size))
    dx, dy = _HALF_PIXEL * large.width / image.width, _HALF_PIXEL * large.height / image.height
    # The edge goes on, so that no border appears that is not in the picture.
    padded = np.pad(np.asarray(large), ((0, int(dy) + 2), (0, int(dx) + 2), (0, 0)), mode="edge")
    moved = Image.fromarray(padded).transform(
        large.size, Image.Transform.AFFINE, (1, 0, dx, 0, 1, dy), Image.Resampling.BICUBIC
    )
    return restore(moved, SourceForm.of(image))


def load_measures(output: Path, signature: str) -> dict[str, ClassStatistics] | None:
    """What was measured of the same real images before, or None."""
    try:
        with np.load(output / CACHE_NAME, allow_pickle=False) as archive:
            if str(archive["signature"]) != signature:
                return None
            names = [str(name) for name in archive["classes"]]
            return {
                name: ClassStatistics(
                    **{field.name: archive[f"{field.name}_{number}"] for field in fields(ClassStatistics)}
                )
                for number, name in enumerate(names)
            }
    # A cache: whatever is wrong with it, the images themselves are still there.
    except (OSError, ValueError, KeyError, EOFError):
        return None


def keep_measures(output: Path, signature: str, real: Mapping[str, ClassStatistics]) -> None:
    """Keep what was measured beside the manifest.

    Raises:
        OSError: it cannot be written.
    """
    arrays = {
        f"{field.name}_{number}": getattr(measured, field.name)
        for number, measured in enumerate(real.values())
        for field in fields(ClassStatistics)
    }
    buffer = io.BytesIO()
    np.savez(buffer, signature=np.array(signature), classes=np.array(list(real)), **arrays)
    write_bytes_atomically(output / CACHE_NAME, buffer.getvalue())


def _gather(rows: Sequence[_Row]) -> ClassStatistics:
    return ClassStatistics(
        sharpness=np.array([row.sharpness for row in rows], dtype=np.float64),
        texture=np.array([row.texture for row in rows], dtype=np.float64),
        grain=np.array([row.grain for row in rows], dtype=np.float64),
        looks=np.stack([row.look for row in rows]),
    )


def _spread(images: list[Path], most: int) -> tuple[Path, ...]:
    if len(images) <= most:
        return tuple(images)
    return tuple(images[place * len(images) // most] for place in range(most))
