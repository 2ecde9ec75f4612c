"""`trainer predict`: a classifier applied to any number of images, in threads.

Threads are enough, since decoding, resizing and the network all release the GIL. Starting a process would take as long
as thousands of small images.
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from sdcore.onnx_classifier import ClassifierAnswer
from sdcore.torch_runtime import choose_device

from ..data.transforms import decode_rows
from ..errors import DataError, SettingsError
from ..processes import MAX_DEFAULT_WORKERS, usable_cores
from .classifier import Classifier, open_classifier
from .decision_threshold import DecisionThreshold
from .image_list import ImageList, ImageToPredict, Labels, list_named_images
from .predictions import Predictions, make_predictions, open_features, open_predictions

Inputs = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | ImageList


@dataclass(frozen=True)
class PredictOptions:
    """How a classifier is applied to images."""

    labels: Labels = "auto"
    """Where the true classes come from, see `list_named_images`; an `ImageList` brings its own."""
    batch_size: int | None = None
    """Images per step; it changes the result only by rounding. None: `default_batch_size`."""
    device: str = "auto"
    """"auto", "cpu" or "cuda"."""
    threads: int = 1
    """CPU threads of the network in each worker."""
    workers: int | None = None
    """Threads that each read and classify whole batches; 0 uses this thread. None: `default_threads`."""
    with_features: bool = False
    """Also give the input of the last linear layer; an exported file must contain it."""
    skip_unreadable: bool = False
    """Skip images that cannot be read, and list them in `PredictionStream.unreadable`."""


@dataclass(frozen=True, eq=False)
class PredictedImage:
    """The classifier's answer for one image."""

    image: str
    """Its name in tables; unique, forward slashes."""
    file: str
    """Its path."""
    label: str
    """Its true class; empty when unknown."""
    predicted: str
    """The most probable class; on a tie the first."""
    probabilities: npt.NDArray[np.float64]
    """(K,) in the order of the classes."""
    decision: str
    """"OK" or "NG" by the operating point; empty without one."""
    features: npt.NDArray[np.float32] | None
    """(D,), or None if not requested."""


@dataclass(frozen=True)
class SkippedImage:
    """An image that could not be read."""

    image: str
    reason: str
    """Names the file."""


class PredictionStream:
    """The answers for many images, in their order, as they are computed.

    Iterate over it once; `unreadable` grows meanwhile.
    """

    def __init__(self, classifier: Classifier, listed: ImageList, options: PredictOptions, *, progress: bool) -> None:
        self.source = classifier.source
        self.classes = classifier.classes
        self.point: DecisionThreshold | None = classifier.point
        self.total = len(listed.images)
        self.repeats = listed.repeats
        self.with_features = options.with_features
        self.unreadable: list[SkippedImage] = []
        batches = predict_batches(
            classifier,
            listed.images,
            batch_size=options.batch_size or default_batch_size(classifier.imgsz, choose_device(options.device)),
            workers=default_threads(options.threads) if options.workers is None else options.workers,
            threads=options.threads,
        )
        self._answers = self._run(batches, options.skip_unreadable, progress)

    def __iter__(self) -> Iterator[PredictedImage]:
        """The remaining images with their answers."""
        return self._answers

    def close(self) -> None:
        """Stop early and end the threads."""
        self._answers.close()

    def _run(
        self, batches: Generator[Batch, None, None], skip_unreadable: bool, progress: bool
    ) -> Generator[PredictedImage, None, None]:
        with tqdm(total=self.total, desc="predict", unit="image", disable=not progress) as bar, closing(batches):
            for batch in batches:
                for image, error in batch.unreadable:
                    if not skip_unreadable:
                        raise error
                    self.unreadable.append(SkippedImage(image.name, str(error)))
                if batch.answer is not None:
                    yield from self._rows(batch.images, batch.answer)
                bar.update(len(batch.images) + len(batch.unreadable))

    def _rows(self, images: Sequence[ImageToPredict], answer: ClassifierAnswer) -> Iterator[PredictedImage]:
        normal = self.classes.index(self.point.normal) if self.point is not None else 0
        for place, image in enumerate(images):
            row = answer.probabilities[place]
            yield PredictedImage(
                image=image.name,
                file=image.file,
                label=image.label,
                predicted=self.classes[int(row.argmax())],
                probabilities=row,
                decision="" if self.point is None else self.point.decide(float(row[normal])),
                features=None if answer.features is None else answer.features[place],
            )


def predict(
    run: Path, images: Inputs, options: PredictOptions | None = None, *, progress: bool = False
) -> PredictionStream:
    """Classify any number of images; iterate once over the result, which raises the errors about single images.

    Args:
        run: a run folder, a checkpoint file, or a file that `trainer export` made.
        images: a folder, an image file, a pattern such as "photos/**/*.png", several of these, or an `ImageList`.
        options: None means `PredictOptions()`.
        progress: show a bar on stderr.

    Raises:
        ModelFileError: the classifier is missing, damaged, not ours, or gives NaN.
        DataError: a folder is missing or has no images, or an image cannot be read.
        SettingsError: a setting cannot be used, such as "cuda" without a GPU.
        MissingExtra: an ONNX file, and onnxruntime is not installed.
    """
    options = options or PredictOptions()
    if options.batch_size is not None and options.batch_size < 1:
        raise SettingsError(f"batch_size: found {options.batch_size}; expected 1 or more")
    if options.workers is not None and options.workers < 0:
        raise SettingsError(f"workers: found {options.workers}; expected 0 or more")
    if isinstance(images, str | os.PathLike):
        images = [images]
    listed = images if isinstance(images, ImageList) else list_named_images(images, labels=options.labels)
    classifier = open_classifier(
        Path(run), device=options.device, threads=options.threads, with_features=options.with_features
    )
    return PredictionStream(classifier, listed, options, progress=progress)


