"""The settings of a run of transplants, its defects and good images, and every planned transplant."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sdcore.files import printable, sha256_of
from sdcore.images.folders import is_image_name, list_entries
from sdcore.progress import ProgressTracker, no_progress

from ..batch.settings import LARGEST_RUN_SEED
from ..errors import MaskError, PlanError, SettingsError, SourceError
from ..masks.mask import mask_path
from ..output.planned_images import PlannedFile, SourcePlan, draw_index, image_keys, seed_base
from ..plan import USUALLY_EXCLUDED, spread
from ..sources.source import Source

Onto = Literal["good", "own", "both"]


def is_on_own(onto: Onto, number: int, k: int) -> bool:
    """Whether an image is made on the defect's own image; with "both" every second one of a source is."""
    return onto == "own" or (onto == "both" and (number + k) % 2 == 1)


@dataclass(frozen=True, slots=True)
class PlannedTransplant(PlannedFile):
    """One image to make."""

    mask: Path
    """Mask file of the defect in its source."""
    mask_sha256: str
    is_on_own: bool
    """Whether it is made on the defect's own image."""


@dataclass(frozen=True)
class TransplantPlan(SourcePlan[PlannedTransplant]):
    """The transplants of one defect."""

    mask: Path
    mask_sha256: str
    onto: Onto
    parameters: Mapping[str, Any]
    """Everything besides the source, its mask and the seed that changes pixels."""

    @property
    def has_masks(self) -> bool:
        """Every transplant has a mask file."""
        return True

    def images(self, ks: Iterable[int]) -> Iterator[PlannedTransplant]:
        """The planned images with these numbers."""
        base = self._base()
        key = image_keys(self.source_sha256, {**self.parameters, "mask_sha256": self.mask_sha256})
        for k in ks:
            on_own, seed = is_on_own(self.onto, self.source.number, k), base + k
            yield PlannedTransplant(
                self.source, self.source_sha256, k, seed, key(seed), self.mask, self.mask_sha256, on_own
            )


def plan_transplants(
    owed: Sequence[tuple[Defect, int]], settings: ComposeSettings, parameters: Mapping[str, Any]
) -> list[TransplantPlan]:
    """Plan the transplants, source by source.

    The key of an image is a hash of the bytes of its source and mask, its seed, and `parameters`: everything else that
    changes pixels, as stored with the output. They contain a digest of the good images' bytes.

    Raises:
        PlanError: more images of one source than seeds are reserved for.
    """
    seed, onto = settings.seed, settings.onto
    try:
        return [
            TransplantPlan(defect.source, defect.sha256, count, seed, defect.mask, defect.mask_sha256, onto, parameters)
            for defect, count in owed
        ]
    except ValueError as error:
        raise PlanError(str(error)) from error


Blend = Literal["auto", "feather", "clone", "mixed"]
Tone = Literal["full", "mean", "none"]

SMALLEST_SCALE, LARGEST_SCALE = 0.25, 4.0


class ComposeSettings(BaseModel):
    """Settings of a whole output folder; all of them change pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    onto: Onto = "good"
    """On a good image, elsewhere on the defect's own image, or alternating."""
    rotation_degrees: float = Field(180.0, ge=0, le=180, allow_inf_nan=False)
    """Largest rotation of a defect, in either direction."""
    right_angles: bool = False
    """Rotate by multiples of 90 degrees alone, up to `rotation_degrees`: no pixel is interpolated."""
    scale: tuple[float, float] = (0.9, 1.1)
    """Smallest and largest size, as multiples of the defect's own."""
    flip: bool = True
    """Mirror at random."""
    copies: tuple[int, int] = (1, 1)
    """Smallest and largest number of copies of the defect on one image."""
    tone: Tone = "full"
    """Match level and contrast of the defect's surroundings to the new place, the level alone, or neither."""
    blend: Blend = "auto"
    """Blending: by the mask's soft edge, by cv2's seamless cloning (normal or mixed), or whichever shows least seam."""
    match_limit: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Highest allowed mismatch of the surroundings; None: the default, and no limit where an allowed area is given."""
    tighten: bool = True
    """Shrink a mask that is a plain box to the part that differs from its surroundings."""
    grow_px: int = Field(2, ge=0, le=500)
    """Growth of the mask before the defect is cut out."""
    feather_px: int = Field(3, ge=0, le=500)
    """Width of its soft edge."""
    seed: int = Field(0, ge=0, le=LARGEST_RUN_SEED)
    """Run seed; every random draw follows from it."""

    @field_validator("scale")
    @classmethod
    def _check_scale(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not SMALLEST_SCALE <= value[0] <= value[1] <= LARGEST_SCALE:
            raise ValueError(f"expected LOW:HIGH from {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}, as 0.9:1.1")
        return value

    @field_validator("copies")
    @classmethod
    def _check_copies(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= value[0] <= value[1]:
            raise ValueError("expected LOW:HIGH with 1 or more, as 1:2")
        return value

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> ComposeSettings:
        """Settings from a user's values.

        Raises:
            SettingsError: names the first invalid value and what is expected.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0]).replace("_", "-")
            raise SettingsError(f"{name}: {first['input']!r}: {first['msg']}") from error


# Steps of the two-dimensional low-discrepancy sequence of Roberts (2018): 1/p and 1/p^2 for p^3 = p + 1, in 2^-64.
_SOURCE_STEP = 0xC13FA9A902A6328F
_IMAGE_STEP = 0x91E10DA5C79E7B1C
_WHOLE = 2**64


