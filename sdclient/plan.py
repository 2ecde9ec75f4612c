"""How many images each source owes, from the number of images of each class; and plan.csv."""

from __future__ import annotations

import csv
import io
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

from sdcore.files import write_bytes_atomically

from .errors import PlanError
from .sources.source import Source

_T = TypeVar("_T")
USUALLY_EXCLUDED = ("Normal",)
"""Classes that a plan leaves out unless the user names others."""


@dataclass(frozen=True)
class SourceCount:
    """How many images one source owes."""

    class_name: str
    source: str
    """File name inside the class folder, or only the source's number."""
    count: int


@dataclass(frozen=True)
class PlanRow:
    """The plan of one class, or of several together."""

    class_name: str
    original: int
    to_generate: int
    planned: bool
    """False for a class that was left out."""
    short_of_target: int = 0
    """Images missing from the target because of the limit for each source."""

    @property
    def total(self) -> int:
        """Original and generated images together."""
        return self.original + self.to_generate

    @property
    def generated_share(self) -> float | None:
        """to_generate / total, in [0, 1]; None if there is no image."""
        return self.to_generate / self.total if self.total else None


@dataclass(frozen=True)
class Plan:
    """What each class gets and each source owes."""

    rows: tuple[PlanRow, ...]
    """One for each class, in the order given."""
    counts: tuple[SourceCount, ...]
    """The sources that owe at least one image."""
    target: int | None
    """Number of images to which classes are filled; None if every source owes the same number."""
    target_asked: int | None
    """The target before `min_share` raised it."""

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, int],
        *,
        target: int | None = None,
        exclude: Collection[str] | None = None,
        per_source: int | None = None,
        max_per_source: int | None = None,
        min_share: float | Fraction | None = None,
    ) -> Plan:
        """The plan for class -> number of sources, named "1", "2", ...; options as of `make_plan`.

        Raises:
            PlanError: a count below 0, or as `make_plan`.
        """
        for class_name, count in counts.items():
            if count < 0:
                raise PlanError(f"class {class_name!r} has {count} sources; expected 0 or more")
        return make_plan(
            {class_name: [str(number + 1) for number in range(count)] for class_name, count in counts.items()},
            target=target,
            exclude=exclude,
            per_source=per_source,
            max_per_source=max_per_source,
            min_share=min_share,
        )

    @property
    def owed(self) -> dict[tuple[str, str], int]:
        """(class, source) -> images, as `read_plan` reads them from a file."""
        return {(row.class_name, row.source): row.count for row in self.counts}

    @property
    def all_classes(self) -> PlanRow:
        """All classes together, also those left out."""
        return _sum("all", self.rows)

    @property
    def planned_classes(self) -> PlanRow:
        """The classes that were not left out, together; `min_share` is about these."""
        return _sum("planned", [row for row in self.rows if row.planned])

    @property
    def short_rows(self) -> tuple[PlanRow, ...]:
        """Classes that stay below the target."""
        return tuple(row for row in self.rows if row.short_of_target)


def make_plan(
    sources: Mapping[str, Sequence[str]],
    *,
    target: int | None = None,
    exclude: Collection[str] | None = None,
    per_source: int | None = None,
    max_per_source: int | None = None,
    min_share: float | Fraction | None = None,
) -> Plan:
    """Decide how many images each source owes.

    With `target`, every class below it is filled to exactly the target. The images are spread over the sources so
    that no two differ by more than one; the first sources give the odd images, so a higher target never takes an
    image away from a source. Classes at or above the target get none. With `min_share`, the target rises to the
    smallest one at which generated / (original + generated), over the classes that are not left out, reaches it.
    With `per_source`, every source owes exactly that many.

    Args:
        sources: names of the source files of each class, in order.
        target: images of a class, original and generated together.
        exclude: classes left out, each of which must exist; None leaves out "Normal" if there is one.
        per_source: images each source owes; excludes the other options.
        max_per_source: limit for one source.
        min_share: in [0, 1); a float counts as the decimal number it prints as, so 0.2 is exactly a fifth.

    Raises:
        PlanError: contradicting options, values out of range, an excluded class that is not there, nothing left to
            plan, or a share that `max_per_source` makes impossible.
    """
    _check_options(target, per_source, max_per_source, min_share)
    excluded = _excluded(sources, exclude)
    planned = [len(names) for name, names in sources.items() if name not in excluded]
    if not planned:
        raise PlanError("every class is excluded, so there is nothing to plan; exclude fewer classes")

    final = target
    if min_share is not None:
        final = _raised_target(planned, target or 0, max_per_source, Fraction(str(min_share)))

    rows, counts = [], []
    for class_name, names in sources.items():
        original = len(names)
        wanted = given = 0
        if class_name not in excluded:
            wanted = per_source * original if per_source is not None else max(0, (final or 0) - original)
            given = _capped(wanted, original, max_per_source)
        rows.append(PlanRow(class_name, original, given, class_name not in excluded, wanted - given))
        counts += [
            SourceCount(class_name, name, count)
            for name, count in zip(names, spread(given, original), strict=True)
            if count
        ]
    return Plan(tuple(rows), tuple(counts), final, target)


