"""Look-alikes of training pictures in val and test: what the guard says of them, and the page that shows them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from .check import NEAR_BITS, CheckResult
from .dataset import PARTS, Dataset
from .duplicates import find_look_alikes
from .findings import Finding, Seen
from .fingerprints import Fingerprint
from .generated import GeneratedSet

NEAR_NAME = "near_duplicates.html"


def find_near_across(
    dataset: Dataset, joined: Sequence[GeneratedSet], prints: Mapping[Path, Fingerprint]
) -> tuple[Finding, ...]:
    """Each val or test picture that looks like one that is trained on, with the nearest; as 'trainer check' has it.

    Args:
        dataset: the parts.
        joined: generated folders whose images join training.
        prints: of every file of the dataset and of the sets.

    Returns:
        One finding a held-out picture, its files being (held out, training), relative to DATA.
    """
    listed = [(part, image.label, image.path) for part in PARTS for image in dataset.part(part)]
    listed += [("train", image.label, image.path) for one in joined for image in one.images]
    seen = [
        Seen(_relative(path, dataset.root), part, label, prints[path])
        for part, label, path in listed
        if prints[path].error is None
    ]
    found = find_look_alikes(seen, max_distance=NEAR_BITS)
    return tuple(finding for finding in found if finding.kind == "near_across")


def write_near_sheet(path: Path, root: Path, found: Sequence[Finding], *, pictures: int) -> None:
    """Write the page of look-alikes, each held-out picture beside the training one.

    Args:
        path: where to.
        root: DATA.
        found: of `find_near_across`, one or more.
        pictures: how many are held out in all.

    Raises:
        OSError: the file cannot be written.
    """
    from .report.check_sheet import sections_of
    from .report.sheet import write_sheet

    words = f"{len(found)} of {pictures} validation and test pictures look like one that is trained on"
    (section,) = sections_of(CheckResult(root, pictures, (), tuple(found)))
    sections = [replace(section, total=len(found))]  # held-out pictures, not files
    write_sheet(path, f"Look-alikes across the splits of {root.resolve().name}", sections, words=words)


def _relative(path: Path, root: Path) -> str:
    try:
        return Path(os.path.relpath(path, root)).as_posix()
    except ValueError:  # on another drive
        return path.resolve().as_posix()
