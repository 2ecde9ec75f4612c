"""Diffusion models of the user's own defects: train one, or adapt a Stable Diffusion to them.

It imports neither `sdclient` nor `trainer`; what it makes passes to them as files.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sd-defects")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
