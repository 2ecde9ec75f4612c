"""The verdict on a generated arm in the page's language, with the figures of the English sentence; pure."""

from __future__ import annotations

from sdcore.messages import Language

from ..experiment.judge import MISS_RATE, Against, Judgement
from ..verdict import CHINESE, FINAL_SEEDS, NO_DIFFERENCE, describe_in_chinese


def judgement_sentence(one: Judgement, language: Language, *, images: int, seeds: int, family: int) -> str:
    """One sentence.

    Args:
        one: the judgement.
        language: "en" gives its own sentence.
        images: test images.
        seeds: trainings an arm.
        family: generated arms, for which p-values are corrected.
    """
    if language == "en":
        return one.sentence
    baseline, control = one.baseline, one.control
    words = f"在这 {images} 张测试图像上，{one.arm} 与 {baseline.other} 相比：{CHINESE[one.word]}"
    if one.word == NO_DIFFERENCE and baseline.better:
        words += f"，没有超出传统增广对照（{control.other}）"
    if one.provisional:
        words += f"（暂定，{FINAL_SEEDS} 个种子中只有 {seeds} 个）"
    words += f"；{describe_in_chinese(baseline.primary)}，{_p_words(baseline, family)}"
    words += (
        f"；与传统增广对照（{control.other}）相比，{describe_in_chinese(control.primary)}，{_p_words(control, family)}"
    )
    miss = next(each for each in baseline.differences if each.metric == MISS_RATE)
    if miss.metric != baseline.primary.metric and (miss.rose or miss.fell):
        words += f"；与 {baseline.other} 相比，{describe_in_chinese(miss)}"
    return words + "。"


def _p_words(against: Against, family: int) -> str:
    if against.p_holm is None:
        return "给不出 p 值"
    return f"p = {against.p_holm:.3g}" + (f"（Holm，共 {family} 组）" if family > 1 else "")
