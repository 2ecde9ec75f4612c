"""Batch statistics of a step that is worked through in parts, by one process or several."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from .group import ProcessGroup


class StepStatistics:
    """Lets a step move the running statistics once, by the mean over its parts, however they are dealt out.

    Each part is normalised by its own mean and variance. With the momentum m and s_k the statistics of part k of P,
    a step takes running statistics r to (1 - m) r + m (s_1 + ... + s_P) / P. One process after another comes to that
    with the momentum (m / P) / (1 - (P - k) m / P) in part k; then the mean over the processes is the mean over all
    parts. So two processes move them as one process does in two parts, and P = 1 is plain batch normalisation.

    Args:
        network: whose layers are meant.
        parts: of a step, in this process.
        group: the processes.
    """

    def __init__(self, network: nn.Module, *, parts: int, group: ProcessGroup) -> None:
        self._layers = [one for one in network.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
        self._momentum = [one.momentum for one in self._layers]
        self._parts, self._group = parts, group

    @contextmanager
    def of_part(self, number: int) -> Iterator[None]:
        """Around the passes of a part, counted from 1."""
        if self._parts == 1:
            yield
            return
        for layer, momentum in zip(self._layers, self._momentum, strict=True):
            if momentum is not None:
                each = momentum / self._parts
                layer.momentum = each / (1 - (self._parts - number) * each)
        try:
            yield
        finally:
            for layer, momentum in zip(self._layers, self._momentum, strict=True):
                layer.momentum = momentum

    def share(self) -> None:
        """After the last part: bring the running statistics of all processes to their mean.

        Layers that are frozen, or see the images of all processes anyway, are alike already.
        """
        if self._group.count == 1:
            return
        layers = [one for one in self._layers if one.training and not isinstance(one, nn.SyncBatchNorm)]
        self._group.average_(
            [
                one
                for layer in layers
                for one in (layer.running_mean, layer.running_var)
                if isinstance(one, torch.Tensor)
            ]
        )
