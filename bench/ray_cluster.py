"""Generating and scoring through a Ray cluster against the same without: images/s, the owner's CPU, bytes on the wire.

    python bench/ray_cluster.py [--rounds 3] [--images 150] [--size 512] [--curated 600] [--json FILE]

The cluster is one machine: a head and three nodes of processes, each node with a server of its own beside it whose jobs
take a set time. So this measures what Ray costs beside threads; a network comes on top of it. Workers start with each
run and not all at once, so the rate leaves out the first quarter of the images; the start is told apart.
"""

from __future__ import annotations

import argparse
import os
import pickle
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from report import Report, spread
from timed_servers import JobTime, draw_sources, server_processes

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray.cluster_utils import Cluster

from sdclient.batch import BatchRunner, GenerateOptions, GenerationSettings, RunSpec, Server
from sdclient.batch.jobs import Job, plan_images
from sdclient.client import WebUI
from sdclient.cluster.scoring import ray_scoring
from sdclient.cluster.server_pool import RayServerPool
from sdclient.cluster.worker import Endpoint, JobMessage, SourceFiles, Worker, WorkerContext
from sdclient.curate import Curator
from sdclient.curate.thresholds import CurationSettings
from sdclient.manifest import Manifest
from sdclient.sources import discover
from sdcore.files import sha256_of

NODES = 3
SOURCES = 10
BATCH = 2
_STORE_BYTES = 200 * 2**20


