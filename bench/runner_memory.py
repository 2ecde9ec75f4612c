"""Memory of a long run: resident size of the runner's process as images are made.

    python bench/runner_memory.py [--images 20000] [--size 64] [--plan 100000]

The server is the embedded one in a process of its own, with an engine that only moves the source. `--plan N` plans N
images as well and makes none, to show what a plan alone takes. Needs the extra `serve`, and a system that has /proc.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image
from timed_servers import JobTime, one_server

from sdclient.batch import BatchRunner, GenerationSettings, RunStart
from sdclient.client import WebUI
from sdclient.sources import discover

SOURCES = 200
SHOWN = (0, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)


def main() -> None:
    """Print one row a number of images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=64, help="side of the sources in px; 64 is the least generated")
    parser.add_argument("--plan", type=int, help="plan so many images too, and make none")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for images, make in ((arguments.images, True), (arguments.plan, False)):
        if images:
            process = context.Process(target=run, args=(images, arguments.size, make))
            process.start()
            process.join()


def run(images: int, size_px: int, make: bool) -> None:
    """One run in this process, which makes its images or stops before the first one."""
    with tempfile.TemporaryDirectory() as folder, one_server(JobTime(0)) as url, WebUI(url) as webui:
        sources = Path(folder) / "sources"
        (sources / "spot").mkdir(parents=True)
        for number in range(1, SOURCES + 1):
            Image.effect_noise((size_px, size_px), 30).save(sources / "spot" / f"{number}.png")
        settings = GenerationSettings(sampler="Euler", steps=1, native_px=64)
        runner = BatchRunner(webui, sources, Path(folder) / "out", settings)
        what = "made" if make else "planned, none made"
        print(f"\n{images} images {what}\n\n| images | RSS MiB | minutes |\n|---|---|---|")
        begun = time.monotonic()
        print(f"| before | {rss_mib():.1f} | 0 |", flush=True)

        def planned(start: RunStart) -> None:
            print(f"| planned {start.missing} | {rss_mib():.1f} | {(time.monotonic() - begun) / 60:.1f} |", flush=True)
            if not make:
                runner.stop()

        made = 0
        owed: Any = [(source, -(-images // SOURCES)) for source in discover(sources)]
        for made, _record in enumerate(runner.run(owed, on_start=planned), 1):
            if made in SHOWN:
                print(f"| {made} | {rss_mib():.1f} | {(time.monotonic() - begun) / 60:.1f} |", flush=True)
        print(f"| end, {made} made | {rss_mib():.1f} | {(time.monotonic() - begun) / 60:.1f} |", flush=True)


def rss_mib() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
