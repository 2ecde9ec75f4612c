"""One self-contained file that answers whether the generated images helped: HTML, Markdown or JSON."""

from .collect import collect_inputs
from .html import render_report
from .inputs import ReportInputs
from .write import write_report

__all__ = ["ReportInputs", "collect_inputs", "render_report", "write_report"]
