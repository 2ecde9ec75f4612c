"""What every benchmark says and saves: where it ran, its tables, its goals and whether they hold, each run's figures.

    report = Report("client", "the runner against webuiapi", packages=("requests", "webuiapi"), settings=vars(asked))
    report.table("images/s", ["job ms", "ours", "webuiapi"], [["50", spread(ours), spread(theirs)]])
    report.goal("ours / webuiapi, 50 ms", ratios, at_least=1.9)
    report.finish(asked.json, runs)

A goal is judged by the median of its values; the least and the most stand beside it.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Goal:
    """A figure that was asked for, and what was found."""

    what: str
    goal: str
    found: str
    values: list[float]
    holds: bool


class Report:
    """Prints a benchmark's tables as they come, and keeps them.

    Args:
        name: short name, in file names.
        what: what is measured, in one line.
        packages: distributions whose versions matter.
        settings: what the command was asked for.
    """

    def __init__(self, name: str, what: str, *, packages: Sequence[str], settings: Mapping[str, Any]) -> None:
        self._content: dict[str, Any] = {
            "name": name,
            "what": what,
            "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
            "machine": machine(),
            "versions": {"python": platform.python_version(), **{one: _version(one) for one in packages}},
            "settings": {key: value for key, value in settings.items() if key != "json"},
            "load_before": load(),
            "tables": [],
        }
        self._goals: list[Goal] = []
        versions = ", ".join(f"{one} {number}" for one, number in self._content["versions"].items())
        print(f"# {what}\n\n{self._content['machine']}; {versions}; load before {self._content['load_before']}")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table, its cells as they are to be read."""
        print(f"\n{title}\n\n{_line(columns)}\n|{'---|' * len(columns)}")
        for row in rows:
            print(_line(row))
        print(end="", flush=True)
        self._content["tables"].append({"title": title, "columns": list(columns), "rows": [list(row) for row in rows]})

    def goal(
        self,
        what: str,
        values: Sequence[float],
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        digits: int = 2,
        unit: str = "",
    ) -> None:
        """Say whether the median of the values is within the one limit given; unit "%" prints shares as per cent."""
        if (at_least is None) == (at_most is None):
            raise ValueError("give at_least or at_most")
        limit = at_least if at_least is not None else at_most
        middle = statistics.median(values)
        holds = middle >= at_least if at_least is not None else middle <= float(at_most or 0)
        words = f"{'at least' if at_least is not None else 'at most'} {_figure(float(limit or 0), unit)}"
        self._goals.append(Goal(what, words, spread(values, digits, unit), list(values), holds))

    def finish(self, path: Path | None, runs: Any) -> None:
        """Print the goals; save everything, with what each run gave, where a path is given."""
        self._content["load_after"] = load()
        if self._goals:
            rows = [[one.what, one.goal, one.found, "yes" if one.holds else "NO"] for one in self._goals]
            self.table("Goals, by the median of the runs (least to most)", ["goal", "asked", "found", "holds"], rows)
        print(f"\nload after {self._content['load_after']}", flush=True)
        if path is not None:
            content = {**self._content, "goals": [asdict(one) for one in self._goals], "runs": runs}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, indent=2, default=str, ensure_ascii=False), encoding="utf-8")


def spread(values: Sequence[float], digits: int = 2, unit: str = "") -> str:
    """Median, least and most; unit "%" prints shares as per cent."""
    factor = 100 if unit == "%" else 1
    low, middle, high = (factor * value for value in (min(values), statistics.median(values), max(values)))
    ending = f" {unit}" if unit else ""
    if len(values) == 1:
        return f"{middle:.{digits}f}{ending}"
    return f"{middle:.{digits}f}{ending} ({low:.{digits}f} to {high:.{digits}f})"


def machine() -> str:
    """Cores, processor and system."""
    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"


def load() -> float | None:
    """Processes that wanted a core over the last minute; None where the system does not tell."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def _figure(value: float, unit: str) -> str:
    return f"{100 * value:g} %" if unit == "%" else f"{value:g}{' ' + unit if unit else ''}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
