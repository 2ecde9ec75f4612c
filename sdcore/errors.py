"""The root of all errors that this project raises on purpose, and the errors that several packages share."""

from typing import Any


class SDError(Exception):
    """Base of every error that the packages raise on purpose; it survives pickling.

    `sdclient.SDClientError`, `trainer.errors.TrainerError` and `generator.errors.GeneratorError` are other
    names of this class.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception.__reduce__ calls the class with the message alone, which fails where __init__ takes more arguments.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[SDError], args: tuple[Any, ...], attributes: dict[str, Any]) -> SDError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ProjectError(SDError):
    """The user's own files or settings cannot be used."""


class AnnotationError(ProjectError):
    """An annotation file (YOLO or VOC) is missing, malformed, or has a box outside its image."""


class FolderInUse(ProjectError):
    """Another process is writing into the same folder."""


class ModelFileError(ProjectError):
    """A saved diffusion model is missing, damaged, a pickle, or its parts do not fit together."""


class OutOfMemory(ProjectError):
    """The memory of the device does not hold this size and batch."""


class SettingsError(ProjectError):
    """A setting has a value that cannot be used."""


class DataError(ProjectError):
    """An image folder is missing, empty, laid out wrongly, or holds files that cannot be read."""


class UnreadableImage(DataError):
    """A file cannot be decoded as an image.

    Attributes:
        reason: what is wrong with the file, without its name and the advice.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


class MissingExtra(ProjectError):
    """A part of the software is not installed; the message gives the command that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}': pip install \"sd-defects[{extra}]\"")
