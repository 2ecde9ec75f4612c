"""A manifest as a table for a spreadsheet, or as JSON lines for a script."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TextIO

from .manifest import ImageRecord, Manifest


def _rows(output: Path) -> Iterator[dict[str, Any]]:
    with Manifest(output) as manifest:
        for record in manifest.images():
            yield asdict(record)


def export_jsonl(output: Path, stream: TextIO) -> int:
    """Write one JSON object a line for every image that is done; gives how many.

    Raises:
        ManifestError: no manifest, or a damaged one.
    """
    count = 0
    for count, row in enumerate(_rows(output), 1):  # noqa: B007 - the count is the result
        stream.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
    return count


def export_csv(output: Path, stream: TextIO) -> int:
    """Write a CSV with one line for every image that is done; gives how many.

    What has parts (asked, used, other_parents) is JSON in its cell.

    Raises:
        ManifestError: no manifest, or a damaged one.
    """
    writer = csv.DictWriter(stream, [field.name for field in fields(ImageRecord)])
    writer.writeheader()
    count = 0
    for count, row in enumerate(_rows(output), 1):  # noqa: B007 - the count is the result
        for name in ("asked", "used", "other_parents"):
            row[name] = json.dumps(row[name], ensure_ascii=False, sort_keys=True)
        writer.writerow(row)
    return count
