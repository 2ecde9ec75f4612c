"""Every word of the reports, English and Chinese side by side; what a report says of its findings: `words_findings`."""

from sdcore.messages import MessageCatalogue, Words

WORDS = MessageCatalogue(
    {
        # The answer
        "title": Words("Did the generated images help?", "生成图像有帮助吗？"),
        "against": Words("{second} against {first}", "{second} 对比 {first}"),
        "with_control": Words(", with the control {control}", "，另有对照 {control}"),
        "helped": Words("Helped", "有帮助"),
        "hurt": Words("Hurt", "变差"),
        "mixed": Words("Mixed", "有得有失"),
        "no difference shown": Words("No difference shown", "未见差异"),
        "provisional": Words("provisional", "暂定"),
        "more_missed": Words("more defects missed", "漏检增加"),
        "bounds": Words("{low} to {high}", "{low} 至 {high}"),
        "bounds_seeds": Words("{low} to {high} over seeds", "各种子 {low} 至 {high}"),
        "undefined": Words("undefined", "未定义"),
        "stand_in_title": Words(
            "The generated images did not come from Stable Diffusion.", "生成图像并非来自 Stable Diffusion。"
        ),
        "stand_in": Words(
            "They were made by: {engines}. What is measured here says nothing about images from a diffusion model; it "
            "shows that the chain works.",
            "它们由以下引擎生成：{engines}。这里测得的结果不能说明扩散模型图像的作用，只说明整个流程可以运行。",
        ),
        "notes_title": Words("Before you rely on it", "使用前须知"),
        # Differences
        "changed_title": Words("What changed", "差异"),
        "changed_one": Words(
            "Each difference with a 95 % interval from {resamples} bootstrap draws of {units}, the same draws for both "
            "arms. An interval that holds 0 shows no difference.",
            "每个差值附 95 % 区间，由 {resamples} 次自助抽样得到：对{units}重抽，两组用同一次抽样。区间包含 0 "
            "即未见差异。",
        ),
        "changed_many": Words(
            "Means over seeds; each difference with a 95 % interval from {resamples} bootstrap draws of {units}, the "
            "same draws for both arms, to which each arm adds the chance of its own training seeds. An interval that "
            "holds 0 shows no difference.",
            "均为各种子的平均值；每个差值附 95 % 区间，由 {resamples} 次自助抽样得到：对{units}重抽，两组用同一次抽样，"
            "再加上每组自己的训练种子带来的随机性。区间包含 0 即未见差异。",
        ),
        "units_images": Words("the test images", "测试图像"),
        "units_groups": Words("the {groups} groups of test images", " {groups} 组测试图像"),
        "minus": Words("{second} minus {first}", "{second} 减 {first}"),
        "figure": Words("figure", "指标"),
        "from": Words("from", "原值"),
        "to": Words("to", "新值"),
        "difference": Words("difference", "差值"),
        "interval": Words("95 % interval", "95 % 区间"),
        "no_interval": Words("no interval", "无区间"),
        "differences_drawn": Words("Differences with their intervals", "差值及其区间"),
        "higher": Words("{name} (higher is better)", "{name}（越高越好）"),
        "lower": Words("{name} (lower is better)", "{name}（越低越好）"),
        "recalls_title": Words("Recall by class", "各类召回率的差异"),
        "recalls": Words(
            "Recall of one class is the share of its images that are given its name, TP/(TP+FN). Looking at many "
            "classes finds something by luck; p (Holm) is p corrected for all classes of the table, and a difference "
            "counts where it is below 0.05.",
            "一个类别的召回率是其图像中被判为该类的比例，TP/(TP+FN)。看的类别多了，总会碰巧出现差异；p (Holm) "
            "已按表中全部类别校正，小于 0.05 才算有差异。",
        ),
        "class": Words("class", "类别"),
        "test_images": Words("test images", "测试图像数"),
        "p": Words("p", "p"),
        "p_holm": Words("p (Holm)", "p (Holm)"),
        # Rates
        "rates_title": Words("Rates side by side", "指标对照"),
        "rates": Words(
            "Normal/Abnormal judgement: an image is defective when its predicted class is not {normal}. Defective is "
            "the positive class. {seeds}Intervals: 95 % Clopper-Pearson over {images} images, taken as independent.",
            "Normal/Abnormal 判定：预测类别不是 {normal} 的图像判为有缺陷；有缺陷为正类。{seeds}区间：按 {images} "
            "张相互独立的图像计算的 95 % Clopper-Pearson 区间。",
        ),
        "rates_seeds": Words(
            "Counts are means over seeds; ± is the standard deviation over seeds. ",
            "计数为各种子的平均值；± 为各种子间的标准差。",
        ),
        "rate": Words("rate", "指标"),
        "role": Words("{role}, {seeds}", "{role}，{seeds}"),
        "seeds_one": Words("{count} seed", "{count} 个种子"),
        "seeds_many": Words("{count} seeds", "{count} 个种子"),
        "baseline": Words("baseline", "基线"),
        "candidate": Words("candidate", "待比较"),
        "control": Words("control", "对照"),
        "macro_f1": Words("macro-F1", "宏平均 F1"),
        "weighted_f1": Words("weighted F1", "加权 F1"),
        "auroc": Words("AUROC", "曲线下面积 AUROC"),
        "named_wrong_formula": Words("wrong name/(TP+FN)", "错名数/(TP+FN)"),
        "macro_f1_formula": Words("mean of 2TP/(2TP+FP+FN)", "2TP/(2TP+FP+FN) 的平均"),
        "weighted_f1_formula": Words("same, by support", "同上，按图像数加权"),
        "auroc_formula": Words("of 1 - p({normal})", "1 - p({normal})"),
        # Training images
        "balance_title": Words("Training images", "数据平衡"),
        "balance": Words("What each arm was trained on, by class.", "每组各类别的训练图像数。"),
        "balance_drawn": Words("Training images of each class, before and after", "增补前后各类别的训练图像"),
        "real": Words("real", "原始"),
        "generated": Words("generated", "生成"),
        "repeated": Words("repeated", "重复"),
        "total": Words("total", "合计"),
        "generated_share": Words("generated share", "生成占比"),
        "all_classes": Words("all classes", "全部类别"),
        "images": Words("images", "图像数"),
        # Samples
        "samples_title": Words("Sources and what was made from them", "源图与生成图"),
        "set": Words("{images} images. Engine: {engine}.", "{images} 张图像。引擎：{engine}。"),
        "set_accepted": Words(" They are the accepted ones of {recorded}.", "它们是 {recorded} 张中已接受的图像。"),
        "set_model": Words(" Model: {model}.", "模型：{model}。"),
        "set_samples": Words(
            " Source on the left, images made from it on the right, each with its denoising strength and seed.",
            "左为源图，右为由它生成的图像，各附重绘强度和种子。",
        ),
        "unknown": Words("unknown", "未知"),
        "source": Words("source {name}", "源图 {name}"),
        "source_gone": Words("(the file is gone)", "（文件已不存在）"),
        "strength": Words("strength {strength}", "强度 {strength}"),
        "seed_of": Words("seed {seed}", "种子 {seed}"),
        "alt_source": Words("source {name}", "源图 {name}"),
        "alt_generated": Words("generated from {name}", "由 {name} 生成"),
        # By class
        "classes_title": Words("By class", "各类别"),
        "classes_one": Words(
            "Naming the defect. Precision TP/(TP+FP), recall TP/(TP+FN), F1 = 2TP/(2TP+FP+FN). A class with few test "
            "images has an uncertain row.",
            "按缺陷名称判定。精确率 TP/(TP+FP)，召回率 TP/(TP+FN)，F1 = 2TP/(2TP+FP+FN)。测试图像少的类别，"
            "其数值不确定。",
        ),
        "classes_many": Words(
            "Naming the defect; means over seeds. Precision TP/(TP+FP), recall TP/(TP+FN), F1 = 2TP/(2TP+FP+FN). A "
            "class with few test images has an uncertain row.",
            "按缺陷名称判定，均为各种子的平均值。精确率 TP/(TP+FP)，召回率 TP/(TP+FN)，F1 = 2TP/(2TP+FP+FN)。"
            "测试图像少的类别，其数值不确定。",
        ),
        "classes_undefined": Words("Rates by class are undefined: {reason}.", "各类别的指标未定义：{reason}。"),
        "precision": Words("precision", "精确率"),
        "recall": Words("recall", "召回率"),
        "f1": Words("F1", "F1"),
        # Confusion
        "confusion_title": Words("Confusion matrices", "混淆矩阵"),
        "confusion_one": Words(
            "Rows are the true names, columns the predicted ones; counts, with the share of the row. Blue is right, "
            "orange is wrong.",
            "行为真实类别，列为预测类别；数值为图像数及其占该行的比例。蓝色为正确，橙色为错误。",
        ),
        "confusion_many": Words(
            "Rows are the true names, columns the predicted ones; counts added up over seeds, with the share of the "
            "row. Blue is right, orange is wrong.",
            "行为真实类别，列为预测类别；数值为各种子图像数之和及其占该行的比例。蓝色为正确，橙色为错误。",
        ),
        "true_predicted": Words("true ↓ predicted →", "真实 ↓ 预测 →"),
        # Operating curve
        "operating_title": Words("Operating curve", "工作曲线"),
        "operating": Words(
            "Misses against overkill on the test images as the cut through the defect score 1 - p({normal}) moves; a "
            "line a training. Lower left is better.",
            "缺陷分数 1 - p({normal}) 的阈值移动时，测试图像上的漏检率与过杀率；每次训练一条线。越靠左下越好。",
        ),
        "operating_none": Words(
            "No cut was chosen for any of these trainings, so none is marked; the rates above go by the predicted "
            "class. 'trainer evaluate RUN DATA --max-miss-rate 0.01 --save' chooses one on validation images.",
            "这些训练都没有选定阈值，图中因此没有标记；以上指标按预测类别判定。可用 'trainer evaluate RUN DATA "
            "--max-miss-rate 0.01 --save' 在验证图像上选定阈值。",
        ),
        "operating_chosen": Words(
            "A ring is the cut that was chosen on validation images for a promised miss rate; here is what it does on "
            "the test images.",
            "圆圈是在验证图像上按承诺的漏检率选定的阈值；下表是它在测试图像上的结果。",
        ),
        "operating_drawn": Words("Miss rate against overkill rate", "漏检率与过杀率"),
        "training": Words("training", "训练"),
        "seed": Words("seed", "种子"),
        "cut": Words("cut", "阈值"),
        "promised": Words("promised miss rate", "承诺的漏检率"),
        "miss_rate": Words("miss rate", "漏检率"),
        "overkill_rate": Words("overkill rate", "过杀率"),
        # Flips
        "flips_title": Words("Images that flipped", "判定改变的图像"),
        "flips": Words(
            "Normal/Abnormal correctness of the same image in both arms. McNemar's exact test asks whether the images "
            "right in one arm alone could be a coin's doing; one test for each pair of trainings.",
            "同一张图像在两组中的 Normal/Abnormal 判定是否正确。McNemar 精确检验问的是：只在一组中判对的图像，"
            "是否可能只是碰巧；每对训练做一次检验。",
        ),
        "both_right": Words("both right", "都对"),
        "right_alone": Words("right in {name} alone", "仅 {name} 对"),
        "both_wrong": Words("both wrong", "都错"),
        "exact_p": Words("exact p", "精确 p 值"),
        "gained": Words("Wrong in {first}, right in {second}: {count}", "{first} 判错、{second} 判对：{count} 张"),
        "lost": Words("Right in {first}, wrong in {second}: {count}", "{first} 判对、{second} 判错：{count} 张"),
        "first_shown": Words("The first {count} are shown.", "只显示前 {count} 张。"),
        "none": Words("None.", "无。"),
        # Worst
        "worst_title": Words("Worst mistakes", "最严重的误判"),
        "worst": Words(
            "Images that most trainings of {name} judge wrongly, the surest first: the share is what they gave the "
            "wrong judgement, on average over seeds.",
            "{name} 的多数训练都判错的图像，最有把握的在前：百分比是它们给错误判定的概率，取各种子的平均值。",
        ),
        "worst_misses": Words("Missed defects: {count}", "漏检的缺陷：{count} 张"),
        "worst_overkill": Words("Good images called defective: {count}", "被判为有缺陷的良品：{count} 张"),
        "share_sure": Words("{share} sure", "把握 {share}"),
        # Curves
        "curves_title": Words("Training curves", "损失曲线"),
        "curves": Words(
            "Loss by epoch, one line a seed: dashed on the training images, solid on the validation images.",
            "各轮次的损失，每个种子一条线：虚线为训练图像，实线为验证图像。",
        ),
        "curves_drawn": Words("Loss curves", "损失曲线"),
        "epoch": Words("epoch", "轮次"),
        "loss": Words("loss", "损失"),
        "on_training": Words("training", "训练"),
        "on_validation": Words("validation", "验证"),
        "diagnosis": Words("diagnosis", "诊断"),
        # How
        "how_title": Words("How this was made", "如何得到"),
        "settings_title": Words("Training settings", "训练设置"),
        "settings": Words("A row is marked where the arms differ.", "各组不同的行有底色。"),
        "setting": Words("setting", "设置"),
        "value": Words("value", "值"),
        "generation": Words("Generation: {folder}", "生成参数：{folder}"),
        "commands": Words("Commands", "命令"),
        "software": Words("Software", "软件"),
        "bootstrap_seed": Words("bootstrap seed {seed}", "自助抽样种子 {seed}"),
        "no_pictures": Words(
            "This file has the figures and no pictures; --format html has both.",
            "本文件只有数字，没有图片；--format html 两者都有。",
        ),
        # Experiments
        "experiment": Words(
            "{arms} arms, {seeds}{folds}, {images} test images", "{arms} 组，{seeds}{folds}，{images} 张测试图像"
        ),
        "folds": Words(", {folds} folds", "，{folds} 折"),
        "no_generated": Words(
            "No arm has generated images, so there is nothing to judge; the rates below stand for themselves.",
            "没有一组使用生成图像，因此没有可判断的；下面只列出各项指标。",
        ),
        "design": Words(
            "Every training takes {steps} steps of the optimizer, {per_epoch} images an epoch. The metric that "
            "decides, {primary}, was written down at {at}.",
            "每次训练都走 {steps} 步优化，每轮 {per_epoch} 张图像。决定性指标“{primary}”写定于 {at}。",
        ),
        "against_title": Words("Each generated arm beside the others", "各生成组与其他组相比"),
        "against_words": Words(
            "The metric that decides, generated minus other, with a 95 % interval from {resamples} bootstrap draws of "
            "{units}, to which each arm adds the chance of its own training seeds. p (Holm) is p corrected for all "
            "generated arms, for baselines and controls apart; verdicts rest on it. Oversampling is shown and decides "
            "nothing.",
            "决定性指标，生成组减其他组，附 95 % 区间，由 {resamples} 次自助抽样得到：对{units}重抽，"
            "再加上每组自己的训练种子带来的随机性。p (Holm) 已按全部生成组校正，与基线、与对照分开计算；结论依据它。"
            "过采样只作展示，不参与结论。",
        ),
        "arm": Words("arm", "组"),
        "other": Words("beside", "对比"),
        "oversampling": Words("oversampling", "过采样"),
        "classical": Words("classical", "传统增广"),
        "all_metrics": Words("All figures: {second} minus {first}", "全部指标：{second} 减 {first}"),
        "added_share": Words("share added", "增补占比"),
        "experiment_balance": Words(
            "Real training images and those that joined them, by class{folds}.",
            "各类别的原始训练图像数和增补的图像数{folds}。",
        ),
        "mean_of_folds": Words(", means over folds", "，为各折的平均"),
        "apart_title": Words("Can generated images be told from real ones?", "能否分辨生成图与真实图？"),
        "apart": Words(
            "By their texture alone, whatever they show; sources kept apart. AUROC 0.5: not at all; 1: without fault. "
            "The nearer to 1, the more easily a network learns “generated” in place of “defect”, above all where only "
            "defects were generated.",
            "只看纹理，不看内容；同一源图的图像不拆开。AUROC 为 0.5 即完全分不出，为 1 即毫无差错。越接近 1，"
            "网络越容易学到“是生成的”而不是“有缺陷”，只生成缺陷图像时尤其如此。",
        ),
        "defects_only": Words("defects only", "只有缺陷"),
        "real_images": Words("real images", "真实图"),
        "generated_images": Words("generated images", "生成图"),
        "cells_title": Words("Trainings", "各次训练"),
        "cells": Words(
            "One line a training; the best epoch is that of the highest validation macro-F1.",
            "每次训练一行；最佳轮次是验证宏平均 F1 最高的一轮。",
        ),
        "fold": Words("fold", "折"),
        "best_epoch": Words("best epoch", "最佳轮次"),
        "val_macro_f1": Words("validation macro-F1", "验证宏平均 F1"),
        "minutes": Words("minutes", "分钟"),
        "lineage_title": Words("Lineage of the sets", "生成集的来历"),
        "lineage": Words(
            "Every folder of generated images, what made it, and the arms that drew from it.",
            "每个生成图像文件夹、由什么生成、哪些组用了它。",
        ),
        "folder": Words("folder", "文件夹"),
        "engine": Words("engine", "引擎"),
        "model": Words("model", "模型"),
        "arms": Words("arms", "组"),
        "fingerprint": Words("fingerprint", "指纹"),
        "accepted_of": Words("accepted of {recorded}", "已接受，共 {recorded} 张"),
        "declared_title": Words("What was declared", "事先写定的内容"),
        "environment_title": Words("Machine and software of the trainings", "训练所用的机器与软件"),
    }
)
