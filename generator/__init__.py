"""Diffusion models of the user's own defects: train one, or adapt a Stable Diffusion to them.

It imports neither `sdclient` nor `trainer`; what it makes passes to them as files.
"""

from sdcore import __version__

__all__ = ["__version__"]
