"""Reports -> files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sdcore.files import write_bytes_atomically
from sdcore.messages import Language

from ..experiment.result import ExperimentResult
from .experiment_inputs import collect_experiment
from .experiment_page import render_experiment
from .formats import Format, choose_format
from .html import render_report
from .inputs import ReportInputs


def write_report(path: Path, inputs: ReportInputs, *, language: Language = "en", kind: Format | None = None) -> None:
    """Write the report of a comparison atomically.

    Args:
        path: its ending says the format where `kind` does not.
        inputs: what it shows.
        language: "en" or "zh".
        kind: "html", "md" or "json".

    Raises:
        SettingsError: the ending and `kind` contradict each other, or neither says anything.
        OSError: the file cannot be written.
    """
    kind = choose_format(path, kind)
    write_bytes_atomically(path, render_report(inputs, language=language, kind=kind).encode("utf-8"))


def write_experiment_report(
    path: Path,
    result: ExperimentResult,
    *,
    output: Path,
    language: Language = "en",
    kind: Format | None = None,
    commands: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write the report of an experiment atomically.

    Args:
        path: its ending says the format where `kind` does not.
        result: of the experiment.
        output: the folder that the cells' folders are relative to.
        language: "en" or "zh".
        kind: "html", "md" or "json".
        commands: lines that make this report again.
        notes: caveats of the user's own.

    Raises:
        SettingsError: the ending and `kind` contradict each other, or neither says anything.
        DataError: a cell's record is damaged.
        OSError: the file cannot be written.
    """
    kind = choose_format(path, kind)
    inputs = collect_experiment(result, output=output, commands=commands, notes=notes)
    write_bytes_atomically(path, render_experiment(inputs, language=language, kind=kind).encode("utf-8"))
