"""Sentences that other parts write in English -> Chinese, by the pattern of the sentence; pure.

A pattern is the English sentence with {names} where its figures stand; the same names stand in the Chinese. What
stands at a name is looked up in turn, so that a sentence may hold another.
"""

from __future__ import annotations

import re
from functools import lru_cache

SENTENCES = {
    # trainer.notes
    "Seed variance is not covered: an arm has one training only, so the intervals speak for these trained models, not "
    "for the way of training. Train with {options} to know.": "未计入种子间的差异：有的组只训练了一次，因此区间只说明这几个训练好的模型，"
    "不说明这种训练方法。请用 {options} 多次训练后再看。",
    "No two test images share a known group, so each was taken as independent; if several were cut from one board or "
    "photograph, the intervals are too narrow.": "没有已知分组相同的测试图像，因此每张都按独立处理；如果有几张出自同一块板或同一张照片，"
    "区间就偏窄。",
    "The test images fall into {groups} groups only; intervals from so few are rough.": "测试图像只有 {groups} 组；"
    "组数这么少，区间只是粗略的。",
    "The test set holds {defects} defects. Even with no miss at all, fewer than 299 cannot prove a miss rate under 1 % "
    "(one-sided 95 %).": "测试集有 {defects} 个缺陷。少于 299 个时，即使没有漏检，也不能证明漏检率低于 1 %（单侧 95 %）。",
    "Multi-class rates are undefined: {reason}.": "多类指标未定义：{reason}。",
    "{count} of {all} labels say only {label}, not which defect": "{all} 个标注中有 {count} 个只写 {label}，没有写是哪种缺陷",
    # trainer.evaluate
    "{arm}: every image is called {name}, so this model tells nothing apart; train longer, or give the other classes "
    "more images.": "{arm}：所有图像都判为 {name}，这个模型没有分辨力；请延长训练，或给其他类别增加图像。",
    "{arm}: multi-class accuracy {rate} is worse than guessing among {classes} classes: {advice}.": "{arm}："
    "多类正确率 {rate} 比在 {classes} 类中乱猜还差：{advice}。",
    "{arm}: AUROC {area} of 1 - p(Normal) is under 0.5, worse than chance: {advice}.": "{arm}："
    "1 - p(Normal) 的 AUROC 为 {area}，低于 0.5，比乱猜还差：{advice}。",
    "labels or class order are probably swapped; check the folders and the class list, and whether the training was "
    "long enough to learn anything": "标注或类别顺序可能颠倒；请检查文件夹和类别列表，以及训练是否足够长",
    "{arm}: no test image shows a defect: recall and miss rate are undefined.": "{arm}：测试图像中没有缺陷，"
    "召回率和漏检率未定义。",
    "{arm}: no test image is Normal: overkill and false-call filter rate are undefined.": "{arm}：测试图像中没有良品，"
    "过杀率和假点过滤率未定义。",
    # trainer.experiment
    "{arm}: its generated images are of defect classes only (told from real ones by texture alone with AUROC {area}), so "
    "a network may learn 'generated' where it should learn 'defect'. Regenerate Normal images too, and add an arm of the "
    "same share with normal = true.": "{arm}：生成图像只有缺陷类别（仅凭纹理与真实图区分的 AUROC 为 {area}），网络可能学到“是生成的”而不是“有缺陷”。"
    "请也生成 Normal 图像，并加一组占比相同、设 normal = true 的实验组。",
    "{arm}: its generated images are of defect classes only, so a network may learn 'generated' where it should learn "
    "'defect'. Regenerate Normal images too, and add an arm of the same share with normal = true.": "{arm}："
    "生成图像只有缺陷类别，网络可能学到“是生成的”而不是“有缺陷”。请也生成 Normal 图像，并加一组占比相同、设 normal = true 的实验组。",
    "{arm}: its images were made by: {engine}.": "{arm}：其图像的生成引擎为：{engine}。",
    "{arm}: draws from all {count} images of {path}, accepted or not (curated = false).": "{arm}：使用 {path} 的全部 {count} 张图像，"
    "不论是否已接受（curated = false）。",
    "{arm}: draws from the {count} accepted of {all} images of {path}.": "{arm}：{path} 的 {all} 张图像中，使用已接受的 {count} 张。",
    "Predictions of {folds} folds are pooled before any rate; the models of two folds share most of their training "
    "images, which the intervals do not know.": "各项指标先合并 {folds} 折的预测再计算；任意两折的模型共用大部分训练图像，区间没有计入这一点。",
    "{late} cells were finished when the primary metric was declared ({file} was missing), so nothing shows that it was "
    "chosen beforehand.": "写定决定性指标时已有 {late} 次训练完成（缺少 {file}），因此无法证明它是事先选定的。",
    "The experiment file was changed ({changed}) when {finished} cells were finished; what is chosen after results are "
    "known makes p-values too small.": "完成 {finished} 次训练后实验文件有改动（{changed}）；知道结果之后再做的选择会使 p 值偏小。",
    "no class has {real} real and {generated} generated images": "没有一个类别同时有 {real} 张真实图和 {generated} 张生成图",
    "{count} source images; fewer than {least} say nothing of others": "只有 {count} 张源图；少于 {least} 张不能说明其他源图",
    # trainer.leakage_words, which an experiment says of its data
    "{data}: {count} of {all} images in {train} were generated ({foreign} of them from sources that are not there), the "
    "first is {first}: they count as generated, not as real": "{data}：{train} 的 {all} 张图像中有 {count} 张是生成的（其中 {foreign} 张的源图"
    "不在那里），第一张为 {first}：按生成图计，不按真实图计",
    "{data}: {count} of {all} images in {train} were generated, the first is {first}: they count as generated, not as "
    "real": "{data}：{train} 的 {all} 张图像中有 {count} 张是生成的，第一张为 {first}：按生成图计，不按真实图计",
    "{data}: {count} source(s) of generated images: neither in {train} nor where they were generated from, so compared "
    "with validation and test by their bytes alone": "{data}：{count} 张生成图像的源图既不在 {train}，也不在生成时的位置，因此只按字节与验证集、测试集比对",
    "{data}: {count} single-coloured pictures have a twin in another of train, val and test: allowed, since they tell "
    "nothing of what they were taken of; --strict refuses them": "{data}：{count} 张单色图像在训练、验证、测试的另一部分中有相同的一张：予以放行，因为看不出拍的是什么；"
    "--strict 会拒绝它们",
    "{data}: {count} of {all} validation and test pictures look like one that is trained on, the first is {first}: "
    "perhaps the same part twice (aligned boards all look alike); {file} in the run shows them, --strict refuses "
    "them": "{data}：{all} 张验证和测试图像中有 {count} 张与某张训练图像相似，第一张为 {first}：也许是同一部位拍了两次（对齐的板看上去都差不多）；"
    "运行文件夹中的 {file} 列出了它们，--strict 会拒绝它们",
    "{data}: {count} of {all} validation and test pictures cannot be decoded, the first is {first}: compared by their "
    "bytes alone; 'trainer check' lists them": "{data}：{all} 张验证和测试图像中有 {count} 张无法解码，第一张为 {first}：只按字节比对；'trainer check' 会列出它们",
    # trainer.worth
    "To see a difference of {worth} in {power} of 100 such comparisons, no number of test images is enough with {seeds} "
    "seeds an arm: the seeds differ too much; train with {needed} or more.": "要在 100 次这样的比较中有 {power} 次看出 {worth} "
    "的差异，每组 {seeds} 个种子时，再多测试图像也不够：种子间差异太大；请用 {needed} 个或更多种子训练。",
    "To see a difference of {worth} in {power} of 100 such comparisons, about {needed} test images of this mix are "
    "enough; there are {now}.": "要在 100 次这样的比较中有 {power} 次看出 {worth} 的差异，约 {needed} 张同样构成的测试图像就够；"
    "现有 {now} 张。",
    "To see a difference of {worth} in {power} of 100 such comparisons, about {needed} test images of this mix are "
    "needed; there are {now}.": "要在 100 次这样的比较中有 {power} 次看出 {worth} 的差异，约需 {needed} 张同样构成的测试图像；"
    "现有 {now} 张。",
    # trainer.report.samples
    "Samples cannot be shown: the image files of {folder} are gone.": "无法显示样图：{folder} 的图像文件已不存在。",
    "Samples cannot be shown: {error}.": "无法显示样图：{error}。",
    # trainer.diagnosis_words
    "{kind} {chinese}: no epoch is recorded yet": "{chinese}：还没有任何轮次的记录",
    "{kind} {chinese}: the training loss is {value} in epoch {epoch}": "{chinese}：第 {epoch} 轮的训练损失为 {value}",
    "{kind} {chinese}: the validation loss is {value} in epoch {epoch}": "{chinese}：第 {epoch} 轮的验证损失为 {value}",
    "{kind} {chinese}: the training loss went up to {worst} in epoch {epoch} and is {now} now; guessing has "
    "{guess}": "{chinese}：训练损失在第 {epoch} 轮升到 {worst}，现在为 {now}；乱猜为 {guess}",
    "{kind} {chinese}: the training loss went up to {worst} in epoch {epoch} and is {now} now": "{chinese}："
    "训练损失在第 {epoch} 轮升到 {worst}，现在为 {now}",
    "{kind} {chinese}: {have} epochs after {warmup} of warm-up; a slope needs {least}, so {more} more": "{chinese}："
    "预热 {warmup} 轮后有 {have} 轮；判断趋势需要 {least} 轮，还差 {more} 轮",
    "{kind} {chinese}: {have} epochs; a slope needs {least}, so {more} more": "{chinese}：有 {have} 轮；"
    "判断趋势需要 {least} 轮，还差 {more} 轮",
    "{kind} {chinese}: epochs {first}-{last}, training loss {train} % an epoch {train_range}, validation loss {val} % "
    "an epoch {val_range}; {more}": "{chinese}：第 {first}–{last} 轮，训练损失每轮 {train} % {train_range}，"
    "验证损失每轮 {val} % {val_range}；{more}",
    "{kind} {chinese}: epochs {first}-{last}, training loss {train} % an epoch {train_range}, validation loss {val} % "
    "an epoch {val_range}": "{chinese}：第 {first}–{last} 轮，训练损失每轮 {train} % {train_range}，"
    "验证损失每轮 {val} % {val_range}",
    "the learning rate is spent ({share} of its highest)": "学习率已降到最高值的 {share}",
    "training loss {level}, least possible {floor}": "训练损失 {level}，可能的最小值 {floor}",
    "training is learned ({level}), but validation loss {val} is no better than guessing ({guess})": "训练图像已学会"
    "（{level}），但验证损失 {val} 不比乱猜（{guess}）好",
    "validation loss is {rise} % above its level about epoch {epoch}": "验证损失比第 {epoch} 轮前后高 {rise} %",
    "best epoch {epoch}, {ago} ago": "最佳轮次 {epoch}，在 {ago} 轮之前",
}
"""English pattern -> Chinese; where two fit, the first."""


@lru_cache(maxsize=1)
def _compiled() -> list[tuple[re.Pattern[str], str]]:
    compiled = []
    for english, chinese in SENTENCES.items():
        parts = re.split(r"\{(\w+)\}", english)
        # re.split puts the names at odd places.
        pattern = "".join(f"(?P<{part}>.+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
        compiled.append((re.compile(pattern, re.DOTALL), chinese))
    return compiled


def in_chinese(sentence: str) -> str | None:
    """The Chinese of an English sentence; None when its pattern is not known."""
    for pattern, chinese in _compiled():
        found = pattern.fullmatch(sentence)
        if found:
            values = {name: in_chinese(value) or value for name, value in found.groupdict().items()}
            return chinese.format(**values)
    return None
