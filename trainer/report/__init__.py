"""One self-contained file that answers whether the generated images helped: HTML, Markdown or JSON."""

from .collect import collect_inputs
from .compare_report import render_report, write_report
from .experiment_report import ExperimentInputs, collect_experiment, render_experiment, write_experiment_report
from .inputs import ReportInputs

__all__ = [
    "ExperimentInputs",
    "ReportInputs",
    "collect_experiment",
    "collect_inputs",
    "render_experiment",
    "render_report",
    "write_experiment_report",
    "write_report",
]