def share_evenly(sources: Sequence[Source], per_class: int) -> list[tuple[Source, int]]:
    """Share the images of each class evenly among its sources; counts differ by one at most. Normal gets none."""
    owed = []
    for name in dict.fromkeys(source.class_name for source in sources):
        if name not in USUALLY_EXCLUDED:
            own = [source for source in sources if source.class_name == name]
            owed += [(source, count) for source, count in zip(own, spread(per_class, len(own)), strict=True) if count]
    return owed


class BackgroundOrder:
    """The order in which the defects of one class take the good images.

    The images of the class step through a shuffled list by a low-discrepancy sequence, so that no good image is used
    much more often than another. The choice depends on the run's seed, the class, the source's number, k, and the
    number of good images (at least 1), and on nothing else.
    """

    def __init__(self, good: int, *, run_seed: int, class_name: str) -> None:
        seed = seed_base(run_seed, class_name, 0)
        # Shuffled, because neighbours in the folder are often images of one board.
        self._order = sorted(range(good), key=lambda index: draw_index(seed, f"order {index}", _WHOLE))
        self._offset = draw_index(seed, "first good image", _WHOLE)

    def tries(self, number: int, k: int, seed: int, most: int) -> Iterator[int]:
        """Up to `most` indices of good images to try for image `k` of source `number`, in order, each once.

        The second and further indices are drawn by the image's seed.
        """
        good = len(self._order)
        place = (self._offset + number * _SOURCE_STEP + k * _IMAGE_STEP) % _WHOLE * good // _WHOLE
        seen: set[int] = set()
        while len(seen) < min(most, good):
            while place in seen:
                place = (place + 1) % good
            seen.add(place)
            yield self._order[place]
            place = draw_index(seed, f"good image {len(seen)}", good)


_A_DEFECT = "defects, not good images; expected good ones alone: give their folder, as sources/Normal"


@dataclass(frozen=True)
class BackgroundImage:
    """An image without a defect."""

    relative: str
    """Path relative to the folder of good images, forward slashes."""
    path: Path
    sha256: str


@dataclass(frozen=True)
class Defect:
    """A numbered source image and the mask of its defect."""

    source: Source
    sha256: str
    mask: Path
    mask_sha256: str


def read_defects(sources: Iterable[Source], masks: Path, *, track: ProgressTracker = no_progress) -> list[Defect]:
    """Read the defects with their masks.

    Raises:
        MaskError: masks are missing; says how many.
    """
    pairs = [(source, mask_path(masks, source)) for source in sources]
    missing = [mask for _, mask in pairs if not mask.is_file()]
    if missing:
        raise MaskError(
            f"{printable(missing[0])}: no such mask ({len(missing)} of {len(pairs)} sources have none); expected one "
            "for every source that owes images; make them with 'sdclient mask'"
        )
    return [
        Defect(source, sha256_of(source.path), mask, sha256_of(mask)) for source, mask in track(pairs, "read defects")
    ]


def read_good(
    folder: Path, defects: Collection[Defect], classes: Collection[str], *, track: ProgressTracker = no_progress
) -> list[BackgroundImage]:
    """The good images of a folder and of the class folders in it, in natural order.

    Raises:
        SourceError: there is no good image, one is a defect's image, or a folder is named like a defect class.
    """
    found: list[BackgroundImage] = []
    of_defects = next((entry for entry in list_entries(folder) if entry.is_dir() and entry.name in classes), None)
    if of_defects is not None:
        raise SourceError(f"{printable(of_defects)}: {_A_DEFECT}")
    files = list(_images_in(folder))
    if not files:
        raise SourceError(f"{printable(folder)}: no image in it; expected good images, as {folder}/1.png")
    by_sha256 = {defect.sha256: defect.source.relative for defect in defects}
    for path in track(files, "read good images"):
        relative = path.relative_to(folder).as_posix()
        sha256 = sha256_of(path)
        if sha256 in by_sha256:
            raise SourceError(f"{printable(path)}: {_A_DEFECT} ({by_sha256[sha256]})")
        found.append(BackgroundImage(relative, path, sha256))
    return found


def allowed_path(allowed: Path, relative: str) -> Path:
    """File of an image's allowed area: the image's own path below `allowed`, with the suffix .png."""
    return (allowed / relative).with_suffix(".png")


def check_allowed(allowed: Path, relatives: Sequence[str]) -> int:
    """Number of images that have an allowed area.

    Raises:
        SourceError: no image has one.
    """
    having = sum(allowed_path(allowed, relative).is_file() for relative in relatives)
    if not having:
        raise SourceError(
            f"{printable(allowed)}: no allowed area for any of the {len(relatives)} pictures; expected masks named as "
            f"they are, as {allowed_path(allowed, relatives[0])}, white where a defect may go"
        )
    return having


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()


def describe_good(good: Sequence[BackgroundImage]) -> str:
    """One line that changes with any of the good images."""
    return f"{len(good)} images, {_digest(f'{one.relative} {one.sha256}' for one in good)[:16]}"


def describe_allowed(allowed: Path) -> str:
    """One line that changes with any of the folder's allowed areas."""
    lines = [f"{path.relative_to(allowed).as_posix()} {sha256_of(path)}" for path in _images_in(allowed)]
    return f"{len(lines)} areas, {_digest(lines)[:16]}"


def _images_in(folder: Path) -> Iterable[Path]:
    for entry in list_entries(folder):
        if entry.is_dir() and not entry.name.startswith("_"):
            yield from (path for path in list_entries(entry) if path.is_file() and is_image_name(path.name))
        elif entry.is_file() and is_image_name(entry.name):
            yield entry
