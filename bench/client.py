"""The runner against webuiapi in a plain loop: images/s, CPU and memory, and how long the server waits.

    python bench/client.py [--rounds 3] [--seconds 8] [--job-ms 50 --size 512] [--cpu-only] [--json FILE]

Each run has a fresh embedded server, in another process than the client, whose jobs take a set time and no core, as a
GPU's do. The time of a job of one image is the one given. A batch is made to pay as it did on a genuine WebUI (four
images of 64 px as one batch came 2.1 times faster than as four requests), whatever the size: see `job_time`. At batch 1
that assumption plays no part.

Idle is what the server's own clock (`GET /sdclient/clock`) counts between the first job's beginning and the last one's
end in which no job had the queue lock. Client and server share this machine's cores: "cores" says how many both used,
and where that is near what the machine has, the server waits for a core and not for the client.

The CPU time of the runner is compared with the least that must be done with the images it got: decode the base64,
verify by decoding the picture, write the bytes atomically. Needs the extra `serve`, and webuiapi.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from report import Report, spread
from timed_servers import JobTime, ServerProcess, clock_of, draw_sources, server_processes

PACKED = 4
"""Images a request, the runner's default."""
PACKING_GAIN = 2.1
"""How much faster a batch of 4 is than four requests."""
EACH = 8
"""Images of a source."""
SOURCES = 40
CPU_CASE = (50.0, 512)
"""(job ms, px) at which CPU times are compared."""
IDLE_GOALS = {50.0: 0.01, 500.0: 0.001}
LEAST_JOBS = 8
CORE_IMAGES_PER_S, CORE_PX_PER_S = 200.0, 8e6
"""About what two cores take of small and of large images, client and server together."""
ROOM = 0.8
"""Share of the machine's cores that client and server may need for a server without idle time to be asked for."""


@dataclass(frozen=True)
class Case:
    """What all contenders are given."""

    job_ms: float
    size_px: int

    @property
    def name(self) -> str:
        """In tables."""
        return f"{self.job_ms:g} ms, {self.size_px} px"

    @property
    def job_time(self) -> JobTime:
        """With one image as given, and four in four times that by the gain."""
        # fixed + 1 image = t, fixed + 4 images = 4 t / gain
        image_ms = self.job_ms * (PACKED / PACKING_GAIN - 1) / (PACKED - 1)
        return JobTime(self.job_ms - image_ms, image_ms)


@dataclass(frozen=True)
class Contender:
    """Who runs, and how."""

    name: str
    kind: str
    batch: int = 1
    check: bool = True


RUNNER = Contender(f"runner, batch {PACKED}", "runner", PACKED)
RUNNER_1 = Contender("runner, batch 1", "runner")
UNCHECKED = Contender("runner, no check for spoiled images", "runner", PACKED, check=False)
WEBUIAPI = Contender("webuiapi", "webuiapi")
BYTES = Contender("bytes alone", "bytes")
SPEEDS = (RUNNER, RUNNER_1, WEBUIAPI)


@dataclass(frozen=True)
class Run:
    """What one run gave."""

    images: int
    images_per_s: float
    cpu_ms: float
    """Of the client's process, an image."""
    peak_mib: float | None
    before_mib: float | None
    """Peak before it began: the interpreter and what is imported."""
    idle_rate: float | None = None
    """By the server's clock; None without a server."""
    server_cpu_ms: float | None = None
    """An image."""
    job_ms: float | None = None
    """What a job took by the server's clock, on average."""
    cores: float | None = None
    """That client and server used together."""