def predict_folder(
    run: Path, images: Path, options: PredictOptions | None = None, *, progress: bool = True
) -> Predictions:
    """Class probabilities for all images below a folder, collected. Arguments and errors as for `predict`.

    By default an image's label is the name of the top folder below `images`, and "" for an image directly in it.
    """
    if not Path(images).is_dir():
        raise DataError(f"{images}: no such folder; expected a folder of images")
    stream = predict(run, images, options, progress=progress)
    rows = list(stream)
    return make_predictions(
        images=[row.image for row in rows],
        labels=[row.label for row in rows],
        classes=stream.classes,
        probabilities=np.stack([row.probabilities for row in rows]),
    )


def write_stream(stream: PredictionStream, output: Path, *, features: Path | None = None) -> int:
    """Write `predictions.csv`, and optionally `features.npz`, row by row; each file appears when it is complete.

    The CSV has a column `decision` if the classifier has an operating point. The stream must not be iterated yet, and
    be made `with_features` if they are to be written. The number of images written is returned.

    Raises:
        DataError: no image could be read; nothing is written.
        SettingsError: the stream has no features.
        PredictionsError: an image's name cannot be written.
        OSError: a file cannot be written.
    """
    if features is not None and not stream.with_features:
        raise SettingsError(f"{features}: this stream was made without features; make it with them")
    count = 0
    with ExitStack() as files:
        table = files.enter_context(open_predictions(output, stream.classes, decisions=stream.point is not None))
        archive = files.enter_context(open_features(features, stream.classes)) if features is not None else None
        for row in stream:
            table.write(row.image, row.label, row.probabilities.tolist(), row.decision)
            if archive is not None and row.features is not None:
                archive.write(row.image, row.label, row.features)
            count += 1
        if count == 0:
            first = stream.unreadable[0].reason if stream.unreadable else "the stream was at its end already"
            raise DataError(f"none of {stream.total} images could be read, the first because: {first}")
    return count


_CACHED_PIXELS = 16 * 224 * 224
"""Pixels of a batch on a CPU. With more, the feature maps no longer fit the cache; with less, call overhead counts."""
_MOST_IMAGES = 64
_BATCHES_AHEAD = 1
"""Batches beyond one per thread, so that no thread is idle while an answer is written."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Images that were classified together."""

    images: tuple[ImageToPredict, ...]
    """Those that could be read."""
    answer: ClassifierAnswer | None
    """None where none could be read."""
    unreadable: tuple[tuple[ImageToPredict, DataError], ...]


def default_batch_size(imgsz: int, device: torch.device) -> int:
    """Images of a batch: 64 of 64 px, 16 of 224 px on a CPU; 64 on a GPU."""
    if device.type != "cpu":
        return _MOST_IMAGES
    return max(1, min(_MOST_IMAGES, _CACHED_PIXELS // imgsz**2))


def default_threads(threads: int) -> int:
    """Threads that read and classify when each uses `threads` of torch: as many as the cores allow, at most 8."""
    return max(1, min(MAX_DEFAULT_WORKERS, usable_cores() // threads))


def predict_batches(
    classifier: Classifier, images: Sequence[ImageToPredict], *, batch_size: int, workers: int, threads: int
) -> Generator[Batch, None, None]:
    """Classify images in batches, in order; memory does not grow with the number of images.

    Each of `workers` threads has its own batch and `threads` of torch; 0 workers uses this thread. The batch size
    changes the answers only by rounding, `workers` not at all.
    """
    starts = range(0, len(images), batch_size)
    if workers == 0:
        for start in starts:
            yield _classify_batch(classifier, images[start : start + batch_size])
        return
    # torch counts its threads per thread, and a new thread takes over the number set last in any of them.
    pool = ThreadPoolExecutor(
        workers, thread_name_prefix="predict", initializer=torch.set_num_threads, initargs=(threads,)
    )
    # `catch_warnings` is not thread-safe: threads that use it at once leave filters behind, which are removed here.
    with warnings.catch_warnings():
        try:
            waiting: deque[Future[Batch]] = deque()
            for start in starts:
                waiting.append(pool.submit(_classify_batch, classifier, images[start : start + batch_size]))
                if len(waiting) > workers + _BATCHES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(torch.get_num_threads())  # so that later threads start as this one


def _classify_batch(classifier: Classifier, images: Sequence[ImageToPredict]) -> Batch:
    pixels = np.empty((len(images), classifier.imgsz, classifier.imgsz, 3), dtype=np.uint8)
    readable: list[ImageToPredict] = []
    unreadable: list[tuple[ImageToPredict, DataError]] = []
    for image in images:
        try:
            if not Path(image.file).is_file():
                raise DataError(
                    f"{image.file}: no such file; expected an image; check the list, or add --skip-unreadable"
                )
            pixels[len(readable)] = decode_rows(Path(image.file), classifier.imgsz)
        except DataError as error:
            unreadable.append((image, error))
        else:
            readable.append(image)
    answer = classifier.predict(pixels[: len(readable)].transpose(0, 3, 1, 2)) if readable else None
    return Batch(tuple(readable), answer, tuple(unreadable))
