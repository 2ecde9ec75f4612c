"""One runner and 1 to 16 servers: images/s against linear, and how many GPUs a runner feeds.

    python bench/servers.py [--rounds 2] [--seconds 6] [--servers 1 --servers 16] [--gpu-s 2] [--json FILE]

Each server is an embedded one in a process of its own, whose jobs take `--job-ms` and no core, as a GPU's do. Runner
and servers share this machine's cores, so the sources are small where linear is asked for; at 512 px the same is shown
as far as the cores go. Images/s are those from a tenth to nine tenths of a run's images. From what an image of 512 px
costs the runner follows how many GPUs it feeds, and what ends that: docs/scaling.md. Needs the extra `serve`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from client import EACH, run_contender
from report import Report, spread
from timed_servers import JobTime, draw_sources, server_processes

BATCH = 4
SMALL_PX = 64
LARGE_PX = 512
LINEAR = 0.97


@dataclass(frozen=True)
class Run:
    """What one run gave."""

    servers: int
    images: int
    images_per_s: float
    cpu_ms: float
    """Of the runner, an image."""
    server_cpu_ms: float
    """Of all servers, an image."""
    grown_mib: float | None
    """Peak memory of the runner's process above what it had before."""
    file_bytes: float
    """Of an image, on average."""
    source_bytes: float
    """Of a source's file, on average."""

    @property
    def cores(self) -> float:
        """That runner and servers used together."""
        return (self.cpu_ms + self.server_cpu_ms) / 1000 * self.images_per_s


