"""Statistics of the real images of each class, and the thresholds that follow from them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sdcore.files import printable, write_bytes_atomically
from sdcore.images.folders import is_image_name, list_entries
from sdcore.images.similarity import luma_of
from sdcore.progress import ProgressTracker, no_progress

from ..errors import SourceError
from ..plan import pick_evenly
from ..sources.source import ImageForm, fit_to_model, generation_size, read_photo, restore_form
from .classifier_opinion import OpinionLimits
from .measures import (
    Distances,
    Look,
    Looks,
    colour_distances,
    grain,
    is_grey,
    look_of,
    sharpness,
    texture,
    tone_distances,
)
from .thresholds import CurationSettings, LearnedThresholds, Thresholds, lower_limits, upper_limits

MOST_PER_CLASS = 300
"""Real images that are measured in each class, spread evenly over the names; more hardly change a limit."""
CACHE_NAME = ".curation-real.npz"
"""File in an output folder that keeps the measures of real images."""

_VERSION = 1
_HALF_PIXEL = 0.5


@dataclass(frozen=True, eq=False)
class ClassStatistics:
    """Measures of the N real images of a class: three arrays (N,), and looks (N, 3, QUANTILES).

    Sharpness and texture are measured on a retake: moved by half a pixel, enlarged to the model's size and shrunk back,
    because every generated image goes through that. The sharpness of a flat image is NaN.
    """

    sharpness: npt.NDArray[np.float64]
    texture: npt.NDArray[np.float64]
    grain: npt.NDArray[np.float64]
    looks: Looks

    @property
    def count(self) -> int:
        """Number of real images."""
        return len(self.grain)


@dataclass(frozen=True)
class ReferenceFolder:
    """A folder of class folders of real images, and those of them that are measured."""

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
        for entry in (one for one in list_entries(folder) if one.is_dir()):
            images = [path for path in list_entries(entry) if path.is_file() and is_image_name(path.name)]
            if images:
                chosen[entry.name] = tuple(pick_evenly(images, most))
        if not chosen:
            raise SourceError(
                f"{printable(folder)}: no class folder with images in it; expected REAL/<class>/*.png, "
                "real images to learn limits from"
            )
        return cls(folder, chosen)

    def signature(self) -> str:
        """Hash of the names, sizes and times of the chosen images."""
        digest = hashlib.sha256(f"{_VERSION}".encode())
        for name, paths in sorted(self.chosen.items()):
            for path in paths:
                state = path.stat()
                line = f"{name}/{path.name}|{state.st_size}|{state.st_mtime_ns}\n"
                digest.update(line.encode("utf-8", "backslashreplace"))
        return digest.hexdigest()

    def measure(self, track: ProgressTracker = no_progress) -> dict[str, ClassStatistics]:
        """Measure every chosen image.

        Raises:
            SourceError: one cannot be read.
        """
        jobs = [(name, path) for name, paths in self.chosen.items() for path in paths]
        rows: dict[str, list[_ImageMeasures]] = {name: [] for name in self.chosen}
        for name, path in track(jobs, "real images"):
            rows[name].append(_ImageMeasures.of(read_photo(path)))
        return {name: _gather(found) for name, found in rows.items()}


@dataclass(frozen=True, eq=False)
class _ImageMeasures:
    sharpness: float
    texture: float
    grain: float
    look: npt.NDArray[np.float32]

    @classmethod
    def of(cls, image: Image.Image) -> _ImageMeasures:
        again = luma_of(taken_again(image))
        sharp = sharpness(again)
        return cls(float("nan") if sharp is None else sharp, texture(again), grain(luma_of(image)), look_of(image))


def taken_again(image: Image.Image) -> Image.Image:
    """The image moved by half a pixel in both directions, enlarged to the model's size and shrunk back."""
    large = fit_to_model(image, generation_size(*image.size))
    dx, dy = _HALF_PIXEL * large.width / image.width, _HALF_PIXEL * large.height / image.height
    # The edge is repeated, so that no border appears that is not in the image.
    padded = np.pad(np.asarray(large), ((0, int(dy) + 2), (0, int(dx) + 2), (0, 0)), mode="edge")
    moved = Image.fromarray(padded).transform(
        large.size, Image.Transform.AFFINE, (1, 0, dx, 0, 1, dy), Image.Resampling.BICUBIC
    )
    return restore_form(moved, ImageForm.of(image))


