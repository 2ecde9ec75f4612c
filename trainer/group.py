"""The processes that train together: what they add up, and what one of them does for all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import torch
from torch import distributed as dist
from torch import nn

from .errors import SaidElsewhere, SettingsError
from .ranks import Ranks
from .sampling import parts_of

Result = TypeVar("Result")


class ProcessGroup:
    """Processes that train together, or one by itself, which then does what it would do anyway.

    Every process has to make the same calls in the same order, as each waits for all others.
    """

    def __init__(self, ranks: Ranks = Ranks()) -> None:  # noqa: B008 - frozen
        self.ranks = ranks

    @property
    def count(self) -> int:
        """Processes in it."""
        return self.ranks.count

    @property
    def first(self) -> bool:
        """Whether this process decides, writes and speaks for all."""
        return self.ranks.first

    def on_first(self, work: Callable[[], Result]) -> Result:
        """What `work` gives in the first process, known to all; the others wait.

        Raises:
            SaidElsewhere: it raised an error, which the first process has; the others know no more.
        """
        if self.count == 1:
            return work()
        if not self.first:
            done, result = self._broadcast(None)
            if not done:
                raise SaidElsewhere
            return result  # type: ignore[no-any-return]
        try:
            result = work()
        except BaseException:
            with suppress(RuntimeError):  # another one may have died meanwhile
                self._broadcast((False, None))
            raise
        self._broadcast((True, result))
        return result

    def _broadcast(self, content: tuple[bool, Any] | None) -> tuple[bool, Any]:
        box = [content]
        dist.broadcast_object_list(box, src=0)
        assert box[0] is not None  # noqa: S101 - the first process sends a pair
        return box[0]

    def wait(self) -> None:
        """Go on when all are here."""
        self.sum(torch.zeros(1))

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sums over the processes, float64 on the CPU and the same bits in each; alone the values themselves."""
        if self.count == 1:
            return values
        total = values.detach().to("cpu", torch.float64)
        dist.all_reduce(total)
        return total

    def least(self, value: int) -> int:
        """The least of the processes' values."""
        if self.count == 1:
            return value
        least = torch.tensor(value)
        dist.all_reduce(least, op=dist.ReduceOp.MIN)
        return int(least)

    def average_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Put the mean over the processes into each tensor."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([one.flatten() for one in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        pieces = torch.split(flat, [one.numel() for one in tensors])
        torch._foreach_copy_(list(tensors), [new.view_as(old) for new, old in zip(pieces, tensors, strict=True)])

    def share_of(self, count: int) -> slice:
        """This process's part of so many entries, in order; it may be empty."""
        return parts_of(count, self.count)[self.ranks.rank]

    def gather(self, rows: torch.Tensor, count: int) -> torch.Tensor:
        """All rows in order, each once, out of every process's `share_of(count)`.

        Args:
            rows: (share, K) float32 on the CPU.
            count: rows of all processes.

        Returns:
            (count, K), the same in every process.
        """
        if self.count == 1:
            return rows
        sizes = [one.stop - one.start for one in parts_of(count, self.count)]
        # Collectives want one size; what fills up the shorter parts is cut off again.
        padded = rows.new_zeros((max(sizes), rows.shape[1]))
        padded[: len(rows)] = rows
        pieces = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(pieces, padded)
        return torch.cat([piece[:size] for piece, size in zip(pieces, sizes, strict=True)])

    def parallel(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network with its gradients averaged over the processes after each backward pass.

        Weights and buffers become those of the first process. Buffers are not kept alike afterwards.
        """
        if self.count == 1:
            return network
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # newer torch has another word for broadcast_buffers
            return nn.parallel.DistributedDataParallel(
                network,
                device_ids=[torch.cuda.current_device()] if device.type == "cuda" else None,
                broadcast_buffers=False,
                gradient_as_bucket_view=True,
            )


ALONE = ProcessGroup()


def refuse_other_command(group: ProcessGroup, facts: dict[str, Any]) -> None:
    """See that all processes were given the same.

    Args:
        group: the processes.
        facts: what decides the training, by name.

    Raises:
        SettingsError: this one was given something else than the first.
    """
    first = group.on_first(lambda: facts)
    for name, value in facts.items():
        if first.get(name) != value:
            raise SettingsError(f"{name}: {value!r} here, {first.get(name)!r} in the first process; start all alike")
