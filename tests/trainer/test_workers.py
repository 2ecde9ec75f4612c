from __future__ import annotations

import os
from pathlib import Path

import pytest

from sdcore.errors import DataError
from trainer.processes import CrashedFile, map_files, sensible_workers


def suffer(path: Path) -> str:
    """What a file of that name does to its reader."""
    if path.name.startswith("kill"):
        os._exit(9)
    if path.name.startswith("memory"):
        raise MemoryError
    return path.name


def run(names: list[str], workers: int) -> list[str]:
    results = map_files(suffer, [Path(name) for name in names], workers=workers, progress=False, label="x")
    return [one.reason if isinstance(one, CrashedFile) else one for one in results]


def test_a_file_that_kills_its_worker_is_one_failure() -> None:
    names = [f"{number}.png" for number in range(40)]
    names[5] = "kill.png"
    names[35] = "memory.png"
    found = run(names, workers=1)
    assert "crashed the process" in found[5]
    assert found[35] == "too large for the memory of this machine"
    assert [one for place, one in enumerate(found) if place not in (5, 35)] == [
        name for place, name in enumerate(names) if place not in (5, 35)
    ]


def test_memory_runs_out_for_one_file_only_without_workers_too() -> None:
    assert run(["a", "memory", "b"], workers=0) == ["a", "too large for the memory of this machine", "b"]


def test_workers_that_all_die_are_no_fault_of_the_files() -> None:
    with pytest.raises(DataError, match=r"die before they have read anything.*workers 0"):
        run(["kill1", "kill2", "kill3", "kill4"], workers=1)


def test_few_files_are_read_here_and_many_by_a_worker_a_core() -> None:
    assert sensible_workers(10) == 0
    assert 1 <= sensible_workers(20_000) <= 8
