"""The words of reports in English; `zh.py` has the same keys and placeholders."""

WORDS = {
    # The answer
    "title": "Did the generated images help?",
    "against": "{second} against {first}",
    "with_control": ", with the control {control}",
    "helped": "Helped",
    "hurt": "Hurt",
    "mixed": "Mixed",
    "no difference shown": "No difference shown",
    "provisional": "provisional",
    "more_missed": "more defects missed",
    "bounds": "{low} to {high}",
    "bounds_95": "95 %: {low} to {high}",
    "bounds_seeds": "{low} to {high} over seeds",
    "undefined": "undefined",
    "stand_in_title": "The generated images did not come from Stable Diffusion.",
    "stand_in": "They were made by: {engines}. What is measured here says nothing about images from a diffusion "
    "model; it shows that the chain works.",
    "notes_title": "Before you rely on it",
    # Differences
    "changed_title": "What changed",
    "changed_one": "Each difference with a 95 % interval from {resamples} bootstrap draws of {units}, the same draws "
    "for both arms. An interval that holds 0 shows no difference.",
    "changed_many": "Means over seeds; each difference with a 95 % interval from {resamples} bootstrap draws of "
    "{units}, the same draws for both arms, to which each arm adds the chance of its own training seeds. An interval "
    "that holds 0 shows no difference.",
    "units_images": "the test images",
    "units_groups": "the {groups} groups of test images",
    "minus": "{second} minus {first}",
    "figure": "figure",
    "from": "from",
    "to": "to",
    "difference": "difference",
    "interval": "95 % interval",
    "no_interval": "no interval",
    "differences_drawn": "Differences with their intervals",
    "higher": "{name} (higher is better)",
    "lower": "{name} (lower is better)",
    "recalls_title": "Recall by class",
    "recalls": "Recall of one class is the share of its images that are given its name, TP/(TP+FN). Looking at many "
    "classes finds something by luck; p (Holm) is p corrected for all classes of the table, and a difference counts "
    "where it is below 0.05.",
    "class": "class",
    "test_images": "test images",
    "p": "p",
    "p_holm": "p (Holm)",
    # Rates
    "rates_title": "Rates side by side",
    "rates": "Normal/Abnormal judgement: an image is defective when its predicted class is not {normal}. Defective is "
    "the positive class. {seeds}Intervals: 95 % Clopper-Pearson over {images} images, taken as independent.",
    "rates_seeds": "Counts are means over seeds; ± is the standard deviation over seeds. ",
    "rate": "rate",
    "seeds_one": "{count} seed",
    "seeds_many": "{count} seeds",
    "baseline": "baseline",
    "candidate": "candidate",
    "control": "control",
    "macro_f1": "macro-F1",
    "weighted_f1": "weighted F1",
    "auroc": "AUROC",
    "macro_f1_formula": "mean of 2TP/(2TP+FP+FN)",
    "weighted_f1_formula": "same, by support",
    "auroc_formula": "of 1 - p({normal})",
    # Training images
    "balance_title": "Training images",
    "balance": "What each arm was trained on, by class.",
    "balance_drawn": "Training images of each class, before and after",
    "real": "real",
    "generated": "generated",
    "repeated": "repeated",
    "total": "total",
    "generated_share": "generated share",
    "all_classes": "all classes",
    "images": "images",
    # Samples
    "samples_title": "Sources and what was made from them",
    "set": "{images} images. Engine: {engine}.",
    "set_model": " Model: {model}.",
    "set_samples": " Source on the left, images made from it on the right, each with its denoising strength and seed.",
    "unknown": "unknown",
    "source": "source {name}",
    "source_gone": "(the file is gone)",
    "strength": "strength {strength}",
    "seed_of": "seed {seed}",
    "alt_source": "source {name}",
    "alt_generated": "generated from {name}",
    # By class
    "classes_title": "By class",
    "classes_one": "Naming the defect. Precision TP/(TP+FP), recall TP/(TP+FN), F1 = 2TP/(2TP+FP+FN). A class with "
    "few test images has an uncertain row.",
    "classes_many": "Naming the defect; means over seeds. Precision TP/(TP+FP), recall TP/(TP+FN), "
    "F1 = 2TP/(2TP+FP+FN). A class with few test images has an uncertain row.",
    "classes_undefined": "Rates by class are undefined: {reason}.",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    # Confusion
    "confusion_title": "Confusion matrices",
    "confusion_one": "Rows are the true names, columns the predicted ones; counts, with the share of the row. Blue is "
    "right, orange is wrong.",
    "confusion_many": "Rows are the true names, columns the predicted ones; counts added up over seeds, with the share "
    "of the row. Blue is right, orange is wrong.",
    "true_predicted": "true ↓ predicted →",
    # Operating curve
    "operating_title": "Operating curve",
    "operating": "Misses against overkill on the test images as the cut through the defect score 1 - p({normal}) "
    "moves; a line a training. Lower left is better.",
    "operating_none": "No cut was chosen for any of these trainings, so none is marked; the rates above go by the "
    "predicted class. 'trainer operating-point' chooses one on validation images.",
    "operating_chosen": "A ring is the cut that was chosen on validation images for a promised miss rate; here is what "
    "it does on the test images.",
    "operating_drawn": "Miss rate against overkill rate",
    "training": "training",
    "seed": "seed",
    "cut": "cut",
    "promised": "promised miss rate",
    "miss_rate": "miss rate",
    "overkill_rate": "overkill rate",
    # Flips
    "flips_title": "Images that flipped",
    "flips": "Normal/Abnormal correctness of the same image in both arms. McNemar's exact test asks whether the images "
    "right in one arm alone could be a coin's doing; one test for each pair of trainings.",
    "both_right": "both right",
    "right_alone": "right in {name} alone",
    "both_wrong": "both wrong",
    "exact_p": "exact p",
    "gained": "Wrong in {first}, right in {second}: {count}",
    "lost": "Right in {first}, wrong in {second}: {count}",
    "first_shown": "The first {count} are shown.",
    "none": "None.",
    # Worst
    "worst_title": "Worst mistakes",
    "worst": "Images that most trainings of {name} judge wrongly, the surest first: the share is what they gave the "
    "wrong judgement, on average over seeds.",
    "worst_misses": "Missed defects: {count}",
    "worst_overkill": "Good images called defective: {count}",
    "share_sure": "{share} sure",
    # Curves
    "curves_title": "Training curves",
    "curves": "Loss by epoch, one line a seed: dashed on the training images, solid on the validation images.",
    "curves_drawn": "Loss curves",
    "epoch": "epoch",
    "loss": "loss",
    "on_training": "training",
    "on_validation": "validation",
    "diagnosis": "diagnosis",
    # How
    "how_title": "How this was made",
    "settings_title": "Training settings",
    "settings": "A row is marked where the arms differ.",
    "setting": "setting",
    "value": "value",
    "generation": "Generation: {folder}",
    "commands": "Commands",
    "software": "Software",
    "bootstrap_seed": "bootstrap seed {seed}",
    "no_pictures": "This file has the figures and no pictures; --format html has both.",
    "image": "image",
    "label": "label",
    "predicted": "predicted",
}