@dataclass(frozen=True)
class Run:
    """What one run gave."""

    images_per_s: float
    """Without the first quarter of the images."""
    start_s: float
    """Until the first image was in place."""
    owner_cpu_ms: float
    """Of the owner's process, an image."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=150, help="generated in each run")
    parser.add_argument("--size", type=int, default=512, help="side of sources and images, px")
    parser.add_argument("--job-ms", type=float, default=200)
    parser.add_argument("--curated", type=int, default=600, help="images scored in each run; 0 leaves it out")
    parser.add_argument("--json", type=Path, help="every run, for scripts")
    asked = parser.parse_args()
    packages = ("ray", "pillow", "numpy", "scikit-image")
    report = Report("ray", "through a Ray cluster on one machine", packages=packages, settings=vars(asked))
    runs: dict[str, Any] = {}
    with ExitStack() as opened:
        root = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        servers = opened.enter_context(server_processes([[JobTime(asked.job_ms)]] * NODES))
        urls = [one.urls[0] for one in servers]
        opened.enter_context(a_cluster(urls))
        draw_sources(root / "sources", asked.size, SOURCES)
        runs["generate"] = generating(report, root, urls, asked)
        runs["wire"] = on_the_wire(report, root, urls[0], asked.size)
        if asked.curated:
            runs["curate"] = scoring(report, root, urls, asked)
    report.finish(asked.json, runs)


@contextmanager
def a_cluster(urls: list[str]) -> Iterator[None]:
    """A head without processors, and a node beside each server; two of them have a processor for tasks."""
    common: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={**common, "num_cpus": 0, "node_name": "head"})
    del common["include_dashboard"]
    try:
        for number, url in enumerate(urls):
            cluster.add_node(
                wait=False,
                num_cpus=int(number < 2),
                node_name=f"node{number}",
                env_vars={"SDCLIENT_URL": url},
                **common,
            )
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


def generating(report: Report, root: Path, urls: list[str], asked: argparse.Namespace) -> dict[str, Any]:
    """Threads and cluster in turn on the same servers."""
    found: dict[str, list[Run]] = {"threads": [], "ray": []}
    for number in range(asked.rounds):
        for name in found if number % 2 == 0 else reversed(found):
            found[name].append(run_once(name, root, root / f"{name}{number}", urls, asked))
    pairs = list(zip(found["ray"], found["threads"], strict=True))
    report.table(
        f"generate: {NODES} servers, jobs of {asked.job_ms:g} ms with {BATCH} images of {asked.size} px, "
        f"{asked.images} images, {asked.rounds} rounds",
        ["", "images/s", "to the first image, s", "owner's CPU, ms an image"],
        [
            [
                name,
                spread([one.images_per_s for one in of_name], 1),
                spread([one.start_s for one in of_name], 1),
                spread([one.owner_cpu_ms for one in of_name], 1),
            ]
            for name, of_name in found.items()
        ],
    )
    report.goal(
        "generate: images/s through Ray / with threads",
        [ours.images_per_s / theirs.images_per_s for ours, theirs in pairs],
        at_least=0.95,
    )
    report.goal(
        "generate: owner's CPU an image through Ray / with threads",
        [ours.owner_cpu_ms / theirs.owner_cpu_ms for ours, theirs in pairs],
        at_most=1.0,
    )
    return {name: [asdict(one) for one in of_name] for name, of_name in found.items()}


def run_once(name: str, root: Path, output: Path, urls: list[str], asked: argparse.Namespace) -> Run:
    """One run into a folder of its own."""
    settings = GenerationSettings(sampler="Euler", native_px=asked.size, batch_size=BATCH)
    owed = [(source, asked.images // SOURCES) for source in discover(root / "sources")]
    with ExitStack() as opened:
        servers: Any = RayServerPool()
        if name == "threads":
            servers = [Server(url, opened.enter_context(WebUI(url))) for url in urls]
        begun, cpu = time.perf_counter(), time.process_time()
        times = [time.perf_counter() for _ in BatchRunner(servers, root / "sources", output, settings).run(owed)]
        cpu = time.process_time() - cpu
    if len(times) != asked.images // SOURCES * SOURCES:
        raise RuntimeError(f"{len(times)} images of {asked.images}")
    first = len(times) // 4
    rate = (len(times) - 1 - first) / (times[-1] - times[first])
    return Run(rate, times[0] - begun, 1000 * cpu / len(times))


def on_the_wire(report: Report, root: Path, url: str, size_px: int) -> dict[str, int]:
    """Bytes that go over for a job and come back for an image, as they are pickled."""
    source = discover(root / "sources")[0]
    settings = GenerationSettings(sampler="Euler", native_px=size_px, batch_size=BATCH)
    spec = RunSpec.from_settings(settings)
    planned = plan_images(
        source, sha256_of(source.path), BATCH, run_seed=0, parameters_for=spec.parameters_for, identity=lambda _: {}
    )
    job = Job(tuple(planned))
    files = SourceFiles(source.path.read_bytes())
    reply = Worker(WorkerContext(Endpoint("", "node", "", url), size_px, None, 1)).make(JobMessage.of(job), files)
    data = sum(len(one.data) for one in reply.images_of(job) if hasattr(one, "data"))
    found = {
        "source file": len(files.data),
        "source sent, once to a node": len(pickle.dumps(files)),
        "job sent, an image": len(pickle.dumps(JobMessage.of(job))) // BATCH,
        "image file": data // BATCH,
        "reply, an image": len(pickle.dumps(reply)) // BATCH,
    }
    report.table(f"bytes, {size_px} px", list(found), [[str(value) for value in found.values()]])
    return found


def scoring(report: Report, root: Path, urls: list[str], asked: argparse.Namespace) -> dict[str, Any]:
    """Two processes of this machine and two nodes with a processor each, in turn."""
    small = root / "small"
    draw_sources(small / "sources", 96, SOURCES)
    settings = GenerationSettings(sampler="Euler", native_px=96, batch_size=8)
    owed = [(source, asked.curated // SOURCES) for source in discover(small / "sources")]
    with ExitStack() as opened:
        servers = [Server(url, opened.enter_context(WebUI(url))) for url in urls]
        runner = BatchRunner(servers, small / "sources", small / "out", settings, GenerateOptions(check=None))
        made = sum(1 for _ in runner.run(owed))
    found: dict[str, list[float]] = {"processes": [], "ray": []}
    rows: dict[str, Any] = {}
    for number in range(min(2, asked.rounds) + 1):  # the first round measures the real images, too, and starts workers
        for name in found if number % 2 == 0 else reversed(found):
            seconds, rows[name] = score_once(name, small / "out")
            if number:
                found[name].append(made / seconds)
    if rows["ray"] != rows["processes"]:
        raise RuntimeError("the cluster's scores are not those of one machine")
    report.table(
        f"curate: {made} images of 96 px scored and compared, faces left out; the scores are equal",
        ["2 processes, images/s", "2 nodes with 1 processor, images/s"],
        [[spread(found["processes"], 0), spread(found["ray"], 0)]],
    )
    ratios = [ours / theirs for ours, theirs in zip(found["ray"], found["processes"], strict=True)]
    report.goal("curate: images/s through Ray / with processes", ratios, at_least=0.9)
    return found


def score_once(name: str, output: Path) -> tuple[float, Any]:
    """Seconds to score all images anew, and the scores."""
    with Manifest(output, create=True) as manifest:
        open_scoring = partial(ray_scoring, output) if name == "ray" else None
        settings = CurationSettings(workers=2, skip=frozenset({"face"}))
        curator = Curator(output, manifest, settings, is_dry_run=True, open_scoring=open_scoring)
        begun = time.perf_counter()
        curator.score_missing()
        seconds = time.perf_counter() - begun
        return seconds, {one.file: one.scores for one in curator.judge()}


if __name__ == "__main__":
    main()
