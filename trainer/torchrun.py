"""Joining the processes that torchrun started with this one, and ending with them."""

from __future__ import annotations

import gc
import itertools
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, NoReturn

import torch
from torch import distributed as dist

from sdcore.torch_runtime import choose_device

from .errors import RankFailed, SaidElsewhere, SettingsError, TrainerError
from .group import ALONE, ProcessGroup
from .ranks import Ranks, read_ranks

_PATIENCE = timedelta(hours=6)
"""The others wait while one checks and decodes a large data set; a process that dies is noticed at once anyway."""
_FAILED = "failed"
_MEETINGS = itertools.count()


@contextmanager
def join_process_group(device_name: str) -> Iterator[ProcessGroup]:
    """The processes that torchrun started with this one, until the block ends; `ALONE` where it started none.

    The first of them to fail says why, and the others end without a word. SIGTERM, which torchrun sends when it is
    ended itself, counts as Ctrl-C; after an error it is ignored, so that a process comes to its words.

    Args:
        device_name: "auto", "cpu" or "cuda"; on CUDA each process takes the device of its number on the machine.

    Raises:
        SettingsError: torchrun's variables are not whole, or there are fewer devices than processes.
        RankFailed: this process failed, and is not the first one; or another one died without a word.
        SaidElsewhere: another process failed.
    """
    ranks = read_ranks()
    if ranks.count == 1:
        yield ALONE
        return
    device = choose_device(device_name)
    if device.type == "cuda":
        _take_device(ranks)
    store = _meet(ranks, device)
    whole = False
    former = _let_terminations_interrupt()
    try:
        yield ProcessGroup(ranks)
        whole = True
    except BaseException as error:
        # Torchrun ends the others once one has ended: that would cut off the words. It kills what is left after 30 s.
        _handle_terminations(signal.SIG_IGN)
        _drop_locals(error)
        if isinstance(error, SaidElsewhere):
            raise
        _end(error, ranks, store)
    finally:
        gc.collect()
        if whole or device.type == "cpu":  # nccl might wait here for one that died
            dist.destroy_process_group()
        if whole:
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
    """Start the collectives; the store in which a failure is told."""
    try:
        # A name of its own each time: what an earlier training left there would mislead.
        store = dist.PrefixStore(f"trainer-{next(_MEETINGS)}", _store())  # type: ignore[attr-defined]
        # What lies on the CPU goes through gloo on any machine.
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
    """Where the processes find each other; one a process, since the first one may have to hold it for the others."""
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://"))
    return store


def _end(error: BaseException, ranks: Ranks, store: Any) -> NoReturn:
    """Say why this process ends, unless another one has failed before."""
    if isinstance(error, KeyboardInterrupt) and error.__context__ is not None and _is_lost_peer(error.__context__):
        error = error.__context__  # ended by torchrun for the same reason, a moment later
    failure = 0 if isinstance(error, KeyboardInterrupt) else 1
    try:
        failed_before = store.add(_FAILED, failure) > failure
    except RuntimeError:  # torchrun is gone, and the store with it
        failed_before = False
    if failed_before:
        raise SaidElsewhere from error
    if _is_lost_peer(error):
        raise RankFailed(
            f"{_name(ranks)}: another one died without a word, perhaps for want of memory; every finished epoch is "
            "saved, and the same command goes on after it"
        ) from error
    if isinstance(error, (TrainerError, OSError)) and not (ranks.first or isinstance(error, RankFailed)):
        raise RankFailed(f"{_name(ranks)}: {error}") from error
    raise error


def _drop_locals(error: BaseException) -> None:
    """Let go of what the frames of an error hold, DistributedDataParallel among it.

    Gone after the collectives are ended, it would be their last owner and wait, with Python's lock in hand, for a
    thread of theirs that wants that lock: for ever (torch 2.13).
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


def _let_terminations_interrupt() -> Any:
    """Let SIGTERM raise KeyboardInterrupt; what it did before."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    return _handle_terminations(stop)


def _handle_terminations(handler: Any) -> Any:
    """Put a handler in place and give the former; off the main thread, which alone hears signals, nothing changes."""
    if threading.current_thread() is threading.main_thread():
        return signal.signal(signal.SIGTERM, handler)
    return None
