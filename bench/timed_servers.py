"""Embedded servers in processes of their own whose jobs take a set time and no core, as a GPU's do; sources for them.

For the benchmarks of the runner. A job takes `job_ms` and `image_ms` more for each of its images; in place of a model
an engine stands that moves the source by some pixels. Each server has a clock of its work, `GET /sdclient/clock`.
"""

from __future__ import annotations

import multiprocessing
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter
from PIL import Image, ImageChops

from sdclient.client import WebUI
from sdclient.serve.app import EmbeddedServer, EmbeddedServerOptions
from sdclient.serve.jobs import FairLock
from sdcore.web import listen, url_of

_START_S = 120.0


@dataclass(frozen=True)
class JobTime:
    """What a job takes."""

    job_ms: float
    image_ms: float = 0.0

    def of(self, images: int) -> float:
        """Of so many images, ms."""
        return self.job_ms + images * self.image_ms


class MovingEngine:
    """The source moved by its seed; takes next to no time."""

    name = "moved source, not Stable Diffusion"

    def vary(self, source: Image.Image, *, strength: float, seed: tuple[int, ...]) -> Image.Image:
        """Moved by up to 7 px each way."""
        del strength
        return ImageChops.offset(source, seed[0] % 8, seed[0] // 8 % 8)


@dataclass(frozen=True)
class WorkTimes:
    """How long a server worked on jobs, and how long it waited for them in between."""

    jobs: int
    """Jobs that have ended."""
    busy_s: float
    """Time that these held the queue lock."""
    idle_s: float
    """The rest of the time from the beginning of the first one to the end of the last one."""

    @property
    def idle_rate(self) -> float:
        """Idle share of that time, in [0, 1]; 0 where no time has passed."""
        span_s = self.busy_s + self.idle_s
        return self.idle_s / span_s if span_s > 0 else 0.0


class WorkClock(FairLock):
    """The queue lock of a server, which counts a job as work from when it gets the lock to when it lets go of it.

    In that time a genuine WebUI decodes the source and generates; what comes before (reading the request) and after
    (encoding the reply) happens beside the next job's work.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__()
        self._clock = clock
        self._changing = threading.Lock()
        self._first_s: float | None = None
        self._times = WorkTimes(0, 0.0, 0.0)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock, hold it for as long as the block lasts, and count that time."""
        with super().held():
            begun_s = self._clock()
            try:
                yield
            finally:
                self._add(begun_s, self._clock())

    def _add(self, begun_s: float, ended_s: float) -> None:
        with self._changing:
            first_s = begun_s if self._first_s is None else self._first_s
            busy_s = self._times.busy_s + ended_s - begun_s
            self._first_s = first_s
            self._times = WorkTimes(self._times.jobs + 1, busy_s, max(ended_s - first_s - busy_s, 0.0))

    def read(self) -> WorkTimes:
        """The times up to now; a running job counts once it has ended."""
        with self._changing:
            return self._times


class ClockedServer(EmbeddedServer):
    """An embedded server with a clock of its work, which it shows at `GET /sdclient/clock`."""

    def __init__(self, bound: socket.socket, options: EmbeddedServerOptions | None = None) -> None:
        super().__init__(bound, options)
        clock = self.app.state.board.lock = WorkClock()
        router = APIRouter()

        @router.get("/sdclient/clock", include_in_schema=False)
        async def read() -> dict[str, Any]:
            return asdict(clock.read())

        self.app.include_router(router)


class ServerProcess:
    """A process with one server for each address."""

    def __init__(self, process: Any, pipe: Connection) -> None:
        self._process, self._pipe = process, pipe
        self.urls: list[str] = pipe.recv() if pipe.poll(_START_S) else []
        if not self.urls:
            raise RuntimeError("the servers' process did not start")

    def cpu_s(self) -> float:
        """CPU time it has used."""
        self._pipe.send("cpu")
        return float(self._pipe.recv())

    def stop(self) -> None:
        """End it."""
        self._pipe.send("stop")
        self._process.join(30)


@contextmanager
def server_processes(times: Sequence[Sequence[JobTime]]) -> Iterator[list[ServerProcess]]:
    """Run a process for each of these, with a server for each of its times; all are started at once."""
    # Forked off one that has imported everything, where the system has that: sixteen start in no time.
    context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
    if sys.platform != "win32":
        context.set_forkserver_preload(["sdclient.serve.app", "timed_servers"])
    begun = []
    for of_process in times:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(of_process, theirs), daemon=True)
        process.start()
        begun.append((process, ours))
    running = [ServerProcess(process, pipe) for process, pipe in begun]
    try:
        yield running
    finally:
        for one in running:
            one.stop()


@contextmanager
def one_server(time_of_job: JobTime) -> Iterator[str]:
    """Run one server; gives its address."""
    with server_processes([[time_of_job]]) as (process,):
        yield process.urls[0]


def _serve(times: Sequence[JobTime], pipe: Connection) -> None:
    servers = [_started(one) for one in times]
    pipe.send([url for _, url in servers])
    while pipe.recv() == "cpu":
        pipe.send(time.process_time())
    for server, _ in servers:
        server.stop()


def _started(time_of_job: JobTime) -> tuple[ClockedServer, str]:
    bound = listen("127.0.0.1", 0)
    options = EmbeddedServerOptions(MovingEngine(), job_ms=time_of_job.job_ms, image_ms=time_of_job.image_ms)
    server, ready = ClockedServer(bound, options), threading.Event()
    server.when_ready = ready.set
    threading.Thread(target=server.run, args=(bound,), daemon=True).start()
    ready.wait(_START_S)
    return server, url_of(bound)


def clock_of(url: str) -> WorkTimes:
    """What the clock of the server at this address shows."""
    with WebUI(url) as webui:
        return WorkTimes(**webui.call("GET", "/sdclient/clock"))


def draw_sources(folder: Path, size_px: int, count: int) -> None:
    """Coloured surfaces with soft structure and a camera's grain, each with a spot; about 2 bytes a pixel as PNG."""
    (folder / "spot").mkdir(parents=True)
    rng = np.random.default_rng(0)
    soft_px = max(2, size_px // 8)
    for number in range(1, count + 1):
        coarse = Image.fromarray(rng.normal(128, 60, (soft_px, soft_px)).clip(0, 255).astype(np.uint8))
        soft = np.asarray(coarse.resize((size_px, size_px), Image.Resampling.BICUBIC), dtype=np.float32)
        planes = [share * soft + level + rng.normal(0, 3, soft.shape) for share, level in ((0.8, 0), (1, 0), (0.6, 30))]
        picture = Image.fromarray(np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8))
        side = size_px // 8
        picture.paste((40, 35, 30), (number, number, number + side, number + side))
        picture.save(folder / "spot" / f"{number}.png")
