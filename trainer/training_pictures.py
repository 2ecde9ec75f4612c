"""The pictures of a training and its validation, decoded and numbered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from sdcore.torch_runtime import choose_device

from .assemble import TrainingData
from .config import TrainConfig
from .group import ALONE, ProcessGroup
from .pictures import Where, bring_to, decode_shared, memory_limit
from .tasks import TrainingImages


@dataclass(frozen=True, eq=False)
class TrainingPictures:
    """All that a training looks at."""

    train: TrainingImages
    val: TrainingImages
    where: Where
    """Of the training images."""


def read_pictures(
    sources: TrainingData, config: TrainConfig, *, cache_gb: float | None, progress: bool, group: ProcessGroup = ALONE
) -> TrainingPictures:
    """Decode every picture once, however often it is listed and by however many processes it is looked at.

    Args:
        sources: what to read.
        config: with the side in pixels and the device.
        cache_gb: most memory in GB to take; None: half of what is free.
        progress: show bars on stderr.
        group: the processes that train together.

    Raises:
        DataError: a picture cannot be read, or the disk has no room for what memory does not hold.
    """
    train_place = _places(image.path for image in sources.train)
    val_place = _places(image.path for image in sources.val)
    device, left = choose_device(config.device), memory_limit(cache_gb)
    side = config.imgsz
    words = "read training"
    train = decode_shared(list(train_place), side, group=group, progress=progress, words=words, limit_bytes=left)
    left -= train.images.nbytes if train.where in ("memory", "shared file") else 0
    words = "read validation"
    val = decode_shared(list(val_place), side, group=group, progress=progress, words=words, limit_bytes=left)
    train, val = bring_to(train, device), bring_to(val, device)
    number = {name: k for k, name in enumerate(sources.classes)}
    return TrainingPictures(
        train=TrainingImages(
            train.images,
            torch.tensor([train_place[image.path] for image in sources.train]),
            torch.tensor([number[image.label] for image in sources.train]),
            torch.tensor([image.origin != "real" for image in sources.train]),
        ),
        val=TrainingImages(
            val.images,
            torch.tensor([val_place[image.path] for image in sources.val]),
            torch.tensor([number[image.label] for image in sources.val]),
        ),
        where=train.where,
    )


def _places(paths: Iterable[Path]) -> dict[Path, int]:
    """Each path once, with its place in the order of first mention."""
    return {path: place for place, path in enumerate(dict.fromkeys(paths))}
