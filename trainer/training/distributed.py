"""Processes that train together: joining torchrun's group, sums over it, and what happens when one fails."""

import gc
import itertools
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import Any, NoReturn, TypeVar

import torch
from torch import distributed as dist, nn

from sdcore.torch_runtime import choose_device

from ..errors import RankFailed, ReportedElsewhere, SettingsError, TrainerError
from ..processes import Ranks, read_ranks
from .sampling import parts_of

Result = TypeVar("Result")


class ProcessGroup:
    """Processes that train together, or a single one, for which every call is a plain local operation.

    Every process has to make the same calls in the same order, since each call waits for all processes.
    """

    def __init__(self, ranks: Ranks = Ranks()) -> None:  # noqa: B008 - frozen
        self.ranks = ranks

    @property
    def count(self) -> int:
        """Number of processes."""
        return self.ranks.count

    @property
    def first(self) -> bool:
        """Whether this process decides, writes and prints for all."""
        return self.ranks.first

    def on_first(self, work: Callable[[], Result]) -> Result:
        """Do `work` in the first process alone, and return its result in all; the others wait.

        Raises:
            ReportedElsewhere: `work` raised in the first process, which has the error; raised in all others.
        """
        if self.count == 1:
            return work()
        if not self.first:
            done, result = self._broadcast(None)
            if not done:
                raise ReportedElsewhere
            return result  # type: ignore[no-any-return]
        try:
            result = work()
        except BaseException:
            # The others wait for this broadcast; without it they would wait until the timeout.
            with suppress(RuntimeError):  # another one may have died meanwhile
                self._broadcast((False, None))
            raise
        self._broadcast((True, result))
        return result

    def value_of_first(self, value: Result) -> Result:
        """The first process's `value`, in all processes."""
        if self.count == 1:
            return value
        return self._broadcast((True, value) if self.first else None)[1]  # type: ignore[no-any-return]

    def _broadcast(self, content: tuple[bool, Any] | None) -> tuple[bool, Any]:
        box = [content]
        dist.broadcast_object_list(box, src=0)
        assert box[0] is not None  # noqa: S101 - the first process sends a pair
        return box[0]

    def wait(self) -> None:
        """Wait until all processes have made this call."""
        self.sum(torch.zeros(1))

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sums over the processes, float64 on the CPU, the same bits in each; a single process gets `values` back."""
        if self.count == 1:
            return values
        total = values.detach().to("cpu", torch.float64)
        dist.all_reduce(total)
        return total

    def minimum(self, value: int) -> int:
        """The smallest value of all processes."""
        if self.count == 1:
            return value
        least = torch.tensor(value)
        dist.all_reduce(least, op=dist.ReduceOp.MIN)
        return int(least)

    def average_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its mean over the processes."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([one.flatten() for one in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        pieces = torch.split(flat, [one.numel() for one in tensors])
        torch._foreach_copy_(list(tensors), [new.view_as(old) for new, old in zip(pieces, tensors, strict=True)])

    def share_of(self, count: int) -> slice:
        """This process's part of `count` entries, in order; may be empty."""
        return parts_of(count, self.count)[self.ranks.rank]

    def gather(self, rows: torch.Tensor, count: int) -> torch.Tensor:
        """All `count` rows in order, (count, K), in every process; `rows` are those of its own `share_of(count)`."""
        if self.count == 1:
            return rows
        sizes = [one.stop - one.start for one in parts_of(count, self.count)]
        # all_gather needs equal sizes: shorter parts are padded, and the padding is cut off afterwards.
        padded = rows.new_zeros((max(sizes), rows.shape[1]))
        padded[: len(rows)] = rows
        pieces = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(pieces, padded)
        return torch.cat([piece[:size] for piece, size in zip(pieces, sizes, strict=True)])

    def parallel(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Wrap the network so that each backward pass averages its gradients over the processes.

        Weights and buffers become those of the first process; later changes of buffers are not synchronised.
        """
        if self.count == 1:
            return network
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # newer torch renames broadcast_buffers
            return nn.parallel.DistributedDataParallel(
                network,
                device_ids=[torch.cuda.current_device()] if device.type == "cuda" else None,
                broadcast_buffers=False,
                gradient_as_bucket_view=True,
            )


ALONE = ProcessGroup()


def refuse_other_command(group: ProcessGroup, facts: dict[str, Any]) -> None:
    """Check that all processes were started with the same `facts`, the settings of the training by name.

    Raises:
        SettingsError: this process differs from the first.
    """
    first = group.value_of_first(facts)
    for name, value in facts.items():
        if first.get(name) != value:
            raise SettingsError(f"{name}: {value!r} here, {first.get(name)!r} in the first process; start all alike")


_PATIENCE = timedelta(hours=6)
"""Processes wait this long while one checks and decodes a large data set; a dead process is noticed at once anyway."""
_FAILED = "failed"
"""Key in the store that counts failed processes."""
_GROUP_NUMBERS = itertools.count()


@contextmanager
def join_process_group(device_name: str) -> Iterator[ProcessGroup]:
    """The processes that torchrun started with this one, until the block ends; `ALONE` without torchrun.

    The process that fails first reports the error; the others end silently. SIGTERM, which torchrun sends when it is
    stopped itself, counts as Ctrl-C. After an error it is ignored, so that the process can still report the error. On
    CUDA each process takes the device of its number on the machine.

    Raises:
        SettingsError: torchrun's variables are incomplete, or there are fewer devices than processes.
        RankFailed: this process failed and is not the first one; or another one died without a report.
        ReportedElsewhere: another process failed.
    """
    ranks = read_ranks()
    if ranks.count == 1:
        yield ALONE
        return
    device = choose_device(device_name)
    if device.type == "cuda":
        _take_device(ranks)
    store = _meet(ranks, device)
    succeeded = False
    former = _handle_terminations(_interrupt)
    try:
        yield ProcessGroup(ranks)
        succeeded = True
    except BaseException as error:
        # Torchrun sends SIGTERM to the others once one has ended, which would cut off their reports; ignore it.
        # It kills what is left after 30 s.
        _handle_terminations(signal.SIG_IGN)
        _drop_locals(error)
        if isinstance(error, ReportedElsewhere):
            raise
        _end(error, ranks, store)
    finally:
        gc.collect()
        if succeeded or device.type == "cpu":  # nccl might wait here for a process that died
            dist.destroy_process_group()
        if succeeded:
            _handle_terminations(former)


def _take_device(ranks: Ranks) -> None:
    there = torch.cuda.device_count()
    if ranks.local_count > there:
        raise SettingsError(
            f"device: {ranks.local_count} processes on this machine and {there} CUDA device(s); take "
            f"--nproc-per-node {there}, or --device cpu"
        )
    torch.cuda.set_device(ranks.local_rank)


def _meet(ranks: Ranks, device: torch.device) -> Any:
    """Start the collectives, and return the store in which processes report failures."""
    try:
        # A new prefix each time, since the store still has the entries of an earlier training.
        store = dist.PrefixStore(f"trainer-{next(_GROUP_NUMBERS)}", _store())  # type: ignore[attr-defined]
        # CPU tensors go through gloo on any machine.
        dist.init_process_group(
            "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl",
            store=store,
            rank=ranks.rank,
            world_size=ranks.count,
            timeout=_PATIENCE,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0][:160]
        raise RankFailed(
            f"{_name(ranks)}: cannot reach the others ({reason}); see that MASTER_ADDR and MASTER_PORT can be reached "
            "from every machine, and name the network in GLOO_SOCKET_IFNAME where there are several"
        ) from error
    return store


@cache
def _store() -> Any:
    """The store where the processes find each other; kept for the life of the process, since the first may host it."""
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://"))
    return store


def _end(error: BaseException, ranks: Ranks, store: Any) -> NoReturn:
    """Raise the reason why this process ends, unless another one has failed before."""
    if isinstance(error, KeyboardInterrupt) and error.__context__ is not None and _is_lost_peer(error.__context__):
        error = error.__context__  # torchrun interrupted this process because the same peer was lost
    failure = 0 if isinstance(error, KeyboardInterrupt) else 1
    try:
        failed_before = store.add(_FAILED, failure) > failure
    except RuntimeError:  # torchrun is gone, and the store with it
        failed_before = False
    if failed_before:
        raise ReportedElsewhere from error
    if _is_lost_peer(error):
        raise RankFailed(
            f"{_name(ranks)}: another one died without a report, perhaps out of memory; every finished epoch is "
            "saved, and the same command goes on after it"
        ) from error
    if isinstance(error, (TrainerError, OSError)) and not (ranks.first or isinstance(error, RankFailed)):
        raise RankFailed(f"{_name(ranks)}: {error}") from error
    raise error


def _drop_locals(error: BaseException) -> None:
    """Release what the frames of an error hold, such as DistributedDataParallel.

    If it were freed after the collectives have ended, it would hold Python's lock while it waits for one of their
    threads, which needs that lock: a deadlock (torch 2.13).
    """
    found: BaseException | None = error
    while found is not None:
        traceback.clear_frames(found.__traceback__)
        found = found.__cause__ or found.__context__


def _is_lost_peer(error: BaseException) -> bool:
    words = str(error).lower()
    return isinstance(error, RuntimeError) and (
        isinstance(error, dist.DistError) or "gloo" in words or "connection closed" in words
    )


def _name(ranks: Ranks) -> str:
    return f"process {ranks.rank} of {ranks.count} (counted from 0)"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _handle_terminations(handler: Any) -> Any:
    """Install a SIGTERM handler and return the former one; off the main thread, where Python forbids it, do nothing."""
    if threading.current_thread() is threading.main_thread():
        return signal.signal(signal.SIGTERM, handler)
    return None
