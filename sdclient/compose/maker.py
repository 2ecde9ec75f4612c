"""Makes planned images and their records, in this process or in a helper process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np
from PIL import Image

from sdcore.files import sha256_of

from ..errors import SourceError
from ..infotext import ENGINE_KEY, Infotext
from ..manifest.database import ImageRecord, Parent
from ..masks.mask import box_of, grow_and_feather, mask_file_of, read_mask
from ..output.store import GeneratedFile, to_files
from ..sources.source import read_photo
from .cutout import Area, Cutout, Form, cut_out, form_of, is_box, tighten_mask, to_form, to_levels
from .placement import Surface
from .plan import BackgroundImage, BackgroundOrder, ComposeSettings, PlannedTransplant, allowed_path
from .transplant import Transplanted, transplant

_HALF = 128


@dataclass(frozen=True)
class MakerContext:
    """What all images of a run have in common."""

    settings: ComposeSettings
    good: tuple[BackgroundImage, ...]
    allowed: Path | None
    tries: int
    """Number of good images that are tried for one image."""


class TransplantMaker:
    """Makes images one by one and caches the last files it read."""

    def __init__(self, context: MakerContext) -> None:
        self._context = context
        self._images: ImageLru[Image.Image] = ImageLru(lambda image: image.width * image.height)
        self._surfaces: ImageLru[Surface] = ImageLru(lambda surface: surface.levels.size)
        self._cutouts: ImageLru[Cutout] = ImageLru(lambda cutout: cutout.pixels.size * 2)
        self._orders: dict[str, BackgroundOrder] = {}

    def make(self, planned: PlannedTransplant) -> GeneratedFile | NotPlaced:
        """Make the image, or say why there is none.

        Raises:
            SourceError: an image cannot be read, or its file has changed since the plan.
            MaskError: a mask cannot be used.
            OSError: a file cannot be read.
        """
        reasons: dict[str, int] = {}
        for good in self._base_images(planned):
            done = self._transplant_onto(planned, good)
            if isinstance(done, Transplanted):
                own_box = box_of(self._own_mask(planned)) if good is None else None
                tried = sum(reasons.values()) + 1
                return build_record(planned, done, good, self._context.settings, tried=tried, own_box=own_box)
            reasons[done] = reasons.get(done, 0) + 1
        # The numbers in brackets differ from try to try; the text before them is the reason.
        words = sorted({reason.partition(" (")[0] for reason in reasons})
        where = "on its own picture" if planned.is_on_own else f"on {sum(reasons.values())} good images"
        return NotPlaced(f"no place {where}: {'; '.join(words)}")

    def _base_images(self, planned: PlannedTransplant) -> Iterator[BackgroundImage | None]:
        """Base images in the order in which they are tried; None is the defect's own image."""
        if planned.is_on_own:
            yield None
            return
        name, context = planned.source.class_name, self._context
        if name not in self._orders:
            self._orders[name] = BackgroundOrder(len(context.good), run_seed=context.settings.seed, class_name=name)
        for place in self._orders[name].tries(planned.source.number, planned.k, planned.seed, context.tries):
            yield context.good[place]

    def _transplant_onto(self, planned: PlannedTransplant, good: BackgroundImage | None) -> Transplanted | str:
        """The defect on one image, or the reason why it finds no place there."""
        if good is None:
            path, sha256, relative = planned.source.path, planned.source_sha256, planned.source.relative
        else:
            path, sha256, relative = good.path, good.sha256, good.relative
        image = self._image(path, sha256)
        form = form_of(image)
        surface = self._surfaces.get((path, sha256), lambda: Surface(to_levels(to_form(image, form))))
        cutout = self._cutouts.get((planned.source.path, planned.mask, form), lambda: self._cut(planned, form))
        if good is None:
            closed = np.asarray(self._own_mask(planned), dtype=np.uint8) > 0
        else:
            closed = np.zeros(surface.size, dtype=np.bool_)
        allowed = self._allowed(relative, surface)
        if allowed is not None:
            closed |= ~allowed
        return transplant(
            cutout, surface, self._context.settings, closed=closed, has_allowed=allowed is not None, seed=planned.seed
        )

    def _image(self, path: Path, sha256: str) -> Image.Image:
        def read() -> Image.Image:
            image = read_photo(path)
            _check_unchanged(path, sha256)
            return image

        return self._images.get((path, sha256), read)

    def _cut(self, planned: PlannedTransplant, form: Form) -> Cutout:
        image = to_form(self._image(planned.source.path, planned.source_sha256), form)
        mask = read_mask(planned.mask, image.size)
        _check_unchanged(planned.mask, planned.mask_sha256)
        settings = self._context.settings
        if settings.tighten and is_box(mask):
            mask = tighten_mask(image, mask)
        soft = grow_and_feather(mask, grow_px=settings.grow_px, feather_px=settings.feather_px)
        return cut_out(image, soft, planned.source.relative, fade_px=settings.feather_px)

    def _own_mask(self, planned: PlannedTransplant) -> Image.Image:
        """Mask of the defect in its own image."""
        return read_mask(planned.mask, self._image(planned.source.path, planned.source_sha256).size)

    def _allowed(self, relative: str, surface: Surface) -> Area | None:
        folder = self._context.allowed
        if folder is None or not (path := allowed_path(folder, relative)).is_file():
            return None
        height, width = surface.size
        return np.asarray(read_mask(path, (width, height)), dtype=np.uint8) >= _HALF