def load_measures(output: Path, signature: str) -> dict[str, ClassStatistics] | None:
    """Measures of the same real images from an earlier run, or None."""
    try:
        with np.load(output / CACHE_NAME, allow_pickle=False) as archive:
            if str(archive["signature"]) != signature:
                return None
            names = [field.name for field in fields(ClassStatistics)]
            return {
                str(class_name): ClassStatistics(**{name: archive[f"{name}_{number}"] for name in names})
                for number, class_name in enumerate(archive["classes"])
            }
    # Only a cache: whatever is wrong with the file, the images can be measured again.
    except (OSError, ValueError, KeyError, EOFError):
        return None


def save_measures(output: Path, signature: str, real: Mapping[str, ClassStatistics]) -> None:
    """Keep the measures beside the manifest."""
    arrays = {
        f"{field.name}_{number}": getattr(measured, field.name)
        for number, measured in enumerate(real.values())
        for field in fields(ClassStatistics)
    }
    buffer = io.BytesIO()
    np.savez(buffer, signature=np.array(signature), classes=np.array(list(real)), **arrays)
    write_bytes_atomically(output / CACHE_NAME, buffer.getvalue())


def _gather(rows: Sequence[_ImageMeasures]) -> ClassStatistics:
    return ClassStatistics(
        sharpness=np.array([row.sharpness for row in rows], dtype=np.float64),
        texture=np.array([row.texture for row in rows], dtype=np.float64),
        grain=np.array([row.grain for row in rows], dtype=np.float64),
        looks=np.stack([row.look for row in rows]),
    )


OWN_LOOKS = 100
"""A class with fewer real images is compared with those of all classes: nearest neighbours among few are far."""
LEAST_TONE_LEVELS = 16.0
"""Lowest limit of tone: another exposure is no fault."""
LEAST_COLOUR_LEVELS = 10.0
LEAST_GRAIN_LEVELS = 2.0
MOST_SHARPNESS = 0.9
_UNKNOWN = ""


class ReferenceModel:
    """Measures of the real images of all classes, at least one, and the thresholds learned from them."""

    def __init__(self, real: Mapping[str, ClassStatistics]) -> None:
        self._looks = {name: measured.looks for name, measured in real.items()}
        self._all_looks: Looks = np.concatenate(list(self._looks.values()))
        self.counts = {name: measured.count for name, measured in real.items()}
        self._limits = self._learn(real)

    def looks_for(self, class_name: str) -> Looks:
        """Distributions that an image of this class is compared with."""
        own = self._looks.get(class_name)
        return own if own is not None and len(own) >= OWN_LOOKS else self._all_looks

    def tone_distance(self, class_name: str, look: Look) -> float:
        """Distance in luma to the nearest real image, levels from 0."""
        return float(tone_distances(look, self.looks_for(class_name)).min())

    def colour_distance(self, class_name: str, look: Look) -> float | None:
        """Distance in luma and colour to the nearest real image; None where neither is coloured."""
        looks = self.looks_for(class_name)
        return None if is_grey(look) and is_grey(looks) else float(colour_distances(look, looks).min())

    def limits_for(self, class_name: str) -> LearnedThresholds:
        """Thresholds of a class; a class without real images gets those of all classes together."""
        return self._limits.get(class_name, self._limits[_UNKNOWN])

    def _learn(self, real: Mapping[str, ClassStatistics]) -> dict[str, LearnedThresholds]:
        unknown = {_UNKNOWN: np.zeros(0)}
        sharp = {name: one.sharpness[~np.isnan(one.sharpness)] for name, one in real.items()} | unknown
        lowest_sharpness = lower_limits(sharp, most=MOST_SHARPNESS)
        textures = lower_limits({name: one.texture for name, one in real.items()} | unknown, most=np.inf)
        grains = upper_limits({name: one.grain for name, one in real.items()} | unknown, least=LEAST_GRAIN_LEVELS)
        tones = upper_limits(self._leave_one_out(tone_distances), least=LEAST_TONE_LEVELS)
        colours = upper_limits(self._leave_one_out(colour_distances), least=LEAST_COLOUR_LEVELS)
        everything = np.concatenate(list(sharp.values()))
        return {
            name: LearnedThresholds(
                sharpness=lowest_sharpness.get(name),
                soft=_softness_limit(sharp[name] if len(sharp[name]) else everything),
                texture=textures.get(name),
                grain=grains.get(name),
                tone_distance=tones.get(name),
                colour_distance=colours.get(name),
            )
            for name in (*real, _UNKNOWN)
        }

    def _leave_one_out(self, distances: Callable[[Look, Looks], Distances]) -> dict[str, Distances]:
        """Distance of each real image to its nearest other one."""
        found: dict[str, Distances] = {_UNKNOWN: np.zeros(0)}
        start = 0
        for name, own in self._looks.items():
            others = self.looks_for(name)
            first = 0 if others is own else start
            start += len(own)
            rows = np.full(len(own), np.inf)
            for place, look in enumerate(own):
                row = distances(look, others)
                row[first + place] = np.inf
                rows[place] = row.min()
            found[name] = rows[np.isfinite(rows)]
        return found


