"""The words of verdicts, notes, warnings and diagnoses by message key, English and Chinese side by side."""

from sdcore.messages import MessageCatalogue, Words

WORDS = MessageCatalogue(
    {
        # Compared metrics
        "macro_f1": Words("macro-F1", "宏平均 F1"),
        "accuracy": Words("Normal/Abnormal accuracy", "正确率"),
        "miss_rate": Words("miss rate", "漏检率"),
        "overkill_rate": Words("overkill rate", "过杀率"),
        # How one differs between two arms
        "difference_undefined": Words("{metric} is undefined", "{metric}未定义"),
        "difference_rose": Words(
            "{metric} rose by {by:.3f}, from {first:.3f} to {second:.3f}{interval}",
            "{metric} 上升 {by:.3f}，从 {first:.3f} 到 {second:.3f}{interval}",
        ),
        "difference_fell": Words(
            "{metric} fell by {by:.3f}, from {first:.3f} to {second:.3f}{interval}",
            "{metric} 下降 {by:.3f}，从 {first:.3f} 到 {second:.3f}{interval}",
        ),
        "difference_still": Words(
            "{metric} did not move from {first:.3f}{interval}", "{metric} 没有变化，为 {first:.3f}{interval}"
        ),
        "interval": Words(" (95 % interval {low:+.3f} to {high:+.3f})", "（95 % 区间 {low:+.3f} 至 {high:+.3f}）"),
        "interval_none": Words(" (no interval can be told from so few test images)", "（测试图像太少，给不出区间）"),
        # Verdicts
        "helped": Words("helped", "有帮助"),
        "hurt": Words("hurt", "变差"),
        "mixed": Words("mixed", "有得有失"),
        "no difference shown": Words("no difference shown", "未见差异"),
        "verdict": Words(
            "On these {images} test images, {second} against {first}: {word}{details}.",
            "在这 {images} 张测试图像上，{second} 与 {first} 相比：{word}{details}。",
        ),
        "verdict_provisional": Words(
            " (provisional, {seeds} of {final} seeds)", "（暂定，{final} 个种子中只有 {seeds} 个）"
        ),
        "verdict_difference": Words("; {difference}", "；{difference}"),
        "verdict_difference_against": Words("; {difference} against {first}", "；与 {first} 相比，{difference}"),
        "verdict_control": Words(
            "; against the control ({control}), {difference}", "；与对照（{control}）相比，{difference}"
        ),
        "verdict_not_beyond_control": Words(
            " beyond the control ({control}); {difference} against the control, though {against_first} against {first}",
            "，没有超出对照（{control}）；与对照相比，{difference}，而与 {first} 相比，{against_first}",
        ),
        "verdict_models_only": Words(
            "; this speaks of these trained models only, not of the ways they were trained",
            "；这只说明这几个训练好的模型，不说明训练方法",
        ),
        "verdict_not_beyond_classical": Words(
            " beyond the classical control ({control})", "，没有超出传统增广对照（{control}）"
        ),
        "verdict_difference_p": Words("; {difference}, {p}", "；{difference}，{p}"),
        "verdict_classical": Words(
            "; against the classical control ({control}), {difference}, {p}",
            "；与传统增广对照（{control}）相比，{difference}，{p}",
        ),
        "p_none": Words("no p-value can be told", "给不出 p 值"),
        "p_alone": Words("p = {p:.3g}", "p = {p:.3g}"),
        "p_of_family": Words("p = {p:.3g} (Holm over {arms} arms)", "p = {p:.3g}（Holm，共 {arms} 组）"),
        # Sample size
        "sample_seeds": Words(
            "To see a difference of {worth:g} in {power:.0f} of 100 such comparisons, no number of test images is "
            "enough with {seeds} seeds an arm: the seeds differ too much; train with {needed} or more.",
            "要在 100 次这样的比较中有 {power:.0f} 次看出 {worth:g} 的差异，每组 {seeds} 个种子时，再多测试图像也不够："
            "种子间差异太大；请用 {needed} 个或更多种子训练。",
        ),
        "sample_enough": Words(
            "To see a difference of {worth:g} in {power:.0f} of 100 such comparisons, about {needed} test images of "
            "this mix are enough; there are {now}.",
            "要在 100 次这样的比较中有 {power:.0f} 次看出 {worth:g} 的差异，约 {needed} 张同样构成的测试图像就够；现有 {now} 张。",
        ),
        "sample_needed": Words(
            "To see a difference of {worth:g} in {power:.0f} of 100 such comparisons, about {needed} test images of "
            "this mix are needed; there are {now}.",
            "要在 100 次这样的比较中有 {power:.0f} 次看出 {worth:g} 的差异，约需 {needed} 张同样构成的测试图像；现有 {now} 张。",
        ),
        # Notes on a comparison
        "note_one_seed": Words(
            "Seed variance is not covered: an arm has one training only, so the intervals speak for these trained "
            "models, not for the way of training. Train with --seed 0 --seed 1 ... --seed 4 to know.",
            "未计入种子间的差异：有的组只训练了一次，因此区间只说明这几个训练好的模型，不说明这种训练方法。"
            "请用 --seed 0 --seed 1 ... --seed 4 多次训练后再看。",
        ),
        "note_no_groups": Words(
            "No two test images share a known group, so each was taken as independent; if several were cut from one "
            "board or photograph, the intervals are too narrow.",
            "没有已知分组相同的测试图像，因此每张都按独立处理；如果有几张出自同一块板或同一张照片，区间就偏窄。",
        ),
        "note_few_groups": Words(
            "The test images fall into {groups} groups only; intervals from so few are rough.",
            "测试图像只有 {groups} 组；组数这么少，区间只是粗略的。",
        ),
        "note_few_defects": Words(
            "The test set holds {defects} defects. Even with no miss at all, fewer than 299 cannot prove a miss rate "
            "under 1 % (one-sided 95 %).",
            "测试集有 {defects} 个缺陷。少于 299 个时，即使没有漏检，也不能证明漏检率低于 1 %（单侧 95 %）。",
        ),
        "note_multiclass_undefined": Words("Multi-class rates are undefined: {reason}.", "多类指标未定义：{reason}。"),
        "note_of_arm": Words("{arm}: {warning}.", "{arm}：{warning}。"),
        # Evaluation
        "labels_unnamed": Words(
            "{count} of {all} labels say only {label!r}, not which defect",
            "{all} 个标注中有 {count} 个只写 {label!r}，没有写是哪种缺陷",
        ),
        "one_class_predicted": Words(
            "every image is called {name!r}, so this model tells nothing apart; train longer, or give the other "
            "classes more images",
            "所有图像都判为 {name!r}，这个模型没有分辨力；请延长训练，或给其他类别增加图像",
        ),
        "accuracy_under_chance": Words(
            "multi-class accuracy {count}/{of} is worse than guessing among {classes} classes: {advice}",
            "多类正确率 {count}/{of} 比在 {classes} 类中乱猜还差：{advice}",
        ),
        "auroc_under_chance": Words(
            "AUROC {area:.3f} of 1 - p(Normal) is under 0.5, worse than chance: {advice}",
            "1 - p(Normal) 的 AUROC 为 {area:.3f}，低于 0.5，比乱猜还差：{advice}",
        ),
        "probably_swapped": Words(
            "labels or class order are probably swapped; check the folders and the class list, and whether the "
            "training was long enough to learn anything",
            "标注或类别顺序可能颠倒；请检查文件夹和类别列表，以及训练是否足够长",
        ),
        "no_defect": Words(
            "no test image shows a defect: recall and miss rate are undefined",
            "测试图像中没有缺陷，召回率和漏检率未定义",
        ),
        "no_normal": Words(
            "no test image is Normal: overkill and false-call filter rate are undefined",
            "测试图像中没有良品，过杀率和假点过滤率未定义",
        ),
        # Operating point
        "best_epoch_on_validation": Words(
            "the best epoch was chosen on the same validation images, which flatters their scores a little; the "
            "fewer, the more",
            "最佳轮次也是在这些验证图像上选出的，因此它们的分数略微偏好；图像越少，偏得越多",
        ),
        "validation_changed": Words(
            "{images} is not what it was when this run was trained ({name}: {then} images then, {now} now); the "
            "promise holds only if training saw none of these images",
            "{images} 与训练时不同（{name}：当时 {then} 张图像，现在 {now} 张）；只有训练没有用过这些图像，承诺才成立",
        ),
        "promise_of_groups": Words(
            "the {defects} validation defects come from {groups} groups, and those of one group are alike: the promise "
            "takes each for itself, while only the groups are exchangeable; for defects of groups never seen, {groups} "
            "by themselves promise no miss rate under {percent:.3g} % (1 in {of})",
            "{defects} 个验证缺陷出自 {groups} 组，同组的缺陷彼此相似：承诺按每个缺陷独立计算，而可交换的只是组；"
            "对从未见过的组的缺陷，仅凭 {groups} 组不能承诺低于 {percent:.3g} %（{of} 分之一）的漏检率",
        ),
        "cut_is_zero": Words(
            "the cut is 0, so every image is called defective and nothing is filtered: the classifier is certain that "
            "{count} validation defect(s) are {normal}; look at these, or train longer",
            "阈值为 0，所有图像都判为有缺陷，什么也没有过滤：分类器确信 {count} 个验证缺陷是 {normal}；请检查它们，或延长训练",
        ),
        "some": Words("some", "若干"),
        "promise_not_kept": Words(
            "{missed} of {of} test defects are missed; were they like those of validation, so many would be missed "
            "with a chance of {percent:.2g} %: they are not alike, and the promise does not hold for them",
            "{of} 个测试缺陷中漏检 {missed} 个；如果它们与验证缺陷相似，漏检这么多的概率只有 {percent:.2g} %："
            "两者并不相似，承诺对它们不成立",
        ),
        # Leakage
        "in_data": Words("{data}: {warning}", "{data}：{warning}"),
        "generated_in_train": Words(
            "{count} of {all} images in {train} were generated{foreign}, the first is {first}: they count as "
            "generated, not as real",
            "{train} 的 {all} 张图像中有 {count} 张是生成的{foreign}，第一张为 {first}：按生成图计，不按真实图计",
        ),
        "foreign_sources": Words(
            " ({count} of them from sources that are not there)", "（其中 {count} 张的源图不在那里）"
        ),
        "sources_gone": Words(
            "{count} source(s) of generated images: neither in {train} nor where they were generated from, so "
            "compared with validation and test by their bytes alone",
            "{count} 张生成图像的源图既不在 {train}，也不在生成时的位置，因此只按字节与验证集、测试集比对",
        ),
        "single_coloured": Words(
            "{count} single-coloured pictures have a twin in another of train, val and test: allowed, since they tell "
            "nothing of what they were taken of; --strict refuses them",
            "{count} 张单色图像在训练、验证、测试的另一部分中有相同的一张：予以放行，因为看不出拍的是什么；--strict 会拒绝它们",
        ),
        "look_alikes": Words(
            "{count} of {all} validation and test pictures look like one that is trained on, the first is {first}: "
            "perhaps the same part twice (aligned boards all look alike); {file} in the run shows them, --strict "
            "refuses them",
            "{all} 张验证和测试图像中有 {count} 张与某张训练图像相似，第一张为 {first}：也许是同一部位拍了两次"
            "（对齐的板看上去都差不多）；运行文件夹中的 {file} 列出了它们，--strict 会拒绝它们",
        ),
        "undecodable": Words(
            "{count} of {all} validation and test pictures cannot be decoded, the first is {first}: compared by their "
            "bytes alone; 'trainer check' lists them",
            "{all} 张验证和测试图像中有 {count} 张无法解码，第一张为 {first}：只按字节比对；'trainer check' 会列出它们",
        ),
        # Experiments
        "defects_only": Words(
            "{arm}: its generated images are of defect classes only{told}, so a network may learn 'generated' where it "
            "should learn 'defect'. Regenerate Normal images too, and add an arm of the same share with normal = true.",
            "{arm}：生成图像只有缺陷类别{told}，网络可能学到“是生成的”而不是“有缺陷”。"
            "请也生成 Normal 图像，并加一组占比相同、设 normal = true 的实验组。",
        ),
        "told_by_texture": Words(
            " (told from real ones by texture alone with AUROC {area:.2f})",
            "（仅凭纹理与真实图区分的 AUROC 为 {area:.2f}）",
        ),
        "made_by": Words("{arm}: its images were made by: {engine}.", "{arm}：其图像的生成引擎为：{engine}。"),
        "draws_from_all": Words(
            "{arm}: draws from all {count} images of {path}, accepted or not (curated = false).",
            "{arm}：使用 {path} 的全部 {count} 张图像，不论是否已接受（curated = false）。",
        ),
        "draws_from_accepted": Words(
            "{arm}: draws from the {count} accepted of {all} images of {path}.",
            "{arm}：{path} 的 {all} 张图像中，使用已接受的 {count} 张。",
        ),
        "folds_pooled": Words(
            "Predictions of {folds} folds are pooled before any rate; the models of two folds share most of their "
            "training images, which the intervals do not know.",
            "各项指标先合并 {folds} 折的预测再计算；任意两折的模型共用大部分训练图像，区间没有计入这一点。",
        ),
        "declared_late": Words(
            "{late} cells were finished when the primary metric was declared ({file} was missing), so nothing shows "
            "that it was chosen beforehand.",
            "写定决定性指标时已有 {late} 次训练完成（缺少 {file}），因此无法证明它是事先选定的。",
        ),
        "declaration_changed": Words(
            "The experiment file was changed ({changed}) when {finished} cells were finished; what is chosen after "
            "results are known makes p-values too small.",
            "完成 {finished} 次训练后实验文件有改动（{changed}）；知道结果之后再做的选择会使 p 值偏小。",
        ),
        "too_few_of_a_class": Words(
            "no class has {real} real and {generated} generated images",
            "没有一个类别同时有 {real} 张真实图和 {generated} 张生成图",
        ),
        "too_few_sources": Words(
            "{count} source images; fewer than {least} say nothing of others",
            "只有 {count} 张源图；少于 {least} 张不能说明其他源图",
        ),
        # Samples of a report
        "samples_unreadable": Words("Samples cannot be shown: {error}.", "无法显示样图：{error}。"),
        "samples_gone": Words(
            "Samples cannot be shown: the image files of {folder} are gone.",
            "无法显示样图：{folder} 的图像文件已不存在。",
        ),
        # What loss curves say
        "diagnosis": Words("{kind}: {facts}", "{kind}：{facts}"),
        "kind_learning": Words("learning 正常学习", "正常学习"),
        "kind_overfitting": Words("overfitting 过拟合", "过拟合"),
        "kind_plateau": Words("plateau 欠拟合/平台期", "欠拟合/平台期"),
        "kind_diverging": Words("diverging 发散", "发散"),
        "kind_finished": Words("finished 已收敛", "已收敛"),
        "kind_inconclusive": Words("inconclusive 无法判断", "无法判断"),
        "no_epochs": Words("no epoch is recorded yet", "还没有任何轮次的记录"),
        "train_not_finite": Words("the training loss is {value} in epoch {epoch}", "第 {epoch} 轮的训练损失为 {value}"),
        "val_not_finite": Words("the validation loss is {value} in epoch {epoch}", "第 {epoch} 轮的验证损失为 {value}"),
        "exploded": Words(
            "the training loss went up to {worst:.3g} in epoch {epoch} and is {now:.3g} now{guess}",
            "训练损失在第 {epoch} 轮升到 {worst:.3g}，现在为 {now:.3g}{guess}",
        ),
        "guess_is": Words("; guessing has {guess:.2f}", "；乱猜为 {guess:.2f}"),
        "few_epochs": Words(
            "{have} epochs; a slope needs {least}, so {more} more",
            "有 {have} 轮；判断趋势需要 {least} 轮，还差 {more} 轮",
        ),
        "few_epochs_after_warmup": Words(
            "{have} epochs after {warmup} of warm-up; a slope needs {least}, so {more} more",
            "预热 {warmup} 轮后有 {have} 轮；判断趋势需要 {least} 轮，还差 {more} 轮",
        ),
        "slopes": Words(
            "epochs {first}-{last}, training loss {train}, validation loss {val}{more}",
            "第 {first}–{last} 轮，训练损失{train}，验证损失{val}{more}",
        ),
        "slope": Words(
            "{slope:+.1f} % an epoch [{low:+.1f}, {high:+.1f}]", "每轮 {slope:+.1f} % [{low:+.1f}, {high:+.1f}]"
        ),
        "rate_spent": Words("; the learning rate is spent ({share} of its highest)", "；学习率已降到最高值的 {share}"),
        "at_floor": Words(
            "; training loss {level:.3f}, least possible {floor:.3f}",
            "；训练损失 {level:.3f}，可能的最小值 {floor:.3f}",
        ),
        "memorised": Words(
            "; training is learned ({level:.3f}), but validation loss {val:.2f} is no better than guessing "
            "({guess:.2f})",
            "；训练图像已学会（{level:.3f}），但验证损失 {val:.2f} 不比乱猜（{guess:.2f}）好",
        ),
        "risen_since": Words(
            "; validation loss is {rise:.0f} % above its level about epoch {epoch}",
            "；验证损失比第 {epoch} 轮前后高 {rise:.0f} %",
        ),
        "best_epoch_ago": Words("; best epoch {epoch}, {ago} ago", "；最佳轮次 {epoch}，在 {ago} 轮之前"),
        "share": Words("{percent:.0f} %", "{percent:.0f} %"),
        "share_unknown": Words("an unknown share", "未知的比例"),
        # Advice
        "advise_more_epochs": Words(
            "Both losses still fell at the end, so more epochs will help: trainer train DATA -o NEW_RUN --epochs "
            "{epochs}.",
            "最后两项损失仍在下降，增加轮次会有帮助：trainer train DATA -o NEW_RUN --epochs {epochs}。",
        ),
        "advise_go_on": Words("Go on: {left} epochs are left.", "请继续：还剩 {left} 轮。"),
        "advise_f1_falls_all_the_same": Words(
            "Validation macro-F1 falls all the same: rare classes may be losing to the frequent ones; look at 'trainer "
            "evaluate RUN DATA', or train with --balance.",
            "但验证宏平均 F1 在下降：少见的类别可能被常见的类别压过；请看 'trainer evaluate RUN DATA'，或用 --balance 训练。",
        ),
        "advise_f1_still_rises": Words(
            "Validation macro-F1 still rises while the loss does: the network grows too sure of its mistakes, but its "
            "decisions get better. Judge by macro-F1, and take care with its probabilities.",
            "损失上升的同时，验证宏平均 F1 仍在上升：网络对自己的错误过于自信，但判定在变好。请以宏平均 F1 为准，并谨慎使用它的概率。",
        ),
        "advise_f1_falls": Words(
            "Validation macro-F1 falls too, so the decisions themselves get worse.",
            "验证宏平均 F1 也在下降，判定本身在变差。",
        ),
        "advise_f1_unsure": Words(
            "Validation macro-F1 neither rises nor falls for certain: going on makes the network surer, not better.",
            "验证宏平均 F1 没有确定的升降：继续训练只会让网络更自信，不会更好。",
        ),
        "advise_nothing_lost": Words(
            "Nothing is lost: best.pt holds epoch {epoch}. trainer evaluate RUN DATA",
            "没有损失：best.pt 保存的是第 {epoch} 轮。trainer evaluate RUN DATA",
        ),
        "advise_more_images": Words(
            "More training images, generated ones among them: trainer train DATA --generated OUTPUT -o NEW_RUN.",
            "增加训练图像，包括生成图像：trainer train DATA --generated OUTPUT -o NEW_RUN。",
        ),
        "advise_fewer_epochs": Words(
            "Or fewer epochs, so that the learning rate falls in time: trainer train DATA -o NEW_RUN --epochs "
            "{epochs}; or --stop-on overfit.",
            "或减少轮次，让学习率及时下降：trainer train DATA -o NEW_RUN --epochs {epochs}；或用 --stop-on overfit。",
        ),
        "advise_nothing_learned": Words(
            "The training loss {level:.2f} is that of guessing (ln {classes} = {guess:.2f}): nothing was learned. Look "
            "whether the labels fit the images ('trainer check DATA/train'), and try --lr {lower} and --lr {higher}.",
            "训练损失 {level:.2f} 与乱猜相同（ln {classes} = {guess:.2f}）：什么也没有学到。请检查标注与图像是否相符"
            "（'trainer check DATA/train'），并试 --lr {lower} 和 --lr {higher}。",
        ),
        "advise_schedule_lowers": Words(
            "The schedule is lowering the learning rate already ({share} of its highest); let it end before you change "
            "anything.",
            "学习率已在按计划下降（最高值的 {share}）；请等它结束，再作改动。",
        ),
        "advise_lower_rate": Words(
            "Lower the learning rate: trainer train DATA -o NEW_RUN --lr {rate}.",
            "降低学习率：trainer train DATA -o NEW_RUN --lr {rate}。",
        ),
        "advise_batch_size": Words(
            "Or change the batch size: --batch-size 16 for more steps, 64 for steadier ones.",
            "或改变批大小：--batch-size 16 步数更多，64 每步更稳。",
        ),
        "advise_larger_model": Words(
            "If neither moves it, the network may be too small for the images: a larger --model or --imgsz.",
            "如果都没有作用，网络对这些图像可能太小：请用更大的 --model 或 --imgsz。",
        ),
        "advise_rate_tenfold_lower": Words(
            "Lower the learning rate tenfold: trainer train DATA -o NEW_RUN --lr {rate}.",
            "把学习率降到十分之一：trainer train DATA -o NEW_RUN --lr {rate}。",
        ),
        "advise_judge_best": Words(
            "best.pt holds epoch {epoch}; judge it before you use it: trainer evaluate RUN DATA",
            "best.pt 保存的是第 {epoch} 轮；使用前请先评估：trainer evaluate RUN DATA",
        ),
        "advise_end_of_schedule": Words(
            "The learning rate is down to {share} of its highest, so the curves can hardly move any more: this is the "
            "end of the schedule and no plateau, and a lower rate would gain nothing.",
            "学习率已降到最高值的 {share}，曲线几乎不会再变：这是计划的终点，不是平台期，再降学习率也没有用。",
        ),
        "advise_learned": Words(
            "The training images are learned as far as label smoothing allows; a lower rate gains nothing.",
            "训练图像已学到标签平滑允许的程度；再降学习率也没有用。",
        ),
        "advise_longer_schedule": Words(
            "Validation loss still fell to the end, so a longer schedule may gain more: trainer train DATA -o NEW_RUN "
            "--epochs {epochs}.",
            "验证损失到最后仍在下降，更长的计划可能更好：trainer train DATA -o NEW_RUN --epochs {epochs}。",
        ),
        "advise_losses_high": Words(
            "Both losses are still high (training {level:.2f}, least possible {floor:.2f}, guessing {guess:.2f}): "
            "train longer (--epochs {epochs}), faster (--lr {rate}), or with a larger --model.",
            "两项损失仍然很高（训练 {level:.2f}，可能的最小值 {floor:.2f}，乱猜 {guess:.2f}）："
            "请延长训练（--epochs {epochs}）、提高学习率（--lr {rate}），或用更大的 --model。",
        ),
        "advise_wide_gap": Words(
            "Validation ({val:.2f}) stays far above what training has left to learn ({left:.2f}): more training images "
            "will help more than more epochs: trainer train DATA --generated OUTPUT -o NEW_RUN.",
            "验证损失（{val:.2f}）远高于训练剩余可学的部分（{left:.2f}）：增加训练图像比增加轮次更有用："
            "trainer train DATA --generated OUTPUT -o NEW_RUN。",
        ),
        "advise_level_unknown": Words(
            "Whether the losses are low cannot be said: label smoothing or the number of classes is unknown.",
            "无法判断损失是否够低：标签平滑或类别数未知。",
        ),
        "advise_judge": Words("Judge it: trainer evaluate RUN DATA", "请评估：trainer evaluate RUN DATA"),
        "advise_train_for": Words("Train for {epochs} epochs or more.", "请训练 {epochs} 轮或更多。"),
        "advise_watch": Words(
            "Training loss falls and validation loss no longer follows, which comes before overfitting. Watch it, or "
            "end in time: trainer train DATA -o NEW_RUN --stop-on overfit.",
            "训练损失下降，验证损失不再跟随，这是过拟合的前兆。请留意，或及时停止：trainer train DATA -o NEW_RUN --stop-on overfit。",
        ),
        "advise_check_validation": Words(
            "Validation loss rises though training loss does not fall: the validation images may be few, or unlike the "
            "training ones. Look at both: trainer check DATA/val.",
            "训练损失没有下降，验证损失却在上升：验证图像可能太少，或与训练图像不同。请检查两者：trainer check DATA/val。",
        ),
        "advise_noise": Words(
            "The losses vary from epoch to epoch by {train:.0f} % (training) and {val:.0f} % (validation), which hides "
            "changes under about {hidden:.0f} % over the window. More epochs, a wider --window or more validation "
            "images would show them.",
            "损失在各轮之间波动 {train:.0f} %（训练）和 {val:.0f} %（验证），窗口内小于约 {hidden:.0f} % 的变化看不出来。"
            "增加轮次、加大 --window 或增加验证图像即可看出。",
        ),
    }
)