def _check_unchanged(path: Path, sha256: str) -> None:
    if sha256_of(path) != sha256:
        raise SourceError(f"{path}: changed during the run; restore the former file, or use a new output folder")


_PIXELS_KEPT = 24_000_000

T = TypeVar("T")


class ImageLru(Generic[T]):
    """Cache of the values read last, bounded by their pixels."""

    def __init__(self, pixels_of: Callable[[T], int]) -> None:
        self._pixels_of = pixels_of
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._pixels = 0

    def get(self, key: Hashable, read: Callable[[], T]) -> T:
        """The cached value of the key, or the result of `read`."""
        if key not in self._kept:
            self._kept[key] = found = read()
            self._pixels += self._pixels_of(found)
            while self._pixels > _PIXELS_KEPT and len(self._kept) > 1:
                self._pixels -= self._pixels_of(self._kept.popitem(last=False)[1])
        self._kept.move_to_end(key)
        return self._kept[key]


ENGINE = "transplant (classical, no generator)"
"""Name of the engine in records, infotexts and reports."""


@dataclass(frozen=True)
class NotPlaced:
    """An image that could not be made."""

    reason: str


def build_record(
    planned: PlannedTransplant,
    done: Transplanted,
    good: BackgroundImage | None,
    settings: ComposeSettings,
    *,
    tried: int,
    own_box: tuple[int, int, int, int] | None,
) -> GeneratedFile:
    """The image and its mask as files, with its record.

    Args:
        good: the good image it is on; None: the defect's own image.
        tried: number of base images that were tried.
        own_box: (left, top, right, bottom) of the original defect, which the own image still shows; None on a good
            image.
    """
    infotext = Infotext(
        f"{planned.source.relative} on {'its own picture' if good is None else good.relative}",
        settings={
            ENGINE_KEY: ENGINE,
            "Seed": str(planned.seed),
            "Size": f"{done.image.width}x{done.image.height}",
            "Blend": ", ".join(str(place["blend"]) for place in done.places),
        },
    )
    record = ImageRecord(
        file=planned.file,
        class_name=planned.source.class_name,
        source=planned.source.relative,
        source_sha256=planned.source_sha256,
        k=planned.k,
        seed=planned.seed,
        key=planned.key,
        sha256="",
        width=done.image.width,
        height=done.image.height,
        server="",
        model="",
        engine=ENGINE,
        asked={
            **settings.model_dump(mode="json"),
            "base": "source" if good is None else "other",
            "seed": planned.seed,
            "source_mask_sha256": planned.mask_sha256,
        },
        used={
            "places": list(done.places),
            "pictures_tried": tried,
            **({} if own_box is None else {"own_box": list(own_box)}),
        },
        infotext=str(infotext),
        created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        mask=mask_file_of(planned.file),
        other_parents=() if good is None else (Parent(good.relative, good.sha256),),
    )
    return to_files(record, done.image, done.mask)


_maker: TransplantMaker | None = None
"""The maker of a helper process; None in the main process."""


def start_helper(context: MakerContext) -> None:
    """Prepare this helper process; called once in each."""
    global _maker  # the process pool calls plain functions, which can share only a global
    # Ctrl-C reaches all processes of the group; the main process alone handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)  # there is one helper for each core already
    _maker = TransplantMaker(context)


def make_in_helper(planned: PlannedTransplant) -> GeneratedFile | NotPlaced:
    """Make an image in a helper process."""
    if _maker is None:
        raise RuntimeError("start_helper was not called")
    return _maker.make(planned)


def _end_with_parent() -> None:
    """End this helper when the main process ends: a killed run cannot stop its helpers, which would wait forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
