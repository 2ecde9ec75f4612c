"""How long a server waits for the runner: idle share by the server's own clock, speed, and what the client costs.

    python bench/runner_idle.py [--repeats 5] [--seconds 10] [--max-in-flight 3] [--json FILE]

Each run starts a fresh embedded server in a process of its own and a fresh output. In place of a model an engine stands
that takes a batch's time without using a core, as a GPU does, and moves the source by some pixels. A job counts as work
from when it gets the server's queue lock to when it lets go of it; idle is everything else between the first job and
the last. Runner and server share this machine's cores. Needs the extra `serve`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from sdclient import WebUI
from sdclient.batch import BatchRunner, GenerationSettings
from sdclient.serve.background import listen, make_server, url_of
from sdclient.sources import discover

SOURCES = 20


class MovingEngine:
    """The source moved by its seed; takes next to no time, for `job_ms` is the time a batch takes."""

    name = "moved source, not Stable Diffusion"

    def vary(self, source: Image.Image, *, strength: float, seed: tuple[int, ...]) -> Image.Image:
        """Moved by up to 7 px each way."""
        del strength
        return ImageChops.offset(source, seed[0] % 8, seed[0] // 8 % 8)


@dataclass(frozen=True)
class Case:
    """What is run."""

    job_ms: float
    size_px: int
    batch: int


@dataclass(frozen=True)
class Run:
    """What one run gave."""

    images: int
    idle_rate: float
    """Share of the time from the first job to the last in which the server worked on none."""
    images_per_s: float
    runner_cpu_ms: float
    """Of the runner's process, an image."""
    server_cpu_ms: float
    """Of the server's process, an image."""
    job_ms: float
    """What a job took by the server's clock, on average."""


def main() -> None:
    """Print one row a case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="what a run takes at least")
    parser.add_argument("--job-ms", type=float, action="append", help="default 50 and 500")
    parser.add_argument("--size", type=int, action="append", help="side of sources and results in px; default 64, 512")
    parser.add_argument("--batch", type=int, action="append", help="default 1 and 4")
    parser.add_argument("--max-in-flight", type=int, help="default: the runner's own")
    parser.add_argument("--json", type=Path, help="every run, for scripts")
    arguments = parser.parse_args()
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}"
    print(f"{where}; load before {_load()}")
    print(f"| job ms | px | batch | idle % median (lowest-highest) | images/s | runner | server |\n|{'---|' * 7}")
    kept = []
    for values in product(arguments.job_ms or (50, 500), arguments.size or (64, 512), arguments.batch or (1, 4)):
        case = Case(*values)
        runs = [measure(case, arguments.seconds, arguments.max_in_flight) for _ in range(arguments.repeats)]
        print(_row(case, runs), flush=True)
        kept.append({"case": asdict(case), "runs": [asdict(run) for run in runs]})
    print(f"\nrunner, server: CPU ms an image; {arguments.repeats} runs a row; load after {_load()}")
    if arguments.json is not None:
        content = {"machine": where, "max_in_flight": arguments.max_in_flight, "cases": kept}
        arguments.json.write_text(json.dumps(content, indent=2), encoding="utf-8")


def measure(case: Case, seconds: float, max_in_flight: int | None = None) -> Run:
    """Run one case once."""
    jobs = max(20, round(seconds * 1000 / case.job_ms))
    each = -(-jobs * case.batch // SOURCES // case.batch) * case.batch
    with tempfile.TemporaryDirectory() as folder, a_server(case.job_ms) as (url, told), WebUI(url) as webui:
        sources = Path(folder) / "sources"
        draw_sources(sources, case.size_px)
        settings = GenerationSettings(sampler="Euler", native_px=case.size_px, batch_size=case.batch)
        options: dict[str, Any] = {} if max_in_flight is None else {"max_in_flight": max_in_flight}
        runner = BatchRunner(webui, sources, Path(folder) / "out", settings, **options)
        begun, cpu = time.perf_counter(), time.process_time()
        images = sum(1 for _ in runner.run([(source, each) for source in discover(sources)]))
        spent, cpu = time.perf_counter() - begun, time.process_time() - cpu
        clock = webui.call("GET", "/sdclient/clock")
    if images != SOURCES * each or clock["jobs"] * case.batch != images:
        raise RuntimeError(f"{images} images of {SOURCES * each}, in {clock['jobs']} jobs")
    idle = clock["idle_s"] / (clock["idle_s"] + clock["busy_s"])
    per_job = 1000 * clock["busy_s"] / clock["jobs"]
    return Run(images, idle, images / spent, 1000 * cpu / images, 1000 * told.get() / images, per_job)


def draw_sources(folder: Path, size_px: int) -> None:
    """Grainy grey surfaces, each with a spot."""
    (folder / "spot").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(1, SOURCES + 1):
        grain = rng.normal(120, 6, (size_px, size_px)).clip(0, 255).astype(np.uint8)
        picture = Image.fromarray(grain).filter(ImageFilter.GaussianBlur(1))
        side = size_px // 8
        picture.paste(40, (number, number, number + side, number + side))
        picture.convert("RGB").save(folder / "spot" / f"{number}.png")


@contextmanager
def a_server(job_ms: float) -> Iterator[tuple[str, Any]]:
    """A server in a process of its own: its address, and where it tells its CPU seconds at its end."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    stop = context.Event()
    process = context.Process(target=_serve, args=(job_ms, told, stop), daemon=True)
    process.start()
    try:
        yield told.get(timeout=60), _AtEnd(process, told, stop)
    finally:
        stop.set()
        process.join(30)


class _AtEnd:
    """The server's CPU seconds; asking ends the server."""

    def __init__(self, process: Any, told: Any, stop: Any) -> None:
        self._process, self._told, self._stop = process, told, stop

    def get(self) -> float:
        self._stop.set()
        return float(self._told.get(timeout=30))


def _serve(job_ms: float, told: Any, stop: Any) -> None:
    import threading

    bound: socket.socket = listen("127.0.0.1", 0)
    server = make_server(bound, engine=MovingEngine(), job_ms=job_ms)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    server.settled.wait(30)
    begun = time.process_time()
    told.put(url_of(bound))
    stop.wait()
    told.put(time.process_time() - begun)
    server.should_exit = True
    thread.join(10)


def _row(case: Case, runs: list[Run]) -> str:
    idle = [100 * run.idle_rate for run in runs]

    def middle(name: str) -> float:
        return statistics.median(getattr(run, name) for run in runs)

    return (
        f"| {case.job_ms:g} | {case.size_px} | {case.batch} "
        f"| {statistics.median(idle):.2f} ({min(idle):.2f}-{max(idle):.2f}) "
        f"| {middle('images_per_s'):.1f} | {middle('runner_cpu_ms'):.1f} | {middle('server_cpu_ms'):.1f} |"
    )


def _load() -> str:
    return " ".join(f"{value:.1f}" for value in os.getloadavg()) if sys.platform != "win32" else "unknown"


if __name__ == "__main__":
    main()
