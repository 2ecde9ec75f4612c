"""Exponential moving average of a network's weights: what is validated, saved and sampled from."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class MovingAverage:
    """The average; after t updates its decay is min(decay, (1 + t) / (10 + t)), so early noise is soon forgotten."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay
        self._updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take one more step of the network into the average."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        own = [one.data for one in self.network.parameters()]
        new = [one.data for one in network.parameters()]
        torch._foreach_lerp_(own, new, 1 - decay)

    def state(self) -> dict[str, Any]:
        """Tensors and a number from which `restore` goes on."""
        return {"network": self.network.state_dict(), "updates": self._updates}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.network.load_state_dict(state["network"])
        self._updates = int(state["updates"])
