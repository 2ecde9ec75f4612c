"""Many images through a classifier, a batch after the other: each of several threads reads one and has it classified.

Threads, since decoding, resizing and the network all let others run meanwhile, and starting a process takes as long as
thousands of small images.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sdcore.onnx_classifier import ClassifierAnswer

from .classifier import Classifier
from .errors import DataError
from .image_list import ImageToPredict
from .loader import decode_rows
from .workers import MOST_BY_DEFAULT, usable_cores

_CACHED_PIXELS = 16 * 224 * 224
"""Of a batch on a CPU: with more of them the network's planes leave the cache, with less its calls weigh."""
_MOST_IMAGES = 64
_BATCHES_AHEAD = 1
"""Beside those in work: what one thread may begin while the answers of its last are written."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Images that were looked at together."""

    images: tuple[ImageToPredict, ...]
    """Those that could be read."""
    answer: ClassifierAnswer | None
    """None where none could be read."""
    unreadable: tuple[tuple[ImageToPredict, DataError], ...]


def sensible_batch(imgsz: int, device: torch.device) -> int:
    """Images of a batch: 64 of 64 px, 16 of 224 px on a CPU; 64 on a GPU."""
    if device.type != "cpu":
        return _MOST_IMAGES
    return max(1, min(_MOST_IMAGES, _CACHED_PIXELS // imgsz**2))


def sensible_lanes(threads: int) -> int:
    """Threads that read and classify, each with so many of torch: as many as there are cores for, at most 8."""
    return max(1, min(MOST_BY_DEFAULT, usable_cores() // threads))


def look_at(
    classifier: Classifier, images: Sequence[ImageToPredict], *, batch_size: int, workers: int, threads: int
) -> Generator[Batch, None, None]:
    """Every image with the classifier's answer, in batches, in order; memory does not grow with their number.

    Args:
        classifier: that several threads may ask.
        images: to look at.
        batch_size: how many together; the answers depend on it by rounding only, and on `workers` not at all.
        workers: threads, each with a batch of its own; 0 does all in this one.
        threads: of torch within each of them.
    """
    starts = range(0, len(images), batch_size)
    if workers == 0:
        for start in starts:
            yield _look(classifier, images[start : start + batch_size])
        return
    # A new thread takes the number that was set last, by whomever.
    pool = ThreadPoolExecutor(
        workers, thread_name_prefix="lane", initializer=torch.set_num_threads, initargs=(threads,)
    )
    # Threads that silence warnings at once leave one another's filters behind; they are put back here.
    with warnings.catch_warnings():
        try:
            waiting: deque[Future[Batch]] = deque()
            for start in starts:
                waiting.append(pool.submit(_look, classifier, images[start : start + batch_size]))
                if len(waiting) > workers + _BATCHES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(torch.get_num_threads())  # for threads to come, as it is in this one


def _look(classifier: Classifier, images: Sequence[ImageToPredict]) -> Batch:
    pixels = np.empty((len(images), classifier.imgsz, classifier.imgsz, 3), dtype=np.uint8)
    readable: list[ImageToPredict] = []
    unreadable: list[tuple[ImageToPredict, DataError]] = []
    for image in images:
        try:
            pixels[len(readable)] = _read(image.file, classifier.imgsz)
        except DataError as error:
            unreadable.append((image, error))
        else:
            readable.append(image)
    answer = classifier.predict(pixels[: len(readable)].transpose(0, 3, 1, 2)) if readable else None
    return Batch(tuple(readable), answer, tuple(unreadable))


def _read(file: str, imgsz: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    path = Path(file)
    if not path.is_file():
        raise DataError(f"{file}: no such file; expected an image; check the list, or add --skip-unreadable")
    return decode_rows(path, imgsz)
