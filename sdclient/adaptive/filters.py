"""The filters of `sdclient curate` as the judge of a run that goes on until enough is accepted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..curate import JudgedImage
from ..curate.curator import Curator
from ..manifest import Manifest
from .feed import ImageJudge


def open_filters(output: Path, manifest: Manifest) -> ImageJudge:
    """A judge with the usual limits, which come from the output's own sources.

    Args:
        output: the folder.
        manifest: its manifest, open for writing.

    Raises:
        MissingExtra: the filters' extra is not installed.
        SourceError: a source, from which the limits come, cannot be read.
    """
    curator = Curator(output, manifest)

    def judge() -> Iterable[JudgedImage]:
        curator.score_missing()
        return curator.judge()

    return judge
