"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class MovingAverage:
    """Exponential moving average of a network's weights and batch statistics.

    After t updates the decay is min(decay, (1 + t) / (10 + t)): early weights, which are noise, are soon
    forgotten. (The warm-up of TensorFlow's ExponentialMovingAverage.)
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self._decay = decay
        self._updates = 0

    def update(self, network: nn.Module) -> None:
        """Take one more step of the network into the average."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        with torch.no_grad():
            own, new = self.network.state_dict(), network.state_dict()
            floats = [name for name in own if own[name].is_floating_point()]
            torch._foreach_lerp_([own[name] for name in floats], [new[name] for name in floats], 1 - decay)
            for name in own.keys() - set(floats):
                own[name].copy_(new[name])

    def state(self) -> dict[str, Any]:
        """Tensors and a number from which `restore` goes on."""
        return {"network": self.network.state_dict(), "updates": self._updates}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.network.load_state_dict(state["network"])
        self._updates = int(state["updates"])
