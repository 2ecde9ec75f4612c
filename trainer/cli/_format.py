"""How figures are written in tables; "undefined" is a word, never a 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..metrics import Rate
    from ..stats import Interval

UNDEFINED = "undefined"


def percent(value: float | None) -> str:
    """0.0417 -> "4.17 %"."""
    return UNDEFINED if value is None else f"{100 * value:.2f} %"


def number(value: float | None) -> str:
    """0.8131 -> "0.813"."""
    return UNDEFINED if value is None else f"{value:.3f}"


def counted(rate: Rate) -> str:
    """The counts behind a rate."""
    return f"{rate.count}/{rate.of}"


def percent_range(interval: Interval | None) -> str:
    """Both bounds in percent."""
    return "" if interval is None else f"{100 * interval.low:.2f} – {100 * interval.high:.2f} %"


def interval_of(rate: Rate) -> str:
    """The Clopper-Pearson interval of a rate."""
    from ..stats import clopper_pearson

    return percent_range(clopper_pearson(rate.count, rate.of))


def signed(value: float | None) -> str:
    """0.0417 -> "+0.042"."""
    return UNDEFINED if value is None else f"{round(value, 3) + 0.0:+.3f}"


def signed_range(interval: Interval | None) -> str:
    """Both bounds of a difference."""
    return "none" if interval is None else f"{signed(interval.low)} to {signed(interval.high)}"
