"""The plan as a file, `plan.csv`: class, source, count; read back with every mistake named by its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from sdcore.files import write_bytes_atomically

from .errors import PlanError
from .plan import Plan
from .sources import Source

COLUMNS = ("class", "source", "count")


def write_plan(path: Path, plan: Plan) -> None:
    """Write the sources that owe images; a plan that owes none is the head alone.

    Raises:
        OSError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows((row.class_name, row.source, row.count) for row in plan.counts)
    write_bytes_atomically(path, text.getvalue().encode("utf-8-sig"))


def read_plan(path: Path) -> dict[tuple[str, str], int]:
    """Images owed by (class, source file name), in the file's order; a file with the head alone is an empty plan.

    Commas, semicolons and tabs are read alike, for spreadsheets save any of them.

    Raises:
        PlanError: missing, not UTF-8, other columns, or a line that is not class, source and a whole number
            from 0 on, or a source named twice; the message names the line.
    """
    lines = _lines(path)
    head = tuple(cell.strip() for cell in lines[0][1]) if lines else ()
    if head != COLUMNS:
        raise PlanError(
            f"{path}: line 1: columns are {', '.join(head) or 'missing'}; expected {', '.join(COLUMNS)}; "
            "make the file with 'sdclient plan'"
        )
    owed: dict[tuple[str, str], int] = {}
    for number, cells in lines[1:]:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(COLUMNS) or not (cells[0].strip() and cells[1].strip()):
            raise PlanError(f"{path}: line {number}: found {cells}; expected class, source and count")
        class_name, source, text = cells
        if not (text.strip().isascii() and text.strip().isdecimal()):
            raise PlanError(f"{path}: line {number}: count is {text!r}; expected a whole number from 0 on")
        if (class_name, source) in owed:
            raise PlanError(f"{path}: line {number}: {class_name}/{source} stands here twice; keep one line of it")
        owed[class_name, source] = int(text)
    return owed


def match_plan(owed: Mapping[tuple[str, str], int], sources: Sequence[Source]) -> list[tuple[Source, int]]:
    """Each source that owes images and how many, in the order of the sources.

    Args:
        owed: images by (class, source), the source by its file name ("3.png") or its number alone ("3").
        sources: those there are.

    Raises:
        PlanError: the plan names a source that is not there, or one both by name and by number.
    """
    known = {(source.class_name, source.name): source for source in sources}
    known |= {(source.class_name, str(source.number)): source for source in sources}
    counts: dict[Source, int] = {}
    for (class_name, name), count in owed.items():
        source = known.get((class_name, name))
        if source is None:
            raise PlanError(
                f"the plan names {class_name}/{name}, which is not among the sources; "
                "make the plan anew with 'sdclient plan'"
            )
        if source in counts:
            raise PlanError(f"the plan names {source.relative} twice, by name and by number; keep one of them")
        counts[source] = count
    return [(source, counts[source]) for source in sources if counts.get(source)]


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Number and cells of each line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PlanError(f"{path}: not UTF-8; in the spreadsheet, save it as 'CSV UTF-8'") from error
    except OSError as error:
        raise PlanError(
            f"{path}: cannot be read: {error.strerror or error}; make one with 'sdclient plan SOURCES --target N'"
        ) from error
    first = text.partition("\n")[0]
    delimiter = next((mark for mark in (",", ";", "\t") if mark in first), ",")
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        return [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise PlanError(f"{path}: not a CSV file: {error}") from error