def _softness_limit(values: Distances) -> float | None:
    """A little under the median: without texture, edges no crisper than this were blurred, not painted."""
    return 0.85 * float(np.median(values)) if len(values) else None


SCORES_VERSION = 1
"""Increased when the meaning of a score changes, so that scores are computed again."""


class ReferenceStatistics:
    """Measures and thresholds of the real images; read on first use, from the cache in the output folder where it fits.

    `run` are the run's parameters, which name the sources. A dry run writes no cache.
    """

    def __init__(self, output: Path, run: Mapping[str, Any], settings: CurationSettings, *, is_dry_run: bool) -> None:
        self._output = output
        self._run = run
        self._settings = settings
        self._is_dry_run = is_dry_run
        self._listed: ReferenceFolder | None = None
        self._signature = ""
        self._measures: dict[str, ClassStatistics] | None = None
        self._model: ReferenceModel | None = None

    @property
    def folder(self) -> Path:
        """Folder of the real images.

        Raises:
            SourceError: neither the settings nor the run names it.
        """
        chosen = self._settings.real or self._settings.sources
        if chosen is not None:
            return chosen
        recorded = self._run.get("sources")
        if not recorded:
            raise SourceError(f"{printable(self._output)}: its manifest names no sources; give --real FOLDER")
        return Path(str(recorded))

    @property
    def basis(self) -> str:
        """Key of everything but the image that its scores depend on: the real images and the version of the scores.

        Raises:
            SourceError: no real images.
        """
        if not self._signature:
            self._listed = ReferenceFolder.of(self.folder)
            self._signature = self._listed.signature()
        return f"{SCORES_VERSION}:{self._signature}"

    def measures(self, track: ProgressTracker = no_progress) -> dict[str, ClassStatistics]:
        """Measures of each class.

        Raises:
            SourceError: no real images, or one that cannot be read.
        """
        if self._measures is None:
            basis = self.basis
            self._measures = load_measures(self._output, basis)
            if self._measures is None and self._listed is not None:
                self._measures = self._listed.measure(track)
                if not self._is_dry_run:
                    save_measures(self._output, basis, self._measures)
        return self._measures or {}

    def limits(
        self, classes: Iterable[str], opinion: OpinionLimits, track: ProgressTracker = no_progress
    ) -> dict[str, Thresholds]:
        """Every limit of these classes, given or learned; errors as in `measures`."""
        if self._model is None:
            self._model = ReferenceModel(self.measures(track))
        given, found = self._settings.limits, {}
        for name in classes:
            of_opinion = {field.name: getattr(opinion, field.name).get(name) for field in fields(OpinionLimits)}
            learned, count = self._model.limits_for(name), self._model.counts.get(name, 0)
            found[name] = Thresholds.of(given, learned, count, of_opinion)
        return found
