"""One self-contained HTML file that answers whether the generated images helped."""

from .collect import collect_inputs
from .html import render_report, write_report
from .inputs import ReportInputs

__all__ = ["ReportInputs", "collect_inputs", "render_report", "write_report"]
