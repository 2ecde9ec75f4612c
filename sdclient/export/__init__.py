"""Export of accepted images into a training folder: by class for `trainer`, or with boxes to train a detector.

`run.export` is what `sdclient export` calls::

    result = export(Path("output"), Path("data/train"))
    detection = export(Path("output"), Path("detection"), Labels(kind="yolo"))

The table `exported.csv` (`sdclient.manifest.tables`) lists what an export wrote. It is written before the files: at
whatever moment the export is stopped, a repeat knows its own files and continues.
"""

from .layouts import Labels
from .planning import ClassBalance
from .run import ExportResult, export

__all__ = ["ClassBalance", "ExportResult", "Labels", "export"]
