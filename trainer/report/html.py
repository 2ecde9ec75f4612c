"""ReportInputs -> a report as one HTML page, as Markdown or as JSON; pure."""

from __future__ import annotations

import json

from sdcore.messages import Language

from .compare_page import compare_context
from .data import report_data
from .formats import Format
from .inputs import ReportInputs
from .page import render_markdown, render_page
from .pieces import ReportWords


def render_report(inputs: ReportInputs, *, language: Language = "en", kind: Format = "html") -> str:
    """The report as text.

    Every figure of the comparison stands twice in a page: in the JSON block `report-data`, and in a visible element
    whose `data-metric` is its JSON pointer in that block and whose `data-value` is the unrounded number. JSON is that
    block alone, the same in every language; Markdown has the same tables and no pictures.
    """
    if kind == "json":
        return json.dumps(report_data(inputs), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    words = ReportWords(language, markup=kind == "html")
    context = compare_context(inputs, words, draw=kind == "html")
    if kind == "md":
        return render_markdown("compare.md.j2", words, **context)
    return render_page("compare.html.j2", words, data=report_data(inputs), **context)