def main() -> None:
    """Print the tables and the goals."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=8, help="what a run takes at least, by the server's jobs alone"
    )
    parser.add_argument("--job-ms", type=float, action="append", help="of one image; default 5, 50 and 500")
    parser.add_argument("--size", type=int, action="append", help="side in px; default 64, 512 and 1024")
    parser.add_argument("--cpu-images", type=int, default=160, help="images a run where CPU times are compared")
    parser.add_argument("--max-in-flight", type=int, help="default: the runner's own")
    parser.add_argument("--cpu-only", action="store_true", help="leave out the speeds")
    parser.add_argument("--json", type=Path, help="every run, for scripts")
    asked = parser.parse_args()
    report = Report(
        "client",
        "The runner against webuiapi, on an embedded server with timed jobs",
        packages=("requests", "urllib3", "webuiapi", "pillow"),
        settings=vars(asked),
    )
    cases = [Case(*values) for values in product(asked.job_ms or (5.0, 50.0, 500.0), asked.size or (64, 512, 1024))]
    runs: dict[str, dict[str, list[Run]]] = {}
    if not asked.cpu_only:
        for case, found in speeds(cases, asked):
            runs[case.name] = found
        show_speeds(report, cases, runs)
        judge_speeds(report, cases, runs)
    of_cpu = runs["CPU"] = cpu_times(Case(*CPU_CASE), asked)
    show_cpu(report, of_cpu)
    told = {
        case: {name: [asdict(run) for run in of_name] for name, of_name in found.items()}
        for case, found in runs.items()
    }
    report.finish(asked.json, told)


def speeds(cases: list[Case], asked: argparse.Namespace) -> Iterator[tuple[Case, dict[str, list[Run]]]]:
    """Every case, its contenders taking turns."""
    for case in cases:
        found = defaultdict(list)
        with Bench(case, asked.max_in_flight) as bench:
            for _ in range(asked.rounds):
                for one in SPEEDS:
                    found[one.name].append(bench.run(one, images_for(case, one, asked.seconds)))
        yield case, dict(found)


def cpu_times(case: Case, asked: argparse.Namespace) -> dict[str, list[Run]]:
    """The CPU times, each contender with the same images."""
    found = defaultdict(list)
    with Bench(case, asked.max_in_flight) as bench:
        for _ in range(max(3, asked.rounds)):
            for one in (RUNNER, BYTES, UNCHECKED, WEBUIAPI):
                images = asked.cpu_images if one is not WEBUIAPI else asked.cpu_images // 4
                found[one.name].append(bench.run(one, images))
    return dict(found)


def images_for(case: Case, contender: Contender, seconds: float) -> int:
    """So many images that a run takes about that long: by the server's jobs, or by what the cores can do."""
    most_per_s = min(CORE_IMAGES_PER_S, CORE_PX_PER_S / case.size_px**2)
    if contender is WEBUIAPI:
        most_per_s /= 3
    by_jobs_per_s = 1000 * contender.batch / case.job_time.of(contender.batch)
    jobs = max(LEAST_JOBS, round(seconds * min(by_jobs_per_s, most_per_s) / contender.batch))
    return jobs * contender.batch


