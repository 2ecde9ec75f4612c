"""Folders of the images that are added to an arm, and the classical control."""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from tqdm import tqdm

from sdclient.manifest import ManifestError
from sdclient.manifest.database import MANIFEST_NAME, ImageRecord, Manifest
from sdcore.files import sha256_of
from sdcore.torch_runtime import torch_threads

from ..config import AugmentConfig
from ..data.provenance import GeneratedImage, GeneratedSet
from ..data.transforms import augment, decode
from ..errors import GeneratedSetError
from .plan import Fold

_IDENTITY = "experiment"
"""Key in the manifest's run settings that holds the set's identity."""


@dataclass(frozen=True)
class ArmSet:
    """A folder of images that are added to an arm's real ones."""

    path: Path
    identity: str
    """SHA-256 over everything that decides the set's images."""


def generated_identity(images: Sequence[GeneratedImage]) -> str:
    """SHA-256 over the images of a generated arm."""
    return _hash([f"generated\0{one.label}\0{one.sha256}\0{one.source_sha256}" for one in images])


def classical_identity(images: Sequence[GeneratedImage], *, config: AugmentConfig, imgsz: int, seed: int) -> str:
    """SHA-256 over everything that decides the images of a classical arm; arguments as for `classical_set`."""
    lines = [f"classical\0{one.label}\0{one.source_sha256}\0{one.sha256}" for one in images]
    return _hash([f"{config.model_dump_json()}\0{imgsz}\0{seed}", *lines])


def generated_set(
    folder: Path, images: Sequence[GeneratedImage], sets: Sequence[GeneratedSet], *, progress: bool = False
) -> ArmSet:
    """Put an arm's generated images and their records into a folder; an existing folder of the same images is kept.

    The images are hard links where the drive supports them. The folder appears when it is complete.

    Raises:
        GeneratedSetError: a set's manifest cannot be read.
        OSError: the folder cannot be written.
    """
    identity = generated_identity(images)
    records: dict[Path, ImageRecord] = {}
    for one in sets:
        try:
            with Manifest(one.path) as manifest:
                records.update({one.path / record.file: record for record in manifest.images()})
        except ManifestError as error:
            raise GeneratedSetError(str(error)) from error
    numbers = {one.path: number for number, one in enumerate(sets)}

    def fill(partial: Path) -> list[ImageRecord]:
        written = []
        for image in tqdm(images, desc=f"gather {folder.name}", unit="image", disable=not progress):
            record = records[image.path]
            root = next(path for path in numbers if image.path.is_relative_to(path))
            file = f"{image.label}/{numbers[root]}-{image.path.name}"
            _link_or_copy(image.path, partial / file)
            written.append(replace(record, file=file, mask=""))
        return written

    _make(folder, identity, fill)
    return ArmSet(folder, identity)


def classical_set(
    folder: Path,
    images: Sequence[GeneratedImage],
    fold: Fold,
    *,
    config: AugmentConfig,
    imgsz: int,
    seed: int,
    progress: bool = False,
) -> ArmSet:
    """Write, for every image of the controlled generated arm, one classically augmented image of its source.

    The folder appears when it is complete.

    Raises:
        DataError: a source cannot be read.
        OSError: the folder cannot be written.
    """
    identity = classical_identity(images, config=config, imgsz=imgsz, seed=seed)

    def fill(partial: Path) -> list[ImageRecord]:
        written = []
        bar = tqdm(images, desc=f"augment {folder.name}", unit="image", disable=not progress)
        for number, image in enumerate(bar, start=1):
            source = fold.sources[image.label, image.source_sha256]
            draw_key = f"{seed}\0{image.sha256}\0{number}"
            target = partial / image.label / f"{number}-{source.stem}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            chunks = PngImagePlugin.PngInfo()
            # This record makes the image refused among validation and test images, like a generated one.
            chunks.add_itxt("sdclient", f'{{"engine": "{ENGINE}", "source_sha256": "{image.source_sha256}"}}')
            augment_source(source, config=config, imgsz=imgsz, draw_key=draw_key).save(target, "PNG", pnginfo=chunks)
            written.append(
                ImageRecord(
                    file=target.relative_to(partial).as_posix(),
                    class_name=image.label,
                    source=f"{image.label}/{source.name}",
                    source_sha256=image.source_sha256,
                    k=number,
                    seed=seed,
                    key=_hash([identity, draw_key]),
                    sha256=sha256_of(target),
                    width=imgsz,
                    height=imgsz,
                    server="",
                    model="",
                    engine=ENGINE,
                    asked=config.model_dump(mode="json"),
                    used={},
                    infotext="",
                    created_at="",
                )
            )
        return written

    with torch_threads(1):  # small images do not gain from more
        _make(folder, identity, fill)
    return ArmSet(folder, identity)


def _make(folder: Path, identity: str, fill: Callable[[Path], list[ImageRecord]]) -> None:
    """Fill the folder under a temporary name, so that an incomplete folder never has the final name."""
    if _identity_of(folder) == identity:
        return
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        records = fill(partial)
        with Manifest(partial, create=True) as manifest:
            manifest.set_run({_IDENTITY: identity})
            manifest.add(records)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _identity_of(folder: Path) -> str | None:
    if not (folder / MANIFEST_NAME).is_file():
        return None
    try:
        with Manifest(folder) as manifest:
            return str(manifest.run().get(_IDENTITY))
    except ManifestError:
        return None


def _link_or_copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:  # another drive, or one without links: the same bytes either way
        shutil.copyfile(source, target)


def _hash(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


ENGINE = "classical augmentation, not generated"

_TWICE_AS_STRONG = {"rotation_degrees": 45.0, "brightness": 1.0, "contrast": 1.0, "hue": 0.5, "saturation": 1.0}
"""Settings that the control doubles, with their upper limits."""


def stronger(base: AugmentConfig) -> AugmentConfig:
    """The default augmentation of the classical control.

    Every image is warped, and rotation and colour changes are twice as strong as in training. Scale and shift stay
    as they are, because they could move a defect out of the image; so do flips and quarter turns, because a board
    may have only one correct orientation.

    Repeating the sources and leaving the variation to training would be no control: with the same number of steps
    it would only change how often a class is drawn. The control adds new fixed files, as a generated arm does.
    """
    changed = {name: min(most, 2.0 * getattr(base, name)) for name, most in _TWICE_AS_STRONG.items()}
    return base.model_copy(update={**changed, "warp_rate": 1.0})


def augment_source(source: Path, *, config: AugmentConfig, imgsz: int, draw_key: str) -> Image.Image:
    """One augmented image of a source, `imgsz` pixels square; an equal `draw_key` gives equal pixels.

    Raises:
        DataError: the source cannot be read.
    """
    seed = int.from_bytes(hashlib.sha256(draw_key.encode()).digest()[:8], "big") >> 1
    pixels = torch.from_numpy(decode(source, imgsz))[None]
    varied = augment(pixels, config, torch.Generator().manual_seed(seed))[0]
    return Image.fromarray(varied.round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy().astype(np.uint8))
