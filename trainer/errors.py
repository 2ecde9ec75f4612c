"""The whole error tree of `trainer`.

::

    TrainerError
    ├── DataError              the image folders: missing, empty, wrong layout, unreadable files
    │   ├── SplitError         a split that is not possible, or a folder that holds another one
    │   └── LeakageError       a generated image that would let training see a test image
    ├── SettingsError          a setting that cannot be used
    ├── FolderInUse            another process writes to the same folder
    ├── ModelFileError         a model file that cannot be used
    │   └── CheckpointError    weights that are missing, damaged, or not ours
    ├── ExportError            an exported file whose answers differ from the classifier's
    ├── PredictionsError       a predictions file that cannot be used, with its line
    ├── EvaluationError        labels and classes that do not match
    │   └── TooFewDefects      too few defects to promise a miss rate
    ├── GeneratedSetError      a generated output folder or its manifest that cannot be used
    ├── RankFailed             a process of a distributed training failed
    ├── ReportedElsewhere      another process of the training failed and reports it
    └── MissingExtra           a part of the software that is not installed

Every message names the thing, what was found, what was expected and what to do next, in one line.
"""

from sdcore.errors import (
    DataError as DataError,
    FolderInUse as FolderInUse,
    MissingExtra as MissingExtra,
    ModelFileError as ModelFileError,
    SDError,
    SettingsError as SettingsError,
)

TrainerError = SDError
"""The same class as `SDError`: base of every error that this package raises on purpose."""


class SplitError(DataError):
    """A split is not possible, or its folder holds another one already."""


class LeakageError(DataError):
    """Training would see validation or test data, or an image made from it."""


class CheckpointError(ModelFileError):
    """Weights are missing, damaged, or not written by this program."""


class ExportError(TrainerError):
    """A classifier cannot be exported, or the exported file gives other answers than torch."""


class PredictionsError(TrainerError):
    """A predictions file cannot be used; the message names the file and the line."""


class EvaluationError(TrainerError):
    """Labels, classes and the Normal class do not match."""


class TooFewDefects(EvaluationError):
    """There are too few validation defects to promise the requested miss rate."""


class GeneratedSetError(TrainerError):
    """A folder of generated images, or its manifest, cannot be used."""


class RankFailed(TrainerError):
    """A process of a distributed training failed; the message says which and why."""


class ReportedElsewhere(TrainerError):
    """Another process of the training failed and reports the reason; this one ends silently."""

    def __init__(self) -> None:
        super().__init__("another process of this training failed; its own words say why")