def spread(images: int, sources: int) -> list[int]:
    """Share out images over sources so that no two differ by more than one; the first ones give the odd images."""
    base, odd = divmod(images, sources) if sources else (0, 0)
    return [base + (index < odd) for index in range(sources)]


def pick_evenly(items: Sequence[_T], most: int) -> list[_T]:
    """At most so many items, evenly spread over all of them."""
    count = min(most, len(items))
    return [items[place * len(items) // count] for place in range(count)]


def _check_options(
    target: int | None, per_source: int | None, max_per_source: int | None, min_share: float | Fraction | None
) -> None:
    if per_source is not None and not (target is max_per_source is min_share is None):
        raise PlanError("per_source sets the number alone; leave out target, max_per_source and min_share")
    if target is None and per_source is None and min_share is None:
        raise PlanError("no aim given; expected a target, a number per source or a least generated share")
    for name, value in (("target", target), ("per_source", per_source), ("max_per_source", max_per_source)):
        if value is not None and value < 1:
            raise PlanError(f"{name} is {value}; expected 1 or more")
    if min_share is not None and not 0 <= min_share < 1:
        raise PlanError(f"min_share is {min_share}; expected at least 0 and below 1")


def _excluded(sources: Mapping[str, Sequence[str]], exclude: Collection[str] | None) -> frozenset[str]:
    if exclude is None:
        return frozenset(USUALLY_EXCLUDED)
    absent = [name for name in exclude if name not in sources]
    if absent:
        raise PlanError(f"excluded class {absent[0]!r} is not among the sources; expected one of {', '.join(sources)}")
    return frozenset(exclude)


def _raised_target(originals: Sequence[int], target: int, max_per_source: int | None, share: Fraction) -> int:
    """The smallest target from `target` on at which the generated share is reached."""
    total = sum(originals)

    def reached(aim: int) -> bool:
        generated = sum(_capped(max(0, aim - original), original, max_per_source) for original in originals)
        return generated * share.denominator >= share.numerator * (total + generated)

    # generated >= share / (1 - share) * total is enough, and at this aim one class alone provides it.
    enough = -(-share.numerator * total // (share.denominator - share.numerator))
    highest = max(target, max(originals) + enough)
    if max_per_source is not None:
        highest = max(highest, max(originals) * (1 + max_per_source))
    if not reached(highest):
        best = Fraction(max_per_source or 0, 1 + (max_per_source or 0))
        raise PlanError(
            f"a generated share of {float(share):.2%} is out of reach with at most {max_per_source} images a source "
            f"(at best {float(best):.2%}); allow more per source or ask for a smaller share"
        )
    # Once the share is reached, it stays so for higher targets: search for the first True.
    return target + bisect_left(range(target, highest), True, key=reached)


def _capped(images: int, sources: int, max_per_source: int | None) -> int:
    return images if max_per_source is None else min(images, max_per_source * sources)


def _sum(name: str, rows: Sequence[PlanRow]) -> PlanRow:
    return PlanRow(
        name,
        sum(row.original for row in rows),
        sum(row.to_generate for row in rows),
        any(row.planned for row in rows),
        sum(row.short_of_target for row in rows),
    )


COLUMNS = ("class", "source", "count")


def write_plan(path: Path, plan: Plan) -> None:
    """Write the sources that owe images; a plan without any has only the head line.

    Raises:
        OSError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows((row.class_name, row.source, row.count) for row in plan.counts)
    write_bytes_atomically(path, text.getvalue().encode("utf-8-sig"))


def read_plan(path: Path) -> dict[tuple[str, str], int]:
    """Images owed by (class, source file name), in the file's order; a file with only the head line is an empty plan.

    The separator may be a comma, a semicolon or a tab, because spreadsheets write any of them.

    Raises:
        PlanError: missing, not UTF-8, other columns, a line that is not class, source and a whole number from 0 on,
            or a source named twice; the message names the line.
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


def assign_plan(owed: Mapping[tuple[str, str], int], sources: Sequence[Source]) -> list[tuple[Source, int]]:
    """Each source that owes images and how many, in the order of the sources.

    Args:
        owed: images by (class, source), the source by its file name ("3.png") or its number alone ("3").

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
                "make the plan again with 'sdclient plan'"
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
