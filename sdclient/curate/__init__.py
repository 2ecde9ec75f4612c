"""Keeps the good images of an output: scores, thresholds from real images, verdicts with their reasons.

The command `curate` and the loop of --until-accepted share `Curator`. It works on an open manifest, so that the loop
can call it after each round::

    with Manifest(output, create=True) as manifest:
        curator = Curator(output, manifest)
        curator.score_missing()             # only images that have no scores for their bytes yet
        for one in curator.judge():         # of all images, from the stored scores; writes the filters' verdicts
            one.file, one.is_accepted, one.is_too_alike, one.is_unreal, one.reasons, one.scores
"""

from typing import TYPE_CHECKING

from sdcore.optional_imports import import_on_first_use

from .reasons import REASONS, Direction, JudgedImage, Reason

if TYPE_CHECKING:
    from .curator import Curator

__all__ = ["REASONS", "Curator", "Direction", "JudgedImage", "Reason"]

__getattr__ = import_on_first_use(__name__, {".curator": ["Curator"]})  # needs the extra "curate"
