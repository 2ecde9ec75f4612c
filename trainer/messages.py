"""Numbers and messages as people read them. What is undefined is written as a word, never as 0."""

from sdcore.messages import Language, Message

from .words_findings import WORDS

Bounds = tuple[float, float]
"""Lower and upper end of an interval."""

UNDEFINED = "undefined"


def text(message: Message, language: Language = "en") -> str:
    """A verdict, note, warning or diagnosis in words."""
    return WORDS.text(message, language)


def metric_names(metric: str) -> tuple[str, str]:
    """English and Chinese name of a compared metric, a key of `trainer.evaluation.verdict.COMPARED`."""
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
    """0.03125 -> "0.031"; below 0.001 only the bound."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def percent_range(bounds: Bounds | None, *, digits: int = 2) -> str:
    """Both bounds in percent; "" without an interval."""
    return "" if bounds is None else f"{100 * bounds[0]:.{digits}f}–{100 * bounds[1]:.{digits}f} %"


def plain_range(bounds: Bounds | None) -> str:
    """Both bounds of a figure that is not written in percent; "none" without an interval."""
    return "none" if bounds is None else f"{bounds[0]:.3f}–{bounds[1]:.3f}"


def signed(value: float | None) -> str:
    """0.0417 -> "+0.042"; what rounds to 0 is "+0.000", never "-0.000"."""
    return UNDEFINED if value is None else f"{round(value, 3) + 0.0:+.3f}"


def signed_range(bounds: Bounds | None) -> str:
    """Both bounds of a difference; "none" without an interval."""
    return "none" if bounds is None else f"{signed(bounds[0])} to {signed(bounds[1])}"
