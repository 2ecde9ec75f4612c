"""A batch run that meets faults, then another start: nothing is lost, nothing is made twice on disk."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sdclient.batch import BatchRunner, GenerateOptions, GenerationSettings
from sdclient.client import RetryPolicy
from sdclient.client.transport import NEVER
from sdclient.errors import ServerUnreachable
from sdclient.manifest import Manifest
from sdclient.sources import discover
from sdclient.testing import FaultPlan, WebUIServer

PLANNED = {f"{source}_{k}.png" for source in ("焊盘/1", "焊盘/2", "pit/7") for k in range(1, 6)}
AT_ONCE = RetryPolicy(first_wait_s=0)


@pytest.fixture(autouse=True)
def _quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdclient.batch.servers.FIRST_PROBE_S", 0.02)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    for name in ("焊盘/1", "焊盘/2", "pit/7"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 64), 40).save(folder / f"{name}.png")
    return folder


def start(
    server: WebUIServer, sources: Path, output: Path, *, retries: RetryPolicy = AT_ONCE, patience_s: float = 60.0
) -> list[str]:
    """One start of a run; gives the files it made. Fifteen images in nine jobs."""
    settings = GenerationSettings.checked({"native_px": 64, "batch_size": 2, "steps": 4})
    with server.client(retries=retries) as webui:
        runner = BatchRunner(webui, sources, output, settings, GenerateOptions(patience_s=patience_s))
        return [record.file for record in runner.run([(source, 5) for source in discover(sources)])]


def on_disk(output: Path) -> dict[str, str]:
    return {
        path.relative_to(output).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in output.glob("*/*")
    }


def in_manifest(output: Path) -> dict[str, str]:
    with Manifest(output) as manifest:
        rows = list(manifest.images())
    assert len({record.file for record in rows}) == len(rows) == len({record.key for record in rows})
    return {record.file: record.sha256 for record in rows}


PASSING: dict[str, Callable[[FaultPlan], object]] = {
    "refused": lambda faults: faults.refuse(2),
    "broken": lambda faults: faults.reset(2),
    "lost": lambda faults: faults.reset(2, after=True),
    "gateway": lambda faults: faults.status(504, 2, after=True),
    "busy": lambda faults: faults.status(429, 2),
    "half": lambda faults: faults.truncate(2),
}
TRIED_AGAIN: dict[str, Callable[[FaultPlan], object]] = {
    "memory": lambda faults: faults.out_of_memory(),
    "nan": lambda faults: faults.nan(),
    "sampler": lambda faults: faults.substitute(sampler="Euler"),
    "seed": lambda faults: faults.substitute(seed=1),
    "size": lambda faults: faults.substitute(width=72),
    "short": lambda faults: faults.short_reply(),
    "fault": lambda faults: faults.status(500),
    "away": lambda faults: faults.reset(6, after=True),
}


@pytest.mark.parametrize("name", PASSING)
def test_faults_that_pass_are_not_even_noticed(
    webui_server: WebUIServer, sources: Path, tmp_path: Path, name: str
) -> None:
    PASSING[name](webui_server.faults)
    made = start(webui_server, sources, tmp_path / "out")
    assert sorted(made) == sorted(PLANNED)
    assert on_disk(tmp_path / "out") == in_manifest(tmp_path / "out")
    webui_server.faults.assert_all_used()
    webui_server.assert_no_job_doubled()


@pytest.mark.parametrize("name", TRIED_AGAIN)
def test_a_job_that_fails_is_tried_again_and_the_run_goes_on(
    webui_server: WebUIServer, sources: Path, tmp_path: Path, name: str
) -> None:
    output = tmp_path / "out"
    TRIED_AGAIN[name](webui_server.faults)
    made = start(webui_server, sources, output)
    assert sorted(made) == sorted(PLANNED)
    assert on_disk(output) == in_manifest(output)
    assert set(on_disk(output)) == PLANNED
    webui_server.faults.assert_all_used()
    webui_server.assert_no_job_doubled()
    assert start(webui_server, sources, output) == []


def test_a_run_through_many_faults_ends_complete(webui_server: WebUIServer, sources: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    faults = webui_server.faults
    faults.reset(after=True)
    faults.out_of_memory()
    faults.status(503)
    faults.short_reply()
    faults.substitute(scheduler="Exponential")
    faults.truncate()
    faults.nan()
    made = start(webui_server, sources, output, retries=NEVER)
    assert Counter(made) == Counter(PLANNED)
    faults.assert_all_used()
    assert faults.used == 7
    assert on_disk(output) == in_manifest(output)
    webui_server.assert_no_job_doubled()
    assert start(webui_server, sources, output) == []


def test_a_server_that_goes_down_in_the_middle_keeps_what_is_made(
    webui_server: WebUIServer, sources: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    held = webui_server.faults.delay()
    ended: list[BaseException] = []

    def run() -> None:
        try:
            start(webui_server, sources, output, retries=NEVER, patience_s=0.0)
        except ServerUnreachable as error:
            ended.append(error)

    running = threading.Thread(target=run)
    running.start()
    held.wait_until_arrived()
    with webui_server.down():
        held.release()
        running.join(30)
    assert len(ended) == 1
    kept = on_disk(output)
    assert kept == in_manifest(output)
    assert kept  # the jobs that had arrived already
    made = start(webui_server, sources, output)
    assert sorted(made) == sorted(PLANNED - set(kept))
    webui_server.assert_no_job_doubled()
