"""Which of several processes this one is, where torchrun started them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import SettingsError

_MARK = "TORCHELASTIC_RUN_ID"
"""Only torchrun sets it; RANK and WORLD_SIZE are set by job schedulers, too, for processes of other kinds."""


@dataclass(frozen=True)
class Ranks:
    """The place of a process among those that train together; the default is a process by itself."""

    rank: int = 0
    """From 0, over all machines."""
    count: int = 1
    """Processes on all machines."""
    local_rank: int = 0
    """From 0, on this machine."""
    local_count: int = 1
    """Processes on this machine."""

    @property
    def first(self) -> bool:
        """Whether this is the one that decides, writes and speaks for all."""
        return self.rank == 0

    @property
    def leads_machine(self) -> bool:
        """Whether this is the one that does what is done once a machine."""
        return self.local_rank == 0


def read_ranks(environment: Mapping[str, str] | None = None) -> Ranks:
    """The place that torchrun gave this process; a process by itself where torchrun did not start it.

    Args:
        environment: variables; None: those of this process.

    Raises:
        SettingsError: torchrun's variables are incomplete or contradict each other.
    """
    found = os.environ if environment is None else environment
    if _MARK not in found:
        return Ranks()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    try:
        rank, count, local_rank, local_count = (int(found[name]) for name in names)
    except (KeyError, ValueError) as error:
        raise SettingsError(
            f"environment: {_MARK} is set, but {', '.join(names)} are not four numbers ({error}); "
            "start with torchrun, or without its variables"
        ) from error
    if not (0 <= local_rank < local_count <= count and 0 <= rank < count):
        raise SettingsError(
            f"environment: RANK {rank} of WORLD_SIZE {count}, LOCAL_RANK {local_rank} of LOCAL_WORLD_SIZE "
            f"{local_count} contradict each other; start with torchrun, or without its variables"
        )
    return Ranks(rank, count, local_rank, local_count)


def refuse_torchrun(what: str) -> None:
    """Refuse work that knows nothing of other processes, of which torchrun would do as many copies at once.

    Args:
        what: is refused, as the message begins.

    Raises:
        SettingsError: torchrun started several processes, of which this is one.
    """
    ranks = read_ranks()
    if ranks.count > 1:
        raise SettingsError(
            f"{what}: torchrun started {ranks.count} processes, and each would do the same work; start it without "
            "torchrun, which is for 'trainer train' alone"
        )
