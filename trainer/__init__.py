"""Classifiers out of images: check, split, train, predict, evaluate, compare.

Every name is imported on first use, so that `import trainer` is instant::

    from trainer import TrainConfig, TrainingJob, compare, load_arm, split, train

    split(Path("photos"), Path("data"), val_share=0.15, test_share=0.25)
    train(TrainingJob(Path("data"), Path("runs/baseline"), TrainConfig()))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdcore import __version__
from sdcore.optional_imports import import_on_first_use

if TYPE_CHECKING:
    from .config import AugmentConfig as AugmentConfig
    from .config import TrainConfig as TrainConfig
    from .config import TrainingJob as TrainingJob
    from .data.check import check_folder as check_folder
    from .data.dataset import count_images as count_images
    from .data.split import split as split
    from .data.split import split_folds as split_folds
    from .errors import TrainerError as TrainerError
    from .evaluation.arms import load_arm as load_arm
    from .evaluation.compare import compare as compare
    from .evaluation.diagnosis import diagnose as diagnose
    from .evaluation.evaluate import evaluate as evaluate
    from .experiment.run import run_experiment as run_experiment
    from .models.explain import explain as explain
    from .models.export import export as export
    from .models.predict import predict as predict
    from .models.predict import predict_folder as predict_folder
    from .models.predictions import read_predictions as read_predictions
    from .training.seeds import train_seeds as train_seeds
    from .training.train import train as train

__all__ = [
    "AugmentConfig",
    "TrainConfig",
    "TrainerError",
    "TrainingJob",
    "__version__",
    "check_folder",
    "compare",
    "count_images",
    "diagnose",
    "evaluate",
    "explain",
    "export",
    "load_arm",
    "predict",
    "predict_folder",
    "read_predictions",
    "run_experiment",
    "split",
    "split_folds",
    "train",
    "train_seeds",
]

__getattr__ = import_on_first_use(
    __name__,
    {
        ".config": ["AugmentConfig", "TrainConfig", "TrainingJob"],
        ".data.check": ["check_folder"],
        ".data.dataset": ["count_images"],
        ".data.split": ["split", "split_folds"],
        ".errors": ["TrainerError"],
        ".evaluation.arms": ["load_arm"],
        ".evaluation.compare": ["compare"],
        ".evaluation.diagnosis": ["diagnose"],
        ".evaluation.evaluate": ["evaluate"],
        ".experiment.run": ["run_experiment"],
        ".models.explain": ["explain"],
        ".models.export": ["export"],
        ".models.predict": ["predict", "predict_folder"],
        ".models.predictions": ["read_predictions"],
        ".training.seeds": ["train_seeds"],
        ".training.train": ["train"],
    },
)
