"""Figures and verdicts in words."""

from __future__ import annotations

from .figures import Figure, Share
from .results import Answer
from .run_file import describe_no_range
from .strengths import StrengthLimits

UNDEFINED = "undefined 未定义"


def share_in_words(share: Share) -> str:
    """Like "23/24 96 % (79-100)"."""
    if share.rate is None or share.low is None or share.high is None:
        return UNDEFINED
    return f"{share.count}/{share.of} {share.rate:.0%} ({100 * share.low:.0f}-{100 * share.high:.0f})"


def figure_in_words(figure: Figure, digits: int = 2) -> str:
    """Like "0.83 (0.71 to 0.95)"; without an interval where there is too little for one."""
    if figure.value is None:
        return UNDEFINED
    if figure.low is None or figure.high is None:
        return f"{figure.value:.{digits}f}"
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def rate_in_words(rate: float | None) -> str:
    """Like "0.52"."""
    return UNDEFINED if rate is None else f"{rate:.2f}"


def limits_in_words(limits: StrengthLimits) -> str:
    """The range, or why there is none."""
    return f"{limits.low:g} - {limits.high:g}" if limits.is_range else describe_no_range(limits)


def answer_in_words(answer: Answer) -> list[str]:
    """The question of keeping and changing, a sentence each."""
    if not answer.strengths:
        return ["None of the tested strengths lies between those asked about: undefined 未定义."]
    over = f"strengths {answer.strengths[0]:g} to {answer.strengths[-1]:g} 重绘幅度"
    of_named = share_in_words(answer.kept_of_named)
    changes = _verdict(answer.changed, answer.change_rate, answer.changes)
    return [
        f"Keeps its class 保持类别, {over}: {_verdict(answer.kept, answer.keep_rate, answer.keeps)}",
        f"  of images whose source the classifier names rightly 其中源图判对者: {of_named}",
        f"Over the floor for 'too alike' 超出过于相似下限, {over}: {changes}",
        f"Both 两者皆是: {share_in_words(answer.both)}",
    ]


def _verdict(share: Share, rate: float, is_met: bool | None) -> str:
    asked = f"asked for {rate:.0%}"
    if is_met is None or share.low is None or share.high is None:
        return f"{UNDEFINED}; {asked}"
    if is_met:
        sure = "met 达到" if share.low >= rate else "met, though the interval reaches below 达到，但区间下限不足"
    else:
        sure = "not met 未达到" if share.high < rate else "not met, though the interval reaches it 未达到，但区间包含"
    return f"{share_in_words(share)}; {asked}: {sure}"
