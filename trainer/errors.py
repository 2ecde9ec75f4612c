"""The whole error tree of `trainer`.

::

    TrainerError
    ├── DataError              the image folders: missing, empty, wrong layout, unreadable files
    │   ├── SplitError         a split that is not possible, or a folder that holds another one
    │   └── LeakageError       a generated image that would let training see a test image
    ├── SettingsError          a setting that cannot be used
    ├── FolderInUse            another process writes into the same folder
    ├── CheckpointError        weights that are missing, damaged, or not ours
    ├── ExportError            an exported file that does not do what the classifier does
    ├── PredictionsError       a predictions file that cannot be used, with its line
    ├── EvaluationError        labels and classes that do not fit together
    │   └── TooFewDefects      a miss rate that so few defects cannot promise
    ├── GeneratedSetError      a generated output folder or its manifest that cannot be used
    ├── RankFailed             one of the processes that train together could not go on
    ├── SaidElsewhere          another of these processes failed, and says why
    └── MissingExtra           a part of the software that is not installed

Every message names the thing, what was found, what was expected and what to do next, in one line.
"""

from __future__ import annotations

from sdcore.errors import DataError as DataError
from sdcore.errors import FolderInUse as FolderInUse
from sdcore.errors import MissingExtra as MissingExtra
from sdcore.errors import ModelFileError as ModelFileError
from sdcore.errors import SDError
from sdcore.errors import SettingsError as SettingsError

TrainerError = SDError
"""Base of every error this package raises on purpose."""


class SplitError(DataError):
    """A split is not possible, or its folder already holds another one."""


class LeakageError(DataError):
    """Training would see an image that descends from validation or test data."""


class CheckpointError(ModelFileError):
    """Weights are missing, damaged, or not written by this program."""


class ExportError(TrainerError):
    """A classifier cannot be exported, or the exported file answers otherwise than torch."""


class PredictionsError(TrainerError):
    """A predictions file cannot be used; the message names the file and the line."""


class EvaluationError(TrainerError):
    """Labels, classes and the Normal class do not fit together."""


class TooFewDefects(EvaluationError):
    """There are too few validation defects to promise the miss rate that was asked for."""


class GeneratedSetError(TrainerError):
    """A folder of generated images, or its manifest, cannot be used."""


class RankFailed(TrainerError):
    """One of the processes that train together could not go on; the message says which, and why."""


class ReportedElsewhere(TrainerError):
    """Another of the processes that train together failed and says why; this one ends without a word."""

    def __init__(self) -> None:
        super().__init__("another process of this training failed; its own words say why")
