"""What a test asks of a rendered page."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

from sdcore.messages import Language
from trainer.messages import count, number, p_value, percent, signed
from trainer.report import ReportInputs, render_report

VOID = {"meta", "img", "br"}
STYLES: tuple[Callable[[Any], str], ...] = (percent, number, signed, count, p_value, "{:g}".format)


class Page(HTMLParser):
    """Collects what a test asks of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.figures: list[tuple[str, str, str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.block = ""
        self.rows: list[tuple[str, ...]] = []
        """Of all tables' bodies, each cell `bare`."""
        self._cells: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self._cells = []
        if tag in ("td", "th"):
            self._cells.append("")
        if "data-metric" in dict(attrs):
            self.figures.append((dict(attrs)["data-metric"] or "", dict(attrs)["data-value"] or "", ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "tr" and "tbody" in self.open:
            self.rows.append(tuple(bare(cell) for cell in self._cells if bare(cell)))

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside == "script":
            self.block += data
        elif inside != "style":
            self.words += data
        if self._cells and "tr" in self.open:
            self._cells[-1] += data
        if self.figures and inside and "data-metric" in self.tags[-1][1] and not self.figures[-1][2]:
            self.figures[-1] = (*self.figures[-1][:2], data.strip())


def follow(document: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document


def bare(words: str) -> str:
    """Words without what a page and Markdown write differently: blanks, brackets, escapes."""
    return re.sub(r"[\s()\\]", "", words)


def markdown_rows(text: str) -> list[tuple[str, ...]]:
    """The rows of all tables, heads left out, each cell `bare`, sorted."""
    rows, before = [], []
    for line in text.splitlines():
        if not line.startswith("| "):
            before = []
            continue
        cells = [bare(cell) for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        before.append(cells)
        if len(before) > 2:
            rows.append(tuple(cell for cell in cells if cell))
    return sorted(rows)


_PAGES: dict[tuple[int, str], tuple[ReportInputs, Page]] = {}


def page_of(inputs: ReportInputs, language: Language = "en") -> Page:
    """The page of a report, drawn once however many tests look at it."""
    key = (id(inputs), language)
    if key not in _PAGES:
        _PAGES[key] = (inputs, Page(render_report(inputs, language=language)))
    return _PAGES[key][1]
