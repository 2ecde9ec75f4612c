"""Accepted images into a training folder: by class for `trainer`, or with boxes for the training of a detector.

`run.export` is what `sdclient export` calls::

    result = export(Path("output"), Path("data/train"))
    detection = export(Path("output"), Path("detection"), Labels(kind="yolo"))

What an export put there stands in its table `exported.csv` (`sdclient.manifest.tables`), which is written before the
files: whatever moment it is stopped at, a repeat knows its own files and goes on.
"""

from .layouts import Labels
from .planning import ClassBalance
from .run import ExportResult, export

__all__ = ["ClassBalance", "ExportResult", "Labels", "export"]
