"""A classifier looks at images, a batch at a time: memory does not grow with their number."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from .classifier import Classifier, open_classifier
from .errors import ConfigError, DataError
from .features_file import open_features
from .image_list import ImageList, ImageToPredict, Labels, list_named_images
from .loader import decode
from .operating_point_file import ChosenPoint
from .prediction_rows import open_predictions
from .predictions import Predictions, make_predictions

_BATCHES_AHEAD = 2
"""Decoded images waiting for the network: enough that it does not wait for them."""

Picture = npt.NDArray[np.uint8]
Inputs = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | ImageList


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
class UnreadableImage:
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
        *,
        batch_size: int,
        workers: int,
        with_features: bool,
        skip_unreadable: bool,
        progress: bool,
    ) -> None:
        self.source = classifier.source
        self.classes = classifier.classes
        self.point: ChosenPoint | None = classifier.point
        self.total = len(listed.images)
        self.repeats = listed.repeats
        self.with_features = with_features
        self.unreadable: list[UnreadableImage] = []
        self._answers = self._run(classifier, listed.images, batch_size, workers, skip_unreadable, progress)

    def __iter__(self) -> Iterator[PredictedImage]:
        """The images that are left, each with its answer."""
        return self._answers

    def close(self) -> None:
        """Stop early and end the threads."""
        self._answers.close()

    def _run(
        self,
        classifier: Classifier,
        images: tuple[ImageToPredict, ...],
        batch_size: int,
        workers: int,
        skip_unreadable: bool,
        progress: bool,
    ) -> Generator[PredictedImage, None, None]:
        bar = tqdm(total=len(images), desc="predict", unit="image", disable=not progress)
        decoded = _decode_ahead(images, classifier.imgsz, workers=workers, ahead=batch_size * _BATCHES_AHEAD)
        with bar:
            try:
                while batch := list(islice(decoded, batch_size)):
                    readable = []
                    for image, picture in batch:
                        if isinstance(picture, DataError):
                            if not skip_unreadable:
                                raise picture
                            self.unreadable.append(UnreadableImage(image.name, str(picture)))
                        else:
                            readable.append((image, picture))
                    if readable:
                        yield from self._look(classifier, readable)
                    bar.update(len(batch))
            finally:
                decoded.close()

    def _look(
        self, classifier: Classifier, batch: Sequence[tuple[ImageToPredict, Picture]]
    ) -> Iterator[PredictedImage]:
        answer = classifier(np.stack([picture for _, picture in batch]))
        normal = self.classes.index(self.point.normal) if self.point is not None else 0
        for place, (image, _) in enumerate(batch):
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
    run: Path,
    images: Inputs,
    *,
    labels: Labels = "auto",
    batch_size: int = 64,
    device: str = "auto",
    threads: int = 1,
    workers: int = 1,
    with_features: bool = False,
    skip_unreadable: bool = False,
    progress: bool = False,
) -> PredictionStream:
    """What a classifier says about any number of images, one after another.

    Args:
        run: a run folder, a checkpoint file, or a file that `trainer export` made.
        images: a folder, an image file, a pattern such as "photos/**/*.png", several of these, or an `ImageList`.
        labels: where true classes come from; see `list_named_images`.
        batch_size: images a step; the answer depends on it by rounding only.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads of the network.
        workers: threads that read images while the network works; 0 reads them in between.
        with_features: give the input of the last linear layer too; an exported file must have been made with it.
        skip_unreadable: pass over images that cannot be read, and note them in `unreadable`.
        progress: show a bar on stderr.

    Returns:
        A stream to iterate over once; what goes wrong with an image is raised there.

    Raises:
        CheckpointError: the classifier is missing, damaged or not ours, or gives no numbers.
        DataError: no such folder, no image in it, or an image that cannot be read.
        ConfigError: a setting that cannot be used, such as "cuda" where there is none.
        MissingExtra: an ONNX file, and onnxruntime is not installed.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size: found {batch_size}; expected 1 or more")
    if workers < 0:
        raise ConfigError(f"workers: found {workers}; expected 0 or more")
    if isinstance(images, str | os.PathLike):
        images = [images]
    listed = images if isinstance(images, ImageList) else list_named_images(images, labels=labels)
    classifier = open_classifier(Path(run), device=device, threads=threads, with_features=with_features)
    return PredictionStream(
        classifier,
        listed,
        batch_size=batch_size,
        workers=workers,
        with_features=with_features,
        skip_unreadable=skip_unreadable,
        progress=progress,
    )


def predict_folder(
    run: Path,
    images: Path,
    *,
    batch_size: int = 64,
    device: str = "auto",
    threads: int = 1,
    workers: int = 1,
    progress: bool = True,
) -> Predictions:
    """Class probabilities for every image below a folder, collected.

    An image's label is the name of the top folder it lies in below `images`; "" for one that lies directly there.
    Arguments and errors as for `predict`.
    """
    if not Path(images).is_dir():
        raise DataError(f"{images}: no such folder; expected a folder of images")
    stream = predict(
        run, images, batch_size=batch_size, device=device, threads=threads, workers=workers, progress=progress
    )
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
        ConfigError: features of a stream without.
        PredictionsError: an image's name cannot be written.
        OSError: a file cannot be written.
    """
    if features is not None and not stream.with_features:
        raise ConfigError(f"{features}: this stream was made without features; expected one made with them")
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


def _decode_ahead(
    images: Sequence[ImageToPredict], imgsz: int, *, workers: int, ahead: int
) -> Generator[tuple[ImageToPredict, Picture | DataError], None, None]:
    """Every image with its pixels, or with why it has none, in order; threads read up to `ahead` of them ahead."""
    if workers == 0:
        for image in images:
            yield image, _decode_or_reason(image.file, imgsz)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    # Threads that silence warnings at once leave one another's filters behind; they are put back here.
    with warnings.catch_warnings():
        try:
            waiting: deque[tuple[ImageToPredict, Future[Picture | DataError]]] = deque()
            for image in images:
                waiting.append((image, pool.submit(_decode_or_reason, image.file, imgsz)))
                if len(waiting) > ahead:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _decode_or_reason(file: str, imgsz: int) -> Picture | DataError:
    path = Path(file)
    if not path.is_file():
        return DataError(f"{file}: no such file; expected an image; check the list, or add --skip-unreadable")
    try:
        return decode(path, imgsz)
    except DataError as error:
        return error
