"""Decodes every image of a training once, into memory or into a file that is mapped into memory."""

import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from sdcore.torch_runtime import choose_device

from ..config import TrainConfig
from ..data.training_set import TrainingData
from ..data.transforms import decode
from ..errors import DataError
from ..tasks import TrainingImages
from .distributed import ALONE, ProcessGroup

CACHE_FOLDER_VARIABLE = "SD_DEFECTS_CACHE"

_MEMORY_SHARE = 0.5
"""Largest share of the free memory for images."""
_DEVICE_SHARE = 0.4
"""Largest share of a GPU's free memory for images; the network needs the rest."""
_THREADS = min(8, os.cpu_count() or 1)
"""Threads help since Pillow releases Python's lock while it decodes."""

ImageStorage = Literal["memory", "shared file", "mapped file", "device"]


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """All images of one list."""

    images: torch.Tensor
    """(N, 3, S, S) uint8."""
    storage: ImageStorage


def decode_all(
    paths: Sequence[Path],
    imgsz: int,
    *,
    progress: bool,
    words: str = "decode",
    limit_bytes: int | None = None,
    folder: Path | None = None,
) -> DecodedImages:
    """Decode images into one tensor, in their order: 12 kB per image at 64 px, 150 kB at 224 px.

    Above `limit_bytes` (None: half of the free memory) they go into a file in `folder` (None: `cache_folder()`) that is
    mapped into memory, which gives the same bits and lets the system drop pages that are not in use. Later trainings
    find the file by the paths, sizes and times of the images. It may be deleted whenever no training runs. `words` is
    the label of the bar.

    Raises:
        DataError: an image cannot be read, or the disk is full.
    """
    shape = (len(paths), 3, imgsz, imgsz)
    needed = len(paths) * 3 * imgsz * imgsz
    if needed <= (memory_limit() if limit_bytes is None else limit_bytes):
        images = np.empty(shape, dtype=np.uint8)
        _fill(images, paths, imgsz, progress=progress, words=words)
        return DecodedImages(torch.from_numpy(images), "memory")
    file = (folder or cache_folder()) / f"pictures-{_key(paths, imgsz)}.npy"
    _ensure_file(file, shape, paths, imgsz, progress=progress, words=words)
    return DecodedImages(_map_file(file), "mapped file")


def decode_shared(
    paths: Sequence[Path],
    imgsz: int,
    *,
    group: ProcessGroup,
    progress: bool,
    words: str = "decode",
    limit_bytes: int | None = None,
    folder: Path | None = None,
) -> DecodedImages:
    """As `decode_all`, but once per machine: one of its processes decodes, and all map the same file.

    Images that fit into memory go into a file that is unlinked once all processes have mapped it: the system keeps it
    in memory while there is room, and frees it when the processes end, however they end.

    Arguments and errors are those of `decode_all`; `limit_bytes` is for all processes of the machine together.
    """
    if group.count == 1:
        return decode_all(paths, imgsz, progress=progress, words=words, limit_bytes=limit_bytes, folder=folder)
    shape = (len(paths), 3, imgsz, imgsz)
    folder = folder or cache_folder()
    kept = folder / f"pictures-{_key(paths, imgsz)}.npy"
    shared = folder / f".lent-{group.value_of_first(secrets.token_hex(8))}.npy"
    fits = len(paths) * 3 * imgsz * imgsz <= (memory_limit() if limit_bytes is None else limit_bytes)
    try:
        if group.ranks.leads_machine:
            if fits and not _is_whole(kept, shape):
                _write_file(shared, shape, paths, imgsz, progress=progress, words=words)
            else:
                _ensure_file(kept, shape, paths, imgsz, progress=progress, words=words)
        group.wait()
        storage: ImageStorage = "shared file" if shared.is_file() else "mapped file"
        images = _map_file(shared if storage == "shared file" else kept)
        group.wait()  # the file may be unlinked only after all have mapped it
    finally:
        if group.ranks.leads_machine:
            with suppress(PermissionError):  # Windows cannot remove a mapped file; it may be deleted later
                shared.unlink(missing_ok=True)
    return DecodedImages(images, storage)


def memory_limit(cache_gb: float | None = None) -> int:
    """Bytes that images may take in memory: `cache_gb`, else half of what is free."""
    if cache_gb is not None:
        return int(cache_gb * 1e9)
    import psutil  # type: ignore[import-untyped] # comes with yolov5

    return int(_MEMORY_SHARE * psutil.virtual_memory().available)


def cache_folder() -> Path:
    """Folder of mapped files: $SD_DEFECTS_CACHE, else the user's own cache folder."""
    if chosen := os.environ.get(CACHE_FOLDER_VARIABLE):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "sd-defects"


def fits_device(needed_bytes: int, free_bytes: int) -> bool:
    """Whether images may be held on a GPU with this much free memory."""
    return needed_bytes <= _DEVICE_SHARE * free_bytes


