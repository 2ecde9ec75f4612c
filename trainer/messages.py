"""Numbers and messages as people read them; "undefined" is a word, never a 0. Pure."""

from __future__ import annotations

from sdcore.messages import Language, Message

from .evaluation.metrics import Rate
from .evaluation.stats import Interval
from .words_findings import WORDS

UNDEFINED = "undefined"


def text(message: Message, language: Language = "en") -> str:
    """A verdict, note, warning or diagnosis in words."""
    return WORDS.text(message, language)


def metric_names(metric: str) -> tuple[str, str]:
    """How a compared metric, a key of `trainer.evaluation.verdict.COMPARED`, is called in English and in Chinese."""
    return WORDS[metric].en, WORDS[metric].zh


def percent(value: float | None) -> str:
    """0.0417 -> "4.17 %"."""
    return UNDEFINED if value is None else f"{100 * value:.2f} %"


def number(value: float | None) -> str:
    """0.8131 -> "0.813"."""
    return UNDEFINED if value is None else f"{value:.3f}"


def count(value: float) -> str:
    """A count, or a mean of counts with one decimal."""
    return str(round(value)) if value == round(value) else f"{value:.1f}"


def p_value(value: float) -> str:
    """0.03125 -> "0.031"; very small ones by their bound."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def counted(rate: Rate) -> str:
    """The counts behind a rate."""
    return f"{rate.count}/{rate.of}"


def percent_range(interval: Interval | None, *, digits: int = 2) -> str:
    """Both bounds in percent."""
    return "" if interval is None else f"{100 * interval.low:.{digits}f}–{100 * interval.high:.{digits}f} %"


def plain_range(interval: Interval | None) -> str:
    """Both bounds of a figure that is not written in percent; "none" where there is no interval."""
    return "none" if interval is None else f"{interval.low:.3f}–{interval.high:.3f}"


def signed(value: float | None) -> str:
    """0.0417 -> "+0.042"; what rounds to nothing has a plus, never "-0.000"."""
    return UNDEFINED if value is None else f"{round(value, 3) + 0.0:+.3f}"


def signed_range(interval: Interval | None) -> str:
    """Both bounds of a difference."""
    return "none" if interval is None else f"{signed(interval.low)} to {signed(interval.high)}"
