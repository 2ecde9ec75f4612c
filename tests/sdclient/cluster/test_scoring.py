"""Scoring on a cluster gives what scoring on this machine gives, whatever happens to its nodes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from sdclient.cli import cli
from sdclient.cluster import nodes
from sdclient.cluster.scoring import ray_scoring
from sdclient.cluster.worker import ScoringSetup, SentImages, score_chunk
from sdclient.curate import Curator
from sdclient.curate.scores import ScoreJob
from sdclient.errors import OutputError
from sdclient.manifest import Manifest
from sdcore.errors import SettingsError
from tests.support.images import SIDE_PX, add_images, sibling, surface, write_sources
from tests.support.ray_cluster import LocalCluster

TABLES = ("scores", "fingerprints", "filter_verdicts")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with an output of 36 images, some with masks and some alike; scored on this machine in `local`."""
    folder = tmp_path_factory.mktemp("curated")
    write_sources(folder / "sources", {"pit": 6, "stain": 3})
    mask = Image.new("L", (SIDE_PX, SIDE_PX))
    mask.paste(255, (10, 10, SIDE_PX // 2, SIDE_PX // 2))
    images, masks = {}, {}
    for name, numbers in (("pit", range(1, 7)), ("stain", range(1, 4))):
        for number in numbers:
            for k in range(1, 5):
                images[f"{name}/{number}_{k}.png"] = sibling(surface(number), number if k < 3 else 10 * number + k)
                if number % 3 == 0:
                    masks[f"{name}/{number}_{k}.png"] = mask
    add_images(folder / "output", folder / "sources", images, masks=masks)
    shutil.copytree(folder / "output", folder / "local")
    curate(folder / "local")
    return folder


@pytest.fixture
def output(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "output", tmp_path / "output"))


def curate(output: Path, track: Any = None, **options: Any) -> None:
    with Manifest(output, create=True) as manifest:
        curator = Curator(output, manifest, **options)
        curator.score_missing(*[] if track is None else [track])
        curator.judge()


def rows_of(output: Path) -> dict[str, list[tuple[Any, ...]]]:
    with Manifest(output) as manifest:
        return {table: sorted(manifest.query(f"SELECT * FROM {table}")) for table in TABLES}


def test_rows_are_those_of_one_machine(cluster: LocalCluster, made: Path, output: Path) -> None:
    curate(output, open_scoring=partial(ray_scoring, output))
    expected = rows_of(made / "local")
    assert len(expected["scores"]) == 36
    assert any("near" in str(row) for row in expected["filter_verdicts"]), "some are alike"
    assert rows_of(output) == expected


def test_a_lost_nodes_images_are_scored_elsewhere(
    cluster: LocalCluster, made: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdclient.curate.scores.CHUNK", 2)
    cluster.add("scoring")
    killed: list[str] = []

    def track(items: Sequence[Any], title: str) -> Iterable[Any]:
        for number, item in enumerate(items):
            if title == "score" and number == 3:
                killed.append("scoring")
                cluster.kill("scoring")
            yield item

    curate(output, track, open_scoring=partial(ray_scoring, output))
    assert killed
    assert rows_of(output) == rows_of(made / "local")


def test_an_image_that_was_changed_is_named_by_the_owner(cluster: LocalCluster, output: Path) -> None:
    (output / "pit" / "1_1.png").write_bytes(b"other")
    with pytest.raises(OutputError, match=r"output/pit/1_1\.png: was changed since it was generated; run 'sdclient"):
        curate(output, open_scoring=partial(ray_scoring, output))


def test_a_node_with_another_version_is_refused(
    cluster: LocalCluster, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "__version__", "99.1")
    with pytest.raises(SettingsError, match=r"this machine 99\.1; install the same version there"):
        curate(output, open_scoring=partial(ray_scoring, output))


def test_a_node_that_joined_with_another_version_says_so() -> None:
    job = ScoreJob("pit/1_1.png", "", "pit", "", "", "")
    answer = score_chunk(ScoringSetup("call", "99.1", {}, False), [job], SentImages({}, {}), ())
    assert isinstance(answer, SettingsError)
    assert "the owner's machine 99.1" in str(answer)


def test_the_command_prints_one_document(cluster: LocalCluster, made: Path, output: Path) -> None:
    result = CliRunner().invoke(cli, ["curate", str(output), "--ray", cluster.address, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["scored"] == 36
    assert rows_of(output) == rows_of(made / "local")


def test_workers_of_this_machine_are_not_asked_for_beside_a_cluster(output: Path) -> None:
    result = CliRunner().invoke(cli, ["curate", str(output), "--ray", "auto", "--workers", "2"])
    assert result.exit_code == 2
    assert "each node's --num-cpus says how many" in result.output
