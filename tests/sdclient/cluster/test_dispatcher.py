"""A run over the WebUIs of a cluster's nodes, from one owner."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sdclient.batch import BatchRunner, GenerateOptions, GenerationSettings, RunSpec
from sdclient.batch.strength import AdaptiveStrength
from sdclient.batch.until_accepted import AcceptanceLoop
from sdclient.cluster import dispatcher, nodes
from sdclient.cluster.server_pool import RayServerPool
from sdclient.errors import ManifestError, ServerUnreachable, Unauthorized
from sdclient.manifest import ImageRecord, Manifest
from sdclient.manifest.database import DONE
from sdclient.sources import discover
from sdclient.testing import WebUIServer
from sdcore.errors import SettingsError
from sdcore.files import sha256_of
from tests.support.acceptance import Limits
from tests.support.masked_runs import add_source, board
from tests.support.ray_cluster import AUTH, LocalCluster, until

SETTINGS = GenerationSettings.checked({"native_px": 64, "steps": 2, "batch_size": 2})


def runner_of(sources: Path, output: Path, pool: RayServerPool | None = None, **options: Any) -> BatchRunner:
    return BatchRunner(pool or RayServerPool(), sources, output, SETTINGS, GenerateOptions(**options))


def make(runner: BatchRunner, sources: Path, per_source: int) -> list[ImageRecord]:
    return list(runner.run([(source, per_source) for source in discover(sources)]))


def records_of(output: Path, planned: int) -> list[ImageRecord]:
    """The records, having checked that every image is there once, as it was recorded, and none beside."""
    with Manifest(output) as manifest:
        records = list(manifest.images())
        states = list(manifest.states())
    assert {state.status for state in states} == {DONE}
    assert len(states) == len(records) == len({record.file for record in records}) == planned
    files = sorted(path.relative_to(output).as_posix() for path in output.glob("*/*.png"))
    assert files == sorted(record.file for record in records)
    assert all(sha256_of(output / record.file) == record.sha256 for record in records)
    return records


def failures_in(output: Path) -> set[int]:
    with Manifest(output) as manifest:
        return {attempts for (attempts,) in manifest.query("SELECT attempts FROM images")}


def nodes_of(records: list[ImageRecord]) -> Counter[str]:
    """How many images came from each node."""
    return Counter(record.server.partition(" on ")[2] for record in records)


def test_a_lost_nodes_work_is_redone_by_the_others(cluster: LocalCluster, sources_folder: Path, tmp_path: Path) -> None:
    doomed = cluster.add("doomed")
    runner = runner_of(sources_folder, tmp_path / "out")
    was_killed = False
    for _ in runner.run([(source, 30) for source in discover(sources_folder)]):
        # On a busy machine its worker may start last; images that are not taken here hold up the other nodes.
        until(lambda: [one for one in runner.statuses() if one.state != "starting" and "doomed" in one.name])
        if not was_killed and len(doomed.jobs) > 2:
            was_killed = True
            cluster.kill("doomed")
            until(lambda: [one for one in runner.statuses() if one.state.startswith("lost") and "doomed" in one.name])
    assert was_killed
    records = records_of(tmp_path / "out", 90)
    by_node = nodes_of(records)
    assert {"one", "two", "three"} <= set(by_node)
    asked_of_it = {int(job.body["seed"]) for job in doomed.jobs}
    assert [one for one in records if one.seed in asked_of_it and not one.server.endswith(" on doomed")], "redone"
    assert not runner.failed
    assert failures_in(tmp_path / "out") == {0}, "a lost node is no fault of its images"
    for server in cluster.servers.values():
        server.assert_no_job_doubled()


def test_a_node_that_joins_later_gets_work(
    cluster: LocalCluster, sources_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "SEARCH_INTERVAL_S", 0.2)
    runner = runner_of(sources_folder, tmp_path / "out")
    joined: list[WebUIServer] = []
    for _ in runner.run([(source, 40) for source in discover(sources_folder)]):
        if not joined:
            joined.append(cluster.add("late"))
            until(lambda: joined[0].jobs)
    assert nodes_of(records_of(tmp_path / "out", 120))["late"]


def test_a_webui_that_goes_and_comes_back_is_asked_again(
    cluster: LocalCluster, sources_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdclient.batch.servers.FIRST_PROBE_S", 0.05)
    runner = runner_of(sources_folder, tmp_path / "out")
    states: list[str] = []

    def state() -> str:
        return next(one.state for one in runner.statuses() if one.name.endswith(" on two"))

    for _ in runner.run([(source, 12) for source in discover(sources_folder)]):
        if not states:
            with cluster.servers["two"].down():
                until(lambda: state().startswith("away"))
                states.append(state())
            until(lambda: state() == "working")
    assert "on two" in states[0]
    records_of(tmp_path / "out", 36)


def test_images_are_those_of_a_run_without_a_cluster(cluster: LocalCluster, tmp_path: Path) -> None:
    """To the byte, masks too; only who made them differs."""
    add_source(tmp_path, "焊盘/1.png", board((96, 64)), (20, 20, 50, 40))
    add_source(tmp_path, "焊盘/2.png", board((64, 64), "L", 1), (5, 5, 30, 30))
    sources = tmp_path / "sources"
    made = make(runner_of(sources, tmp_path / "out", masks=tmp_path / "masks"), sources, 3)
    with cluster.servers["one"].client() as webui:
        local = BatchRunner(webui, sources, tmp_path / "local", SETTINGS, GenerateOptions(masks=tmp_path / "masks"))
        expected = make(local, sources, 3)
    wanted = {one.file: (one.sha256, one.key, one.asked, one.used, one.mask) for one in expected}
    assert {one.file: (one.sha256, one.key, one.asked, one.used, one.mask) for one in made} == wanted
    masks = {one.mask: sha256_of(tmp_path / "local" / one.mask) for one in expected}
    assert {name: sha256_of(tmp_path / "out" / name) for name in masks} == masks


def test_a_loop_until_accepted_works_on_a_cluster_too(
    cluster: LocalCluster, sources_folder: Path, tmp_path: Path
) -> None:
    spec = RunSpec.from_settings(SETTINGS)
    found = discover(sources_folder)
    loop = AcceptanceLoop(
        BatchRunner(RayServerPool(), sources_folder, tmp_path / "out", spec, GenerateOptions(check=None)),
        tmp_path / "out",
        spec,
        [(source, 4) for source in found],
        AdaptiveStrength(spec, found, low=0.15, high=0.45),
        parameters={},
        budget=6,
        open_judge=Limits(alike_below=0.2).open,
    )
    made = list(loop.run())
    assert loop.accepted == loop.planned == 12
    assert len(records_of(tmp_path / "out", len(made))) >= 12


def test_a_worker_that_never_starts_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "START_S", 0.0)
    idle = dispatcher.RayDispatcher(RayServerPool(), cast(Any, SimpleNamespace(masks=None)))
    with pytest.raises(ServerUnreachable, match=r"no worker started on any node within 0 s; look into Ray's logs"):
        idle.next_message(0)


def test_a_stopped_run_goes_on_where_it_was(cluster: LocalCluster, sources_folder: Path, tmp_path: Path) -> None:
    runner = runner_of(sources_folder, tmp_path / "out")
    first = []
    for record in runner.run([(source, 10) for source in discover(sources_folder)]):
        first.append(record)
        runner.stop()
    with Manifest(tmp_path / "out") as manifest:
        there = sum(state.status == DONE for state in manifest.states())
    assert 1 <= there < 30
    again = make(runner_of(sources_folder, tmp_path / "out"), sources_folder, 10)
    assert len(again) == 30 - there
    records_of(tmp_path / "out", 30)


def test_an_interrupted_run_leaves_no_job_at_the_webuis(
    cluster: LocalCluster, sources_folder: Path, tmp_path: Path
) -> None:
    runner = runner_of(sources_folder, tmp_path / "out")
    made = runner.run([(source, 30) for source in discover(sources_folder)])
    next(made)
    runner.stop()
    runner.interrupt_jobs()
    list(made)
    for server in cluster.servers.values():
        until(lambda server=server: all(job.status is not None for job in server.jobs))
    make(runner_of(sources_folder, tmp_path / "out"), sources_folder, 30)
    records_of(tmp_path / "out", 90)


def test_a_cluster_without_webuis_is_said_in_one_line(sources_folder: Path, tmp_path: Path) -> None:
    told: list[str] = []
    pool = RayServerPool(["http://me:hidden@127.0.0.1:9"], tell=told.append)
    with pytest.raises(ServerUnreachable, match=r"no node .* looked for .*:9 on head, .*'ray start'$"):
        make(runner_of(sources_folder, tmp_path / "out", pool), sources_folder, 1)
    assert "Left out: node one, where nothing listens at http://127.0.0.1:9" in told
    assert not (tmp_path / "out").exists()


def test_an_address_that_all_nodes_share_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"http://gpu-pc:7860 with --ray: every node would ask that one server"):
        RayServerPool(["http://user:hidden@gpu-pc:7860"])


def test_a_node_with_another_version_is_refused(
    cluster: LocalCluster, sources_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "__version__", "99.1")
    with pytest.raises(
        SettingsError, match=r"node \w+ \(.*\): has sd-defects .*, this machine 99\.1; install the same"
    ):
        make(runner_of(sources_folder, tmp_path / "out"), sources_folder, 1)


def test_a_wrong_password_stops_the_run_and_is_told_nowhere(
    cluster: LocalCluster, sources_folder: Path, tmp_path: Path
) -> None:
    pool = RayServerPool(auth=("inspector", "wr0ng-word"))
    with pytest.raises(Unauthorized) as refused:
        make(runner_of(sources_folder, tmp_path / "out", pool), sources_folder, 1)
    assert re.match(r"on \w+: http://127\.0\.0\.1", str(refused.value))
    assert "wr0ng" not in str(refused.value)
    assert "wr0ng" not in repr(pool.endpoints)


def test_the_owners_password_serves_all_nodes_and_is_kept_nowhere(
    cluster: LocalCluster, sources_folder: Path, tmp_path: Path
) -> None:
    name, word = AUTH.split(":")
    pool = RayServerPool(auth=(name, word))
    make(runner_of(sources_folder, tmp_path / "out", pool), sources_folder, 2)
    records_of(tmp_path / "out", 6)
    assert word not in repr(pool.endpoints)
    assert word.encode() not in b"".join(path.read_bytes() for path in (tmp_path / "out").glob("*.sqlite*"))


def command(cluster: LocalCluster, sources: Path, output: Path) -> subprocess.Popen[str]:
    words = ["generate", str(sources), str(output), "--per-source", "20", "--ray", cluster.address, "--json"]
    words += ["--native-size", "64", "--steps", "2", "--batch-size", "2"]
    return subprocess.Popen(
        [sys.executable, "-m", "sdclient", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )


def done_in(output: Path) -> int:
    try:
        with Manifest(output) as manifest:
            return sum(state.status == DONE for state in manifest.states())
    except ManifestError:  # not there yet, or being made
        return 0


def test_a_killed_owner_is_resumed_by_the_same_command(
    cluster: LocalCluster, sources_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with command(cluster, sources_folder, output) as first:
        until(lambda: done_in(output) >= 6)
        first.kill()
    there = done_in(output)
    assert 6 <= there < 60
    with command(cluster, sources_folder, output) as second:
        stdout, stderr = second.communicate(timeout=120)
    assert second.returncode == 0, stderr
    assert "Left out: node head" in stderr
    summary = json.loads(stdout)
    assert (summary["made"], summary["already_there"], summary["failed"]) == (60 - there, there, 0)
    records_of(output, 60)


def test_all_nodes_lost_ends_the_run_when_patience_does(
    cluster: LocalCluster, sources_folder: Path, tmp_path: Path
) -> None:
    only = cluster.add("a-lone-one")
    runner = runner_of(sources_folder, tmp_path / "out", RayServerPool([only.url]), patience_s=0.5)
    made = runner.run([(source, 30) for source in discover(sources_folder)])
    next(made)
    cluster.kill("a-lone-one")
    with pytest.raises(ServerUnreachable, match=r"on a-lone-one: the node, or its worker, does not answer"):
        list(made)
    assert failures_in(tmp_path / "out") == {0}
