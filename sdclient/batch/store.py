"""The output folder of a run: whole image files first, their rows in the manifest second."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .._atomic import TEMPORARY_PATTERN, write_bytes_atomically
from ..errors import OutputError
from ..infotext import PNG_KEYWORD
from ..manifest import MANIFEST_NAME, ImageRecord, Manifest

LINEAGE_KEYWORD = "sdclient"
"""Keyword of the PNG text chunk that holds class, source sha256, key and engine as JSON."""


class OutputStore:
    """An output folder that belongs to this run.

    Args:
        output: the folder; must exist.
        manifest: its open manifest.
    """

    def __init__(self, output: Path, manifest: Manifest) -> None:
        self.output = output
        self._manifest = manifest
        self._keys = {record.file: record.key for record in manifest.images()}

    def is_done(self, file: str, key: str) -> bool:
        """Whether this image is made already.

        Raises:
            OutputError: the file is there, but was made from another source or with other parameters.
        """
        known = self._keys.get(file)
        if known is not None and known != key:
            raise OutputError(
                f"{self.output / file}: was made from another picture than the source of that number now; "
                "use a new output folder, or put the former source back"
            )
        return known is not None

    def repair(self) -> int:
        """Remove what a killed run left: temporary files, and rows whose file is gone. Gives the rows removed."""
        for temporary in self.output.glob(f"*/{TEMPORARY_PATTERN}"):
            temporary.unlink(missing_ok=True)
        gone = [file for file in self._keys if not (self.output / file).is_file()]
        self._manifest.forget(gone)
        for file in gone:
            del self._keys[file]
        return len(gone)

    def write_png(self, file: str, image: Image.Image, *, infotext: str, lineage: Mapping[str, Any]) -> str:
        """Write an image completely under a temporary name, then put it in place; gives its sha256."""
        chunks = PngInfo()
        chunks.add_text(PNG_KEYWORD, infotext)
        chunks.add_text(LINEAGE_KEYWORD, json.dumps(lineage, sort_keys=True))
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", pnginfo=chunks)
        data = buffer.getvalue()
        write_bytes_atomically(self.output / file, data)
        return hashlib.sha256(data).hexdigest()

    def record(self, records: Sequence[ImageRecord]) -> None:
        """Enter images whose files are in place."""
        self._manifest.add(list(records))
        self._keys.update({record.file: record.key for record in records})


@contextmanager
def open_store(output: Path, run: Mapping[str, Any]) -> Iterator[OutputStore]:
    """Open an output folder for a run, making it when it is new.

    Args:
        output: the folder.
        run: the run's description; `run["parameters"]` must equal that of an existing output.

    Raises:
        OutputError: the folder holds a run with other parameters, or files that are no run at all.
        ManifestError: its manifest is damaged or of a newer version.
    """
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: is a file; expected a folder for the images")
    if output.is_dir() and not (output / MANIFEST_NAME).exists() and any(output.iterdir()):
        raise OutputError(f"{output}: holds files but no {MANIFEST_NAME}; choose an empty or new folder for the images")
    output.mkdir(parents=True, exist_ok=True)
    with Manifest(output, create=True) as manifest:
        _refuse_other_parameters(output, manifest.run(), run)
        manifest.set_run(run)
        yield OutputStore(output, manifest)


def _refuse_other_parameters(output: Path, former: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    before, after = former.get("parameters"), now["parameters"]
    if before is None or before == after:
        return
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    changes = "; ".join(f"{name} was {before.get(name)!r}, now {after.get(name)!r}" for name in names)
    raise OutputError(
        f"{output}: was made with other parameters ({changes}); give the former ones to go on, or a new output folder"
    )
