"""Classifiers out of images: check, split, train, predict, evaluate, compare."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sd-defects")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