def move_to_device(decoded: DecodedImages, device: torch.device) -> DecodedImages:
    """The images on a GPU where they fit, so that no step waits for a copy; otherwise unchanged."""
    if device.type != "cuda":
        return decoded
    free, _ = torch.cuda.mem_get_info(device)
    return DecodedImages(decoded.images.to(device), "device") if fits_device(decoded.images.nbytes, free) else decoded


def _fill(images: npt.NDArray[np.uint8], paths: Sequence[Path], imgsz: int, *, progress: bool, words: str) -> None:
    def put(place: int) -> None:
        images[place] = decode(paths[place], imgsz)

    workers = ThreadPoolExecutor(max_workers=_THREADS)
    try:
        done = workers.map(put, range(len(paths)))
        list(tqdm(done, desc=words, total=len(paths), unit="image", disable=not progress))
    finally:
        workers.shutdown(cancel_futures=True)


def _key(paths: Sequence[Path], imgsz: int) -> str:
    digest = hashlib.sha256(f"v1 {imgsz}\n".encode())
    for path in paths:
        try:
            facts = path.stat()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); it was listed a moment ago") from error
        digest.update(f"{path.resolve().as_posix()}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def _is_whole(file: Path, shape: tuple[int, ...]) -> bool:
    try:
        there = np.load(file, mmap_mode="r")
    except (OSError, ValueError):
        return False
    return bool(there.shape == shape and there.dtype == np.uint8)


def _map_file(file: Path) -> torch.Tensor:
    # Copy on write: torch wants memory it may write to, and the file stays as it is.
    return torch.from_numpy(np.load(file, mmap_mode="c"))


def _ensure_file(
    file: Path, shape: tuple[int, ...], paths: Sequence[Path], imgsz: int, *, progress: bool, words: str
) -> None:
    """Make the file of decoded images, unless it exists."""
    exists = _is_whole(file, shape)
    if progress:
        size = f"{int(np.prod(shape)) / 1e6:.0f} MB of images"
        note = f"from {file}" if exists else f"{size} go into {file}; it may be deleted after training"
        tqdm.write(f"{words}: {note}", file=sys.stderr)
    if not exists:
        _write_file(file, shape, paths, imgsz, progress=progress, words=words)


def _write_file(
    file: Path, shape: tuple[int, ...], paths: Sequence[Path], imgsz: int, *, progress: bool, words: str
) -> None:
    needed = int(np.prod(shape))
    file.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(file.parent).free
    if needed > free:
        raise DataError(
            f"{file.parent}: {needed / 1e6:.0f} MB are needed for the decoded images and {free / 1e6:.0f} MB are "
            f"free; make room, name another folder in {CACHE_FOLDER_VARIABLE}, or raise --cache-gb"
        )
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        mapped = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        try:
            _fill(mapped, paths, imgsz, progress=progress, words=words)
            mapped.flush()
        finally:
            del mapped  # Windows cannot rename an open file
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@dataclass(frozen=True, eq=False)
class TrainingImageSets:
    """The decoded training and validation images."""

    train: TrainingImages
    val: TrainingImages
    storage: ImageStorage
    """Of the training images."""


def load_images(
    data: TrainingData, config: TrainConfig, *, cache_gb: float | None, progress: bool, group: ProcessGroup = ALONE
) -> TrainingImageSets:
    """Decode every image once, however often it is listed and however many processes use it.

    They take at most `cache_gb` GB of memory; None: half of what is free.

    Raises:
        DataError: an image cannot be read, or the disk has no room for what does not fit into memory.
    """
    train_index = _index_paths(image.path for image in data.train)
    val_index = _index_paths(image.path for image in data.val)
    device, left = choose_device(config.device), memory_limit(cache_gb)
    read = partial(decode_shared, imgsz=config.imgsz, group=group, progress=progress)
    train = read(list(train_index), words="read training", limit_bytes=left)
    left -= train.images.nbytes if train.storage in ("memory", "shared file") else 0
    val = read(list(val_index), words="read validation", limit_bytes=left)
    train, val = move_to_device(train, device), move_to_device(val, device)
    number = {name: k for k, name in enumerate(data.classes)}
    return TrainingImageSets(
        train=TrainingImages(
            train.images,
            torch.tensor([train_index[image.path] for image in data.train]),
            torch.tensor([number[image.label] for image in data.train]),
            torch.tensor([image.origin != "real" for image in data.train]),
        ),
        val=TrainingImages(
            val.images,
            torch.tensor([val_index[image.path] for image in data.val]),
            torch.tensor([number[image.label] for image in data.val]),
        ),
        storage=train.storage,
    )


def _index_paths(paths: Iterable[Path]) -> dict[Path, int]:
    """Each path once, with its index in the order of first occurrence."""
    return {path: index for index, path in enumerate(dict.fromkeys(paths))}