class Bench:
    """Sources of a case, and a folder for what is made of them; use as a context manager."""

    def __init__(self, case: Case, max_in_flight: int | None) -> None:
        self._case = case
        self._max_in_flight = max_in_flight
        self._runs = 0
        self._last_made: Path | None = None
        """What the runner made last."""

    def __enter__(self) -> Bench:
        self._folder = Path(tempfile.mkdtemp(prefix="bench-client-"))
        draw_sources(self._folder / "sources", self._case.size_px, SOURCES)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder)

    def run(self, contender: Contender, images: int) -> Run:
        """One run that makes about so many images, on a server of its own where it needs one."""
        if contender.kind == "bytes":
            return self._told(contender, "", images)
        with server_processes([[self._case.job_time]]) as (process,):
            return self._served(contender, process, images)

    def _served(self, contender: Contender, process: ServerProcess, images: int) -> Run:
        cpu_s = process.cpu_s()
        run = self._told(contender, process.urls[0], images)
        cpu_s = process.cpu_s() - cpu_s
        clock = clock_of(process.urls[0])
        if clock.jobs * contender.batch != run.images:
            raise RuntimeError(f"{run.images} images in {clock.jobs} jobs of {contender.batch}")
        server_ms = 1000 * cpu_s / run.images
        return Run(
            run.images,
            run.images_per_s,
            run.cpu_ms,
            run.peak_mib,
            run.before_mib,
            clock.idle_rate,
            server_ms,
            1000 * clock.busy_s / clock.jobs,
            (run.cpu_ms + server_ms) / 1000 * run.images_per_s,
        )

    def _told(self, contender: Contender, url: str, images: int) -> Run:
        """Run it in a process of its own."""
        each = EACH if images >= EACH * 2 else PACKED
        n_sources = min(SOURCES, -(-images // each))
        each = -(-images // n_sources // contender.batch) * contender.batch
        # A folder of its own each time, removed at the end: a file system is slow to take up what was just let go of.
        self._runs += 1
        made = self._folder / f"{self._runs}-{contender.kind}"
        settings = {
            "urls": [url],
            "sources": str(self._folder / "sources"),
            "output": str(made),
            "images": str(self._last_made),
            "px": self._case.size_px,
            "batch": contender.batch,
            "check": contender.check,
            "max_in_flight": self._max_in_flight,
            "n_sources": n_sources,
            "each": each,
        }
        told = run_contender(contender.kind, settings)
        if contender.kind == "runner":
            self._last_made = made
        made_images = told["images"]
        return Run(
            made_images,
            made_images / told["wall_s"],
            1000 * told["cpu_s"] / made_images,
            told["peak_mib"],
            told["before_mib"],
        )


def run_contender(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What a contender tells of a run in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("contenders.py")), kind, json.dumps(settings)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return dict(json.loads(answer.stdout))


def show_speeds(report: Report, cases: list[Case], runs: dict[str, dict[str, list[Run]]]) -> None:
    """Print one row a case and contender."""
    rows, ratios = [], []
    for case in cases:
        found = runs[case.name]
        for one in SPEEDS:
            of_one = found[one.name]
            rows.append(
                [
                    case.name,
                    one.name,
                    spread([run.images_per_s for run in of_one], 1),
                    spread([run.idle_rate or 0 for run in of_one], 2, "%"),
                    *(middle(of_one, field) for field in ("cpu_ms", "server_cpu_ms", "job_ms", "cores")),
                    f"{cores_needed(case, one, of_one):.2f}",
                    f"{middle(of_one, 'peak_mib', 0)} ({middle(of_one, 'before_mib', 0)})",
                ]
            )
        theirs = found[WEBUIAPI.name]
        ratios.append([case.name, *(spread(quotients(found[one.name], theirs)) for one in (RUNNER, RUNNER_1))])
    gain = f"{PACKED} images in one job take {PACKED / PACKING_GAIN:.2f} times the time of one"
    columns = [
        "job of 1 image",
        "client",
        "images/s",
        "server idle",
        "CPU ms/image",
        "server's",
        "job ms",
        "cores used",
    ]
    title = f"Speed; {gain} (assumed); {os.cpu_count()} cores for client and server"
    report.table(title, [*columns, "cores needed", "peak MiB (before)"], rows)
    report.table("images/s, ours / webuiapi's", ["job of 1 image", RUNNER.name, RUNNER_1.name], ratios)


def cores_needed(case: Case, contender: Contender, runs: list[Run]) -> float:
    """Cores that client and server would use if the server never waited."""
    spent_ms = statistics.median(run.cpu_ms + (run.server_cpu_ms or 0) for run in runs)
    return spent_ms * contender.batch / case.job_time.of(contender.batch)


def judge_speeds(report: Report, cases: list[Case], runs: dict[str, dict[str, list[Run]]]) -> None:
    """Say what of the goals holds; idle shares only where the machine has the cores for a server that never waits."""
    short = []
    for case in cases:
        found = runs[case.name]
        for one in (RUNNER, RUNNER_1):
            if case.job_ms not in IDLE_GOALS:
                continue
            if cores_needed(case, one, found[one.name]) > ROOM * (os.cpu_count() or 1):
                short.append(f"{case.name}, {one.name}")
                continue
            idle = [run.idle_rate or 0 for run in found[one.name]]
            what = f"server idle, jobs of {case.name}, {one.name}"
            report.goal(what, idle, at_most=IDLE_GOALS[case.job_ms], digits=3, unit="%")
        ratios = quotients(found[RUNNER.name], found[WEBUIAPI.name])
        report.goal(f"images/s / webuiapi's, jobs of {case.name}, packed", ratios, at_least=1.9)
    if short:
        print(f"\nServer idle is not judged where client and server need more than this machine: {'; '.join(short)}")


def show_cpu(report: Report, found: dict[str, list[Run]]) -> None:
    """Print the CPU times, and whether the goal holds."""
    least = [run.cpu_ms for run in found[BYTES.name]]
    rows = []
    for name, of_name in found.items():
        spent = [run.cpu_ms for run in of_name]
        ratios = [one / other for one, other in zip(spent, least, strict=True)]
        rows.append([name, spread(spent), spread(ratios), middle(of_name, "peak_mib", 0)])
    job_ms, size_px = CPU_CASE
    title = f"CPU of the client's process, {size_px} px, jobs of {job_ms:g} ms, {EACH} images a source"
    report.table(title, ["client", "CPU ms/image", "/ bytes alone", "peak MiB"], rows)
    ratios = [run.cpu_ms / other for run, other in zip(found[RUNNER.name], least, strict=True)]
    report.goal(f"CPU an image of {size_px} px / bytes alone", ratios, at_most=1.5)


def quotients(ours: list[Run], theirs: list[Run]) -> list[float]:
    """Our images/s by theirs, round by round."""
    return [one.images_per_s / other.images_per_s for one, other in zip(ours, theirs, strict=True)]


def middle(runs: list[Run], field: str, digits: int = 1) -> str:
    """Median of a figure."""
    values = [getattr(run, field) for run in runs]
    return "" if None in values else f"{statistics.median(values):.{digits}f}"


if __name__ == "__main__":
    main()
