"""Keeps the good ones of what was generated: scores, limits from real images, verdicts with their reasons.

`curator.Curator` is what the command, the regenerate loop and tests share. It works on a manifest that is open already,
so a loop calls it after each round::

    with Manifest(output, create=True) as manifest:
        curator = Curator(output, manifest)
        curator.score_missing()             # only images that have no scores for their bytes yet
        for one in curator.judge():         # of all images, from the stored scores; writes the filters' verdicts
            one.file, one.is_accepted, one.is_too_alike, one.is_unreal, one.reasons, one.scores
"""

from __future__ import annotations

from .judged import Judged
from .reasons import REASONS, Direction, Reason

__all__ = ["REASONS", "Direction", "Judged", "Reason"]