def main() -> None:
    """Print the tables and the goals."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=6, help="what a run takes at least")
    parser.add_argument("--job-ms", type=float, default=200)
    parser.add_argument("--servers", type=int, action="append", help="default 1, 2, 4, 8 and 16")
    parser.add_argument("--large-servers", type=int, action="append", help="the same at 512 px; default 1, 2 and 4")
    parser.add_argument("--gpu-s", type=float, default=2.0, help="assumed: what a GPU takes for an image of 512 px")
    parser.add_argument("--disk-mb-s", type=float, default=200.0, help="assumed: what the disk writes, MB/s")
    parser.add_argument("--net-gbit-s", type=float, default=1.0, help="assumed: the runner's network, each way")
    parser.add_argument("--memory-gib", type=float, default=8.0, help="assumed: what the runner may use")
    parser.add_argument("--json", type=Path, help="every run, for scripts")
    asked = parser.parse_args()
    report = Report(
        "servers",
        f"One runner and many servers, jobs of {asked.job_ms:g} ms",
        packages=("requests", "urllib3", "pillow"),
        settings=vars(asked),
    )
    small = measure_all(SMALL_PX, asked.servers or (1, 2, 4, 8, 16), asked)
    show(report, SMALL_PX, small, asked.job_ms)
    large = measure_all(LARGE_PX, asked.large_servers or (1, 2, 4), asked)
    show(report, LARGE_PX, large, asked.job_ms)
    show_reach(report, large, asked)
    for count in small:
        if count > 1 and 1 in small:
            report.goal(f"images/s of {count} servers / linear", linear_shares(small, count), at_least=LINEAR)
    runs = {
        f"{run.servers} x {px} px": asdict(run)
        for px, found in ((SMALL_PX, small), (LARGE_PX, large))
        for run in flat(found)
    }
    report.finish(asked.json, runs)


def measure_all(size_px: int, counts: Sequence[int], asked: argparse.Namespace) -> dict[int, list[Run]]:
    """All numbers of servers, taking turns."""
    folder = Path(tempfile.mkdtemp(prefix="bench-servers-"))
    try:
        jobs = round(1000 * asked.seconds / asked.job_ms)
        draw_sources(folder / "sources", size_px, -(-jobs * max(counts) * BATCH // EACH))
        found: dict[int, list[Run]] = {count: [] for count in counts}
        for _ in range(asked.rounds):
            for count in counts:
                found[count].append(measure(folder, size_px, count, jobs * count * BATCH, asked.job_ms))
        return found
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, size_px: int, count: int, images: int, job_ms: float) -> Run:
    """One run that makes about so many images on so many servers."""
    output = Path(tempfile.mkdtemp(dir=folder)) / "out"
    with server_processes([[JobTime(job_ms)]] * count) as processes:
        cpu_s = sum(process.cpu_s() for process in processes)
        settings = {
            "urls": [process.urls[0] for process in processes],
            "sources": str(folder / "sources"),
            "output": str(output),
            "px": size_px,
            "batch": BATCH,
            "check": True,
            "max_in_flight": None,
            "n_sources": -(-images // EACH),
            "each": EACH,
        }
        told = run_contender("runner", settings)
        cpu_s = sum(process.cpu_s() for process in processes) - cpu_s
    made = told["images"]
    return Run(
        count,
        made,
        told["middle_images_per_s"],
        1000 * told["cpu_s"] / made,
        1000 * cpu_s / made,
        None if told["peak_mib"] is None else told["peak_mib"] - told["before_mib"],
        mean_bytes(output),
        mean_bytes(folder / "sources"),
    )


def show(report: Report, size_px: int, found: dict[int, list[Run]], job_ms: float) -> None:
    """Print one row a number of servers."""
    most_per_s = 1000 * BATCH / job_ms
    rows = [
        [
            str(count),
            spread([run.images_per_s for run in runs], 1),
            spread(linear_shares(found, count), 1, "%") if 1 in found else "",
            spread([run.images_per_s / (count * most_per_s) for run in runs], 1, "%"),
            middle([run.cpu_ms for run in runs]),
            middle([run.server_cpu_ms for run in runs]),
            middle([run.cores for run in runs]),
            middle([run.grown_mib or 0 for run in runs], 0),
        ]
        for count, runs in found.items()
    ]
    columns = [
        "servers",
        "images/s",
        "of linear",
        f"of {most_per_s:g}/s each",
        "CPU ms/image",
        "servers'",
        "cores used",
        "runner's memory, MiB more",
    ]
    report.table(f"{size_px} px, jobs of {BATCH} images; {os.cpu_count()} cores for all", columns, rows)


def show_reach(report: Report, large: dict[int, list[Run]], asked: argparse.Namespace) -> None:
    """Print how many GPUs each thing that a runner needs is enough for; the formulas of docs/scaling.md."""
    runs = flat(large)
    cpu_s = statistics.median(run.cpu_ms for run in runs) / 1000
    file_mb = statistics.median(run.file_bytes for run in runs) / 1e6
    source_mb = statistics.median(run.source_bytes for run in runs) / 1e6
    server_mib = max((run.grown_mib or 0) / run.servers for run in runs)
    net_mb_s = asked.net_gbit_s * 1000 / 8
    in_mb, out_mb = file_mb * 4 / 3, source_mb * 4 / 3 / BATCH
    rows = [
        ["one core", f"{1000 * cpu_s:.1f} ms an image", "1 s/s", f"{asked.gpu_s / cpu_s:.0f}"],
        ["network in", f"{in_mb:.2f} MB an image", f"{net_mb_s:.0f} MB/s", f"{asked.gpu_s * net_mb_s / in_mb:.0f}"],
        ["network out", f"{out_mb:.2f} MB an image", f"{net_mb_s:.0f} MB/s", f"{asked.gpu_s * net_mb_s / out_mb:.0f}"],
        [
            "disk",
            f"{file_mb:.2f} MB an image",
            f"{asked.disk_mb_s:.0f} MB/s",
            f"{asked.gpu_s * asked.disk_mb_s / file_mb:.0f}",
        ],
    ]
    if server_mib:
        servers = asked.memory_gib * 1024 / server_mib
        rows.append(["memory", f"{server_mib:.0f} MiB a server", f"{asked.memory_gib:g} GiB", f"{servers:.0f}"])
    rows.sort(key=lambda row: float(row[-1]))
    title = (
        f"GPUs that one runner feeds at {asked.gpu_s:g} s an image of {LARGE_PX} px (assumed); the first row ends it"
    )
    report.table(title, ["what is needed", "measured", "there is (assumed)", "enough for GPUs"], rows)


def linear_shares(found: dict[int, list[Run]], count: int) -> list[float]:
    """Images/s of so many servers by that many times one server's, round by round."""
    pairs = zip(found[count], found[1], strict=True)
    return [run.images_per_s / (count * alone.images_per_s) for run, alone in pairs]


def flat(found: dict[int, list[Run]]) -> list[Run]:
    """All runs."""
    return [run for runs in found.values() for run in runs]


def middle(values: Sequence[float], digits: int = 2) -> str:
    """Median."""
    return f"{statistics.median(values):.{digits}f}"


def mean_bytes(folder: Path) -> float:
    """Of the pictures in the folder's class folders."""
    return statistics.mean(path.stat().st_size for path in folder.glob("*/*.png"))


if __name__ == "__main__":
    main()
