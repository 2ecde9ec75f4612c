"""All errors of `generator`.

::

    GeneratorError
    ├── DataError              the training images are missing, unreadable or laid out wrongly
    │   ├── TooFewImages       a class, or the whole set, is too small to learn from
    │   └── GeneratedImages    generated images are among the training images
    ├── SettingsError          a setting cannot be used
    ├── ModelError             a base model or a saved state is missing, damaged, a pickle, or does not fit
    ├── ModelFileError         a saved model or classifier is missing, damaged, could run code, or does not fit
    ├── OutOfMemory            the device's memory does not hold this size and batch
    ├── TrainingDiverged       the loss is no longer a number
    └── MissingExtra           an optional part of the software is not installed

Every message names the thing, what was found, what was expected and what to do next, in one line.
"""

from sdcore.errors import (
    DataError as DataError,
    MissingExtra as MissingExtra,
    ModelFileError as ModelFileError,
    OutOfMemory as OutOfMemory,
    SDError,
    SettingsError as SettingsError,
)

GeneratorError = SDError
"""Base of every error this package raises on purpose."""


class TooFewImages(DataError):
    """A class, or the whole set, is too small to learn from."""


class GeneratedImages(DataError):
    """Generated images are among the training images."""


class ModelError(GeneratorError):
    """A base model or a training's state is missing, damaged, a pickle, or does not fit."""


class TrainingDiverged(GeneratorError):
    """The loss is no longer a number."""
