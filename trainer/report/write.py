"""Reports -> files."""

from __future__ import annotations

from pathlib import Path

from .._atomic import write_bytes_atomically
from .formats import Format, choose_format
from .html import render_report
from .inputs import ReportInputs
from .words import Language


def write_report(path: Path, inputs: ReportInputs, *, language: Language = "en", kind: Format | None = None) -> None:
    """Write the report of a comparison atomically.

    Args:
        path: its ending says the format where `kind` does not.
        inputs: what it shows.
        language: "en" or "zh".
        kind: "html", "md" or "json".

    Raises:
        ConfigError: the ending and `kind` contradict each other, or neither says anything.
        OSError: the file cannot be written.
    """
    kind = choose_format(path, kind)
    write_bytes_atomically(path, render_report(inputs, language=language, kind=kind).encode("utf-8"))
