"""A classifier over any number of images, in threads.

Threads, since decoding, resizing and the network all let others run meanwhile, and starting a process takes as long as
thousands of small images.
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
    """How a classifier is put to work on images."""

    labels: Labels = "auto"
    """Where true classes come from; see `list_named_images`. An `ImageList` has its own."""
    batch_size: int | None = None
    """Images a step; the answer depends on it by rounding only. None: 64 of 64 px, 16 of 224 px on a CPU, which is
    quickest; 64 on a GPU."""
    device: str = "auto"
    """"auto", "cpu" or "cuda"."""
    threads: int = 1
    """CPU threads of the network in each worker."""
    workers: int | None = None
    """Threads, each of which reads a batch and looks at it; 0 does all in this one. None: as many as there are cores
    for, at most 8."""
    with_features: bool = False
    """Give the input of the last linear layer too; an exported file must have been made with it."""
    skip_unreadable: bool = False
    """Pass over images that cannot be read, and note them in `PredictionStream.unreadable`."""


@dataclass(frozen=True, eq=False)
class PredictedImage:
    """What a classifier said about one image."""

    image: str
    """What it is called in a table; unique, forward slashes."""
    file: str
    """Where it lies."""
    label: str
    """Its true class; empty when unknown."""
    predicted: str
    """The most probable class, the first of a tie."""
    probabilities: npt.NDArray[np.float64]
    """(K,) in the order of the classes."""
    decision: str
    """By the operating point, "OK" or "NG"; empty where none was chosen."""
    features: npt.NDArray[np.float32] | None
    """(D,), or None where they were not asked for."""


@dataclass(frozen=True)
class SkippedImage:
    """An image that was passed over."""

    image: str
    reason: str
    """Names the file."""


class PredictionStream:
    """The answers of one pass over many images, given out as they come, in the order of the images.

    Iterate over it once. `unreadable` grows meanwhile.
    """

    def __init__(
        self,
        classifier: Classifier,
        listed: ImageList,
        options: PredictOptions,
        *,
        progress: bool,
    ) -> None:
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
        """The images that are left, each with its answer."""
        return self._answers

    def close(self) -> None:
        """Stop early and end the threads."""
        self._answers.close()

    def _run(
        self, batches: Generator[Batch, None, None], skip_unreadable: bool, progress: bool
    ) -> Generator[PredictedImage, None, None]:
        with (
            tqdm(total=self.total, desc="predict", unit="image", disable=not progress) as bar,
            closing(batches),
        ):
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
    """What a classifier says about any number of images, one after another.

    Args:
        run: a run folder, a checkpoint file, or a file that `trainer export` made.
        images: a folder, an image file, a pattern such as "photos/**/*.png", several of these, or an `ImageList`.
        options: how; None: `PredictOptions()`.
        progress: show a bar on stderr.

    Returns:
        A stream to iterate over once; what goes wrong with an image is raised there.

    Raises:
        CheckpointError: the classifier is missing, damaged or not ours, or gives no numbers.
        DataError: no such folder, no image in it, or an image that cannot be read.
        SettingsError: a setting that cannot be used, such as "cuda" where there is none.
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
    """Class probabilities for every image below a folder, collected.

    With `options.labels` as it is by default, an image's label is the name of the top folder it lies in below
    `images`; "" for one that lies directly there. Arguments and errors as for `predict`.
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
    """Write `predictions.csv`, and a `features.npz`, row by row; neither file is there before it is whole.

    The CSV gets a column `decision` where the classifier has an operating point.

    Args:
        stream: not begun yet.
        output: the CSV.
        features: the archive; the stream must have been made `with_features`.

    Returns:
        How many images were written.

    Raises:
        DataError: not one image could be read; nothing is written.
        SettingsError: features of a stream without.
        PredictionsError: an image's name cannot be written.
        OSError: a file cannot be written.
    """
    if features is not None and not stream.with_features:
        raise SettingsError(f"{features}: this stream was made without features; expected one made with them")
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


def default_batch_size(imgsz: int, device: torch.device) -> int:
    """Images of a batch: 64 of 64 px, 16 of 224 px on a CPU; 64 on a GPU."""
    if device.type != "cpu":
        return _MOST_IMAGES
    return max(1, min(_MOST_IMAGES, _CACHED_PIXELS // imgsz**2))


def default_threads(threads: int) -> int:
    """Threads that read and classify, each with so many of torch: as many as there are cores for, at most 8."""
    return max(1, min(MAX_DEFAULT_WORKERS, usable_cores() // threads))


def predict_batches(
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
