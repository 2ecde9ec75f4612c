"""Classifiers out of images: check, split, train, predict, evaluate, compare.

Every name is imported on first use, so that `import trainer` is instant::

    from trainer import TrainConfig, TrainingJob, compare, load_arm, split, train

    split(Path("photos"), Path("data"), val_share=0.15, test_share=0.25)
    train(TrainingJob(Path("data"), Path("runs/baseline"), TrainConfig()))
"""

from typing import TYPE_CHECKING

from sdcore import __version__
from sdcore.optional_imports import import_on_first_use

if TYPE_CHECKING:
    from .config import AugmentConfig, TrainConfig, TrainingJob
    from .data.check import check_folder
    from .data.dataset import count_images
    from .data.split import split, split_folds
    from .errors import TrainerError
    from .evaluation.arms import load_arm
    from .evaluation.compare import compare
    from .evaluation.diagnosis import diagnose
    from .evaluation.evaluate import evaluate
    from .experiment.run import run_experiment
    from .models.explain import explain
    from .models.export import export
    from .models.predict import predict, predict_folder
    from .models.predictions import read_predictions
    from .training.seeds import train_seeds
    from .training.train import train

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
