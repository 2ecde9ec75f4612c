"""The weights that a training starts from: of an earlier run or of upstream YOLOv5; and frozen layers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from sdcore.files import sha256_of

from ..config import TrainConfig
from ..data.transforms import MEAN, STD
from ..errors import CheckpointError, SettingsError
from .checkpoints import UPSTREAM_RELEASE, Checkpoint, find_checkpoint, load_checkpoint
from .upstream_weights import read_upstream

_LEAST_SHARE = 0.5
"""Share of the network's tensors (without the last layer of the head) that must fit; below it the file is refused."""
_WIDTHS = {16: "yolov5n-cls", 32: "yolov5s-cls", 48: "yolov5m-cls", 64: "yolov5l-cls", 80: "yolov5x-cls"}
"""Channels out of the first convolution -> model."""
_FIRST = "model.0.conv.weight"
_FIRST_MEAN = "model.0.bn.running_mean"


@dataclass(frozen=True)
class InitialWeights:
    """Which tensors a training took from the file that it starts from."""

    taken: tuple[str, ...]
    """Tensors that came from the file."""
    left: tuple[str, ...]
    """Tensors of the file that were not used."""
    missing: tuple[str, ...]
    """Tensors of the network that keep their fresh values."""
    model_guess: str | None
    """The model whose shapes the file has; None if unknown."""
    kind: Literal["own", "classifier", "detector"]
    """A checkpoint of ours, or upstream's classifier or detector."""
    note: str
    """What was done to the head and the normalisation."""

    @property
    def line(self) -> str:
        """One sentence for the log."""
        whose = {"own": "a former run", "classifier": "a YOLOv5 classifier", "detector": "a YOLOv5 detector"}
        total = len(self.taken) + len(self.missing)
        left = f", {len(self.left)} of the file left" if self.left else ""
        return f"took {len(self.taken)} of {total} tensors from {whose[self.kind]}{left}: {self.note}"


def load_initial_weights(network: nn.Module, path: Path, *, model: str, classes: tuple[str, ...]) -> InitialWeights:
    """Put a file's weights into `network`; the head stays fresh unless the classes are the same.

    Weights from images that were normalised in another way are converted to our normalisation: the first convolution
    takes the scale, the mean of its batch normalisation the shift. This is exact except at the border, where the
    convolution pads with zeros, which mean another grey level afterwards.

    The network is changed in place. `path` is a checkpoint of ours, a run (its `best.pt`), or a `.pt` file of YOLOv5 v6
    or v7; the classes are in the order of the network's outputs.

    Raises:
        CheckpointError: the file is missing, damaged, refused, or of another model.
    """
    path = find_checkpoint(path)
    found = read_upstream(path) or load_checkpoint(path)
    kind: Literal["own", "classifier", "detector"] = "own" if isinstance(found, Checkpoint) else found.kind
    guess = found.model if isinstance(found, Checkpoint) else _guess(found.state)
    fresh, state = network.state_dict(), found.state
    head = {name for name in fresh if ".linear." in name}
    keeps_head = kind != "detector" and found.classes == classes
    chosen = {
        name: tensor
        for name, tensor in state.items()
        if name in fresh and fresh[name].shape == tensor.shape and (keeps_head or name not in head)
    }
    if guess not in (None, model):
        raise CheckpointError(f"{path}: weights of {guess}, asked to train {model}; add --model {guess}")
    wanted = set(fresh) - head
    fitting = len(wanted & set(chosen))
    if kind == "own" and (fitting < len(wanted) or not set(state) <= set(fresh)):
        raise CheckpointError(f"{path}: its weights do not fit {model}; take another checkpoint")
    if fitting < _LEAST_SHARE * len(wanted) or _FIRST not in chosen:
        raise CheckpointError(
            f"{path}: only {fitting} of {len(wanted)} tensors fit {model} by name and shape; expected weights of a "
            f"YOLOv5 v6 or v7 model of that size, as from {UPSTREAM_RELEASE}"
        )
    if not all(bool(torch.isfinite(tensor).all()) for tensor in chosen.values()):
        raise CheckpointError(f"{path}: holds weights that are NaN or infinite; take another copy")
    note = "head kept, the classes are the same" if head <= set(chosen) else f"head fresh for {len(classes)} classes"
    if (found.mean, found.std) != (MEAN, STD):
        _renormalise(chosen, found.mean, found.std)
        note += "; first layer changed to our normalisation"
    network.load_state_dict({**fresh, **chosen})
    return InitialWeights(
        taken=tuple(chosen),
        left=tuple(name for name in state if name not in chosen),
        missing=tuple(name for name in fresh if name not in chosen),
        model_guess=guess,
        kind=kind,
        note=note,
    )


BATCH_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


def freeze_backbone(network: nn.Module, layers: int) -> None:
    """Freeze the first layers: no gradients, and batch statistics that stay fixed in training mode.

    A classifier has ten layers: 0 to 8 are the backbone (convolutions 0, 1, 3, 5, 7 and C3 blocks 2, 4, 6, 8),
    9 is the head (a convolution and the linear layer). 9 freezes the whole backbone, 0 nothing.

    Raises:
        SettingsError: below 0, or so many that the head would be included.
    """
    parts: Any = network.model
    most = len(parts) - 1
    if not 0 <= layers <= most:
        raise SettingsError(
            f"freeze: {layers} layers; expected 0 to {most}: the model has {most} before its head, "
            f"and {most} freezes all of them"
        )
    for part in list(parts)[:layers]:
        part.requires_grad_(False)
        for module in part.modules():
            if isinstance(module, BATCH_NORMS):
                module.eval()
                module.register_forward_pre_hook(_stay_in_evaluation)


def _stay_in_evaluation(module: nn.Module, _: Any) -> None:
    module.training = False  # `network.train()` sets it, in frozen layers too


def _guess(state: dict[str, torch.Tensor]) -> str | None:
    """The model by the width of its first layer, which differs between all sizes."""
    first = state.get(_FIRST)
    return None if first is None or first.shape[1:] != (3, 6, 6) else _WIDTHS.get(first.shape[0])


def _renormalise(state: dict[str, torch.Tensor], mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Convert the first layer from x = (image - mean) / std to our x' = (image - MEAN) / STD.

    With x = x' * STD / std + (MEAN - mean) / std, a convolution W becomes W * STD / std plus a constant, which the
    running mean of the following batch normalisation absorbs.
    """
    scale = torch.tensor([ours / theirs for ours, theirs in zip(STD, std, strict=True)])
    shift = torch.tensor([(ours - theirs) / by for ours, theirs, by in zip(MEAN, mean, std, strict=True)])
    weight = state[_FIRST]
    state[_FIRST] = weight * scale.view(1, 3, 1, 1)
    if _FIRST_MEAN in state:
        state[_FIRST_MEAN] = state[_FIRST_MEAN] - (weight.sum(dim=(2, 3)) * shift).sum(dim=1)


def with_weights_hash(config: TrainConfig) -> TrainConfig:
    """The config with the hash of its starting weights, by which a resumed training recognises them.

    Raises:
        CheckpointError: the file is missing, or differs from the one the config was saved with.
    """
    if config.weights is None:
        return config
    file = find_checkpoint(Path(config.weights))
    found = sha256_of(file)
    if config.weights_sha256 not in (None, found):
        raise CheckpointError(
            f"{file}: sha256 {found[:12]}..., expected {config.weights_sha256}; the file is another one than the "
            "settings were saved with"
        )
    return config.model_copy(update={"weights_sha256": found})
