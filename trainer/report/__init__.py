"""One self-contained file that answers whether the generated images helped: HTML, Markdown or JSON."""

from .collect import collect_inputs
from .experiment_inputs import ExperimentInputs, collect_experiment
from .experiment_page import render_experiment
from .html import render_report
from .inputs import ReportInputs
from .write import write_experiment_report, write_report

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
