"""Diffusion models of the user's own defects: train one, or adapt a Stable Diffusion to them.

Every name is imported on first use, so that `import generator` loads no torch::

    from generator import TrainConfig, train

    train(Path("data/train"), Path("models/pads"), TrainConfig(minutes=30))
"""

from typing import TYPE_CHECKING

from sdcore import __version__
from sdcore.optional_imports import import_on_first_use

if TYPE_CHECKING:
    from sdcore.diffusion_model import load_model

    from .config import LoraSettings, NetworkConfig, TrainConfig
    from .diffusion.train import train
    from .errors import GeneratorError
    from .lora.train import train_lora
    from .report.run import make_report, write_report

__all__ = [
    "GeneratorError",
    "LoraSettings",
    "NetworkConfig",
    "TrainConfig",
    "__version__",
    "load_model",
    "make_report",
    "train",
    "train_lora",
    "write_report",
]

__getattr__ = import_on_first_use(
    __name__,
    {
        ".config": ["LoraSettings", "NetworkConfig", "TrainConfig"],
        ".diffusion.train": ["train"],
        ".errors": ["GeneratorError"],
        ".lora.train": ["train_lora"],
        ".report.run": ["make_report", "write_report"],
        "sdcore.diffusion_model": ["load_model"],
    },
)
