"""Storms: many kills, many faults; afterwards exactly the planned set, each file whole and matching its manifest."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image

from sdclient.batch import BatchRunner, GenerateOptions, GenerationSettings, Server
from sdclient.client import RetryPolicy
from sdclient.errors import ManifestError
from sdclient.manifest import Manifest
from sdclient.masks.mask import mask_path, write_mask
from sdclient.serve.app import running_server
from sdclient.sources import discover
from sdclient.testing import WebUIServer, serve_webui
from tests.support.batch_runs import pictures, recorded
from tests.support.masked_runs import check_masks

SOURCES, EACH = 20, 10
KILLS = 60
KILLS_WITH_MASKS = 20


@pytest.fixture
def many_sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    for number in range(1, SOURCES + 1):
        path = folder / ("焊盘" if number % 2 else "dirt") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 64), 30 + number).save(path)
    return folder


def planned(sources: Path) -> set[str]:
    return {f"{source.class_name}/{source.number}_{k}.png" for source in discover(sources) for k in range(1, EACH + 1)}


def masks_of(sources: Path) -> Path:
    """A folder with a mask of every source."""
    masks = sources.parent / "masks"
    for source in discover(sources):
        mask = Image.new("L", (64, 64))
        mask.paste(255, (10, source.number, 40, 50))
        write_mask(mask_path(masks, source), mask)
    return masks


def masks_in(output: Path) -> set[str]:
    return {path.relative_to(output).as_posix() for path in (output / "_masks").glob("*/*.png")}


def is_begun(output: Path) -> bool:
    """Whether the manifest has its tables; a kill may come between making the file and making those."""
    try:
        Manifest(output).close()
    except ManifestError as error:
        if "no manifest.sqlite" not in str(error) and "schema version 0" not in str(error):
            raise
        return False
    return True


def check_whole(output: Path, expected: set[str]) -> None:
    assert set(pictures(output)) == expected
    assert pictures(output) == recorded(output)
    for name in expected:
        with Image.open(output / name) as image:
            image.load()
    with Manifest(output) as manifest:
        keys = Counter(record.key for record in manifest.images())
    assert set(keys.values()) == {1}


@pytest.mark.parametrize(("masked", "least_kills"), [(False, KILLS), (True, KILLS_WITH_MASKS)])
def test_kills_at_random_instants_lose_and_double_nothing(
    many_sources: Path, tmp_path: Path, masked: bool, least_kills: int
) -> None:
    output = tmp_path / "out"
    chance = random.Random(20261123)
    expected = planned(many_sources)
    with running_server() as server:
        command = [sys.executable, "-m", "sdclient", "generate", str(many_sources), str(output)]
        command += ["--per-source", str(EACH), "--native-size", "64", "--batch-size", "4", "--url", server.url]
        if masked:
            command += ["--masks", str(masks_of(many_sources))]
        kills = starts = 0
        while kills < least_kills:
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                starts += 1
                try:
                    process.wait(chance.uniform(0.3, 1.1))
                except subprocess.TimeoutExpired:
                    process.kill()
                    kills += 1
            if is_begun(output):
                rows = recorded(output)
                assert rows.items() <= pictures(output).items()  # no row without its whole file
                if masked and rows:
                    assert {f"_masks/{file}" for file in rows} <= masks_in(output)
                if set(rows) == expected and kills < least_kills:
                    shutil.rmtree(output)  # nothing is left to kill: begin anew
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert starts >= least_kills
    check_whole(output, expected)
    if masked:
        check_masks(output)


@pytest.fixture
def three_servers() -> Iterator[list[WebUIServer]]:
    with ExitStack() as opened:
        yield [opened.enter_context(serve_webui()) for _ in range(3)]


def storm(server: WebUIServer, chance: random.Random, faults: int) -> None:
    """Faults of every kind, in an order drawn by chance; each meets one job."""
    kinds = [
        lambda: server.faults.refuse(1),
        lambda: server.faults.reset(1),
        lambda: server.faults.reset(1, after=True),
        lambda: server.faults.truncate(1),
        lambda: server.faults.status(503),
        lambda: server.faults.status(500),
        lambda: server.faults.status(429),
        lambda: server.faults.out_of_memory(),
        lambda: server.faults.nan(),
        lambda: server.faults.short_reply(),
        lambda: server.faults.substitute(sampler="Euler"),
        lambda: server.faults.substitute(seed=1),
    ]
    for _ in range(faults):
        chance.choice(kinds)()


def test_a_storm_of_faults_on_three_servers_loses_and_doubles_nothing(
    three_servers: list[WebUIServer], many_sources: Path, tmp_path: Path
) -> None:
    """About a third of all requests fail, and one server dies and comes back."""
    output = tmp_path / "out"
    chance = random.Random(7)
    settings = GenerationSettings.checked({"native_px": 64, "batch_size": 2, "steps": 4})
    quick = RetryPolicy(attempts=2, first_wait_s=0)
    with ExitStack() as opened:
        servers = [
            Server(f"server {n}", opened.enter_context(server.client(retries=quick)))
            for n, server in enumerate(three_servers)
        ]
        runner = BatchRunner(servers, many_sources, output, settings, GenerateOptions(tries=8))
        made: Counter[str] = Counter()
        back = threading.Event()
        with ExitStack() as away:
            for record in runner.run([(source, EACH) for source in discover(many_sources)]):
                made[record.file] += 1
                if made.total() == 1:  # the run has begun; until then a fault would rightly refuse to start it
                    for server in three_servers:
                        storm(server, chance, 12)
                if made.total() == 40:
                    away.enter_context(three_servers[2].down())
                if made.total() == 120 and not back.is_set():
                    back.set()
                    away.close()
    assert back.is_set()
    assert made == Counter(planned(many_sources))
    check_whole(output, planned(many_sources))
    for server in three_servers:
        server.assert_no_job_doubled()
    used = sum(server.faults.used for server in three_servers)
    jobs = sum(len(server.jobs) for server in three_servers)
    assert used >= 0.25 * (SOURCES * EACH / 2), f"only {used} faults were met in {jobs} jobs"
