"""Classifiers out of images: check, split, train, predict, evaluate, compare."""

from sdcore import __version__

__all__ = ["__version__"]
