"""Many files through one function, in worker processes; a file that kills its process is one failure, not the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from PIL import Image
from tqdm import tqdm

from .errors import DataError

_CHUNK = 32
_CHUNKS_AHEAD = 4
"""Chunks waiting for each worker: enough that none is idle, few enough that memory stays flat."""

_CRASHES_IN_A_ROW = 3
"""With no file read, so many mean that it is not the files."""

MOST_BY_DEFAULT = 8
FEW_FILES = 500
"""Below this many files, starting processes costs more than they save."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Crashed:
    """Stands for the result of a file whose process died or whose result could not be had."""

    reason: str


def sensible_workers(files: int) -> int:
    """Worker processes for so many files: none for few, else one a core that this process may use, at most 8."""
    return 0 if files < FEW_FILES else min(MOST_BY_DEFAULT, usable_cores())


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_files(
    function: Callable[[Path], Result], paths: Sequence[Path], *, workers: int, progress: bool, label: str
) -> list[Result | Crashed]:
    """`function` of every path, in the order of `paths`.

    Args:
        function: at the top of a module, so that a new process can import it.
        paths: what to go through.
        workers: processes; 0 calls the function in this one.
        progress: show a bar with rate and time left on stderr.
        label: what the bar is called.

    Raises:
        ValueError: `workers` is negative.
        DataError: worker processes cannot start.
    """
    if workers < 0:
        raise ValueError(f"workers: found {workers}; expected 0 or more")
    with tqdm(total=len(paths), desc=label, unit="file", disable=not progress) as bar:
        if workers == 0:
            results: list[Result | Crashed] = []
            for path in paths:
                results.append(_call(function, path))
                bar.update()
            return results
        return _map_in_processes(function, paths, workers, bar.update)


def _map_in_processes(
    function: Callable[[Path], Result], paths: Sequence[Path], workers: int, advance: Callable[[int], object]
) -> list[Result | Crashed]:
    results: dict[int, Result | Crashed] = {}
    todo = [range(start, min(start + _CHUNK, len(paths))) for start in range(0, len(paths), _CHUNK)]
    # A dead worker takes its whole pool with it, and all that was in its hands: those chunks go through one by one.
    suspects = _run(function, paths, todo, workers, results, advance)
    alone = [range(place, place + 1) for chunk in suspects for place in chunk]
    while alone and (dead := _run(function, paths, alone, 1, results, advance, ahead=1)):
        results[dead[0].start] = Crashed("crashed the process that read it: damaged, or too large for the memory")
        advance(1)
        if len(results) >= _CRASHES_IN_A_ROW and all(isinstance(one, Crashed) for one in results.values()):
            raise DataError(
                f"{paths[0]}: worker processes die before they have read anything; read without them (workers 0). "
                "A script of your own that uses workers needs 'if __name__ == \"__main__\":' around its work"
            )
        alone = [chunk for chunk in alone if chunk.start not in results]
    return [results[place] for place in range(len(paths))]


def _run(
    function: Callable[[Path], Result],
    paths: Sequence[Path],
    chunks: Sequence[range],
    workers: int,
    results: dict[int, Result | Crashed],
    advance: Callable[[int], object],
    ahead: int | None = None,
) -> list[range]:
    """Fill `results`; the chunks that were in hand when a worker died, after which the rest goes to a new pool."""
    waiting = iter(chunks)
    suspects: list[range] = []
    left = True
    while left:
        left = False
        in_hand: set[range] = set()
        running: dict[Future[list[Result | Crashed]], range] = {}
        with _pool(workers) as pool:
            try:
                while True:
                    while len(running) < (ahead or workers * _CHUNKS_AHEAD) and (chunk := next(waiting, None)):
                        in_hand.add(chunk)
                        running[pool.submit(_call_each, function, [paths[place] for place in chunk])] = chunk
                    if not running:
                        break
                    for done in wait(running, return_when=FIRST_COMPLETED).done:
                        chunk = running[done]
                        results.update(zip(chunk, done.result(), strict=True))
                        advance(len(chunk))
                        in_hand.remove(running.pop(done))
            except BrokenProcessPool:
                suspects += sorted(in_hand, key=lambda one: one.start)
                left = ahead is None
    return suspects


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(Image.MAX_IMAGE_PIXELS,)
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(max_image_pixels: int | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asked
    Image.MAX_IMAGE_PIXELS = max_image_pixels


def _call_each(function: Callable[[Path], Result], paths: Sequence[Path]) -> list[Result | Crashed]:
    return [_call(function, path) for path in paths]


def _call(function: Callable[[Path], Result], path: Path) -> Result | Crashed:
    try:
        return function(path)
    except MemoryError:
        return Crashed("too large for the memory of this machine")
