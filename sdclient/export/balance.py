"""How many real and generated images a class has before and after an export."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ClassBalance:
    """One class of a training folder."""

    class_name: str
    real: int
    """What lies there and was not exported."""
    generated_before: int
    generated_after: int

    @property
    def total_before(self) -> int:
        """Real and generated."""
        return self.real + self.generated_before

    @property
    def total_after(self) -> int:
        """Real and generated."""
        return self.real + self.generated_after

    @property
    def generated_share(self) -> float | None:
        """Of the total after the export, 0 to 1; None for an empty class."""
        return self.generated_after / self.total_after if self.total_after else None


def balance_of(real: Mapping[str, int], before: Counter[str], after: Counter[str]) -> tuple[ClassBalance, ...]:
    """A row for each class that has anything, by name."""
    names = sorted(name for name in {*real, *before, *after} if real.get(name, 0) or before[name] or after[name])
    return tuple(ClassBalance(name, real.get(name, 0), before[name], after[name]) for name in names)


def sum_of(rows: tuple[ClassBalance, ...]) -> ClassBalance:
    """All classes together."""
    return ClassBalance(
        "",
        sum(row.real for row in rows),
        sum(row.generated_before for row in rows),
        sum(row.generated_after for row in rows),
    )
