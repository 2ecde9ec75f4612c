"""Differences between arms -> one honest sentence; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .messages import signed
from .stats import Interval

FINAL_SEEDS = 5
"""Trainings an arm needs before its verdict stops being provisional."""

HELPED = "helped"
HURT = "hurt"
MIXED = "mixed"
NO_DIFFERENCE = "no difference shown"

CHINESE = {HELPED: "有帮助", HURT: "变差", MIXED: "有得有失", NO_DIFFERENCE: "未见差异"}
"""The words of a verdict."""


@dataclass(frozen=True)
class MetricName:
    """How a compared figure is called, and which way is good."""

    english: str
    chinese: str
    higher_is_better: bool


COMPARED = {
    "macro_f1": MetricName("macro-F1", "宏平均 F1", True),
    "accuracy": MetricName("Normal/Abnormal accuracy", "正确率", True),
    "miss_rate": MetricName("miss rate", "漏检率", False),
    "overkill_rate": MetricName("overkill rate", "过杀率", False),
}
"""The compared figures; the first one present is the primary one."""


@dataclass(frozen=True)
class Difference:
    """How one figure differs between two arms, second minus first."""

    metric: str
    """A key of `COMPARED`."""
    first: float | None
    """Mean over the first arm's seeds; None when undefined."""
    second: float | None
    interval: Interval | None
    """95 % percentile interval of the difference; None when it cannot be told."""

    @property
    def value(self) -> float | None:
        """Second minus first."""
        return None if self.first is None or self.second is None else self.second - self.first

    @property
    def rose(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.interval is not None and self.interval.low > 0

    @property
    def fell(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.interval is not None and self.interval.high < 0


@dataclass(frozen=True)
class Verdict:
    """The answer in words."""

    word: str
    """HELPED, HURT, MIXED or NO_DIFFERENCE."""
    provisional: bool
    """Fewer than five trainings in some arm."""
    primary: str
    """The metric it rests on, a key of `COMPARED`."""
    sentence: str
    chinese: str
    """The same sentence in Chinese, with the same figures."""


def give_verdict(
    *,
    images: int,
    names: Sequence[str],
    seeds: Sequence[int],
    against_baseline: Sequence[Difference],
    against_control: Sequence[Difference] | None = None,
) -> Verdict:
    """Judge the candidate on the primary metric, for these test images.

    "helped" needs the primary metric to rise against the baseline and, where there is one, the control, each
    with its whole 95 % interval above 0, and no significant rise of the miss rate against the baseline. A rise
    that comes with more misses is "mixed".

    Args:
        images: number of test images.
        names: of baseline, candidate and, where there is one, control.
        seeds: trainings of each, in the same order.
        against_baseline: candidate minus baseline; the first is the primary metric.
        against_control: candidate minus control, likewise.
    """
    primary = against_baseline[0]
    miss = _named(against_baseline, "miss_rate")
    word = _word(primary, miss, against_control)
    fewest = min(seeds)
    provisional = fewest < FINAL_SEEDS
    only_baseline = word == NO_DIFFERENCE and against_control is not None and primary.rose
    control = None if against_control is None else against_control[0]
    sentence = f"On these {images} test images, {names[1]} against {names[0]}: {word}" + (
        f" (provisional, {fewest} of {FINAL_SEEDS} seeds)" if provisional else ""
    )
    chinese = f"在这 {images} 张测试图像上，{names[1]} 与 {names[0]} 相比：{CHINESE[word]}" + (
        f"（暂定，{FINAL_SEEDS} 个种子中只有 {fewest} 个）" if provisional else ""
    )
    if control is None:
        sentence += f"; {describe(primary)}"
        chinese += f"；{describe_in_chinese(primary)}"
    elif only_baseline:
        sentence += f" beyond the control ({names[2]}); {describe(control)} against the control, "
        sentence += f"though {describe(primary)} against {names[0]}"
        chinese += f"，没有超出对照（{names[2]}）；与对照相比，{describe_in_chinese(control)}，"
        chinese += f"而与 {names[0]} 相比，{describe_in_chinese(primary)}"
    else:
        sentence += f"; {describe(primary)}; against the control ({names[2]}), {describe(control)}"
        chinese += f"；{describe_in_chinese(primary)}；与对照（{names[2]}）相比，{describe_in_chinese(control)}"
    if miss is not None and miss is not primary and (miss.rose or miss.fell):
        sentence += f"; {describe(miss)}" + (f" against {names[0]}" if control is not None else "")
        chinese += "；" + (f"与 {names[0]} 相比，" if control is not None else "") + describe_in_chinese(miss)
    if max(seeds) == 1:
        sentence += "; this speaks of these trained models only, not of the ways they were trained"
        chinese += "；这只说明这几个训练好的模型，不说明训练方法"
    return Verdict(word, provisional, primary.metric, sentence + ".", chinese + "。")


def describe(difference: Difference) -> str:
    """A difference in words, as "macro-F1 rose by 0.042, from 0.781 to 0.823 (95 % interval +0.011 to +0.072)"."""
    name = COMPARED[difference.metric].english
    if difference.value is None:
        return f"{name} is undefined"
    value = round(difference.value, 3)
    moved = f"rose by {value:.3f}" if value > 0 else f"fell by {-value:.3f}" if value < 0 else "did not move"
    levels = f", from {difference.first:.3f} to {difference.second:.3f}" if value else f" from {difference.first:.3f}"
    if difference.interval is None:
        return f"{name} {moved}{levels} (no interval can be told from so few test images)"
    return (
        f"{name} {moved}{levels} (95 % interval {signed(difference.interval.low)} to "
        f"{signed(difference.interval.high)})"
    )


def describe_in_chinese(difference: Difference) -> str:
    """The same in Chinese, as "宏平均 F1 上升 0.042，从 0.781 到 0.823（95 % 区间 +0.011 至 +0.072）"."""
    name = COMPARED[difference.metric].chinese
    if difference.value is None:
        return f"{name}未定义"
    value = round(difference.value, 3)
    moved = f"上升 {value:.3f}" if value > 0 else f"下降 {-value:.3f}" if value < 0 else "没有变化"
    levels = f"，从 {difference.first:.3f} 到 {difference.second:.3f}" if value else f"，为 {difference.first:.3f}"
    if difference.interval is None:
        return f"{name} {moved}{levels}（测试图像太少，给不出区间）"
    return (
        f"{name} {moved}{levels}（95 % 区间 {signed(difference.interval.low)} 至 {signed(difference.interval.high)}）"
    )


def _word(primary: Difference, miss: Difference | None, against_control: Sequence[Difference] | None) -> str:
    if primary.fell:
        return HURT
    if not primary.rose:
        return NO_DIFFERENCE
    if miss is not None and miss.rose:
        return MIXED
    if against_control is not None and not against_control[0].rose:
        return MIXED if against_control[0].fell else NO_DIFFERENCE
    return HELPED


def _named(differences: Sequence[Difference], metric: str) -> Difference | None:
    return next((one for one in differences if one.metric == metric), None)
