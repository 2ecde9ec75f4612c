"""Embedded servers in processes of their own whose jobs take a set time and no core, as a GPU's do; sources for them.

For the benchmarks of the runner. A job takes `job_ms` and `image_ms` more for each of its images; in place of a model
an engine stands that moves the source by some pixels.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops

from sdclient.client import WebUI
from sdclient.serve.app import EmbeddedServer, make_server
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
        server.should_exit = True


def _started(time_of_job: JobTime) -> tuple[EmbeddedServer, str]:
    bound = listen("127.0.0.1", 0)
    server = make_server(bound, engine=MovingEngine(), job_ms=time_of_job.job_ms, image_ms=time_of_job.image_ms)
    threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True).start()
    server.settled.wait(_START_S)
    return server, url_of(bound)


@dataclass(frozen=True)
class Clock:
    """A server's own clock."""

    jobs: int
    busy_s: float
    idle_s: float
    idle_rate: float
    """Share of the time from the first job to the last in which it worked on none."""


def clock_of(url: str) -> Clock:
    """Read it."""
    with WebUI(url) as webui:
        return Clock(**webui.call("GET", "/sdclient/clock"))


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
