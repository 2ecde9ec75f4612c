"""A run file, --set and --dry-run on the command line: what the server is really asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdclient.manifest import Manifest
from tests.support.batch_runs import invoke, pictures, recorded
from tests.support.fake_webui import FakeWebUI

RUN_FILE = """
denoising_strength = 0.25
prompt = "photo of {class}"
steps = 12

[class."焊盘"]
denoising_strength = [0.2, 0.3]

[source."焊盘/2.png"]
cfg_scale = 5
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(RUN_FILE, encoding="utf-8")
    return path


def asked(fake: FakeWebUI, output: Path) -> dict[str, dict[str, object]]:
    with Manifest(output) as manifest:
        return {record.file: dict(record.asked) for record in manifest.images()}


def test_settings_by_class_and_source_reach_the_server(
    fake: FakeWebUI, sources_folder: Path, tmp_path: Path, config: Path
) -> None:
    output = tmp_path / "out"
    result = invoke(fake, str(sources_folder), str(output), "--per-source", "6", "--config", str(config))
    assert result.exit_code == 0, result.output
    made = asked(fake, output)
    assert len(made) == 18
    assert {one["steps"] for one in made.values()} == {12}
    assert {one["prompt"] for name, one in made.items() if name.startswith("dirt/")} == {"photo of dirt"}
    assert {one["denoising_strength"] for name, one in made.items() if name.startswith("dirt/")} == {0.25}
    assert {one["denoising_strength"] for name, one in made.items() if name.startswith("焊盘/")} == {0.2, 0.3}
    assert {one["cfg_scale"] for name, one in made.items() if name.startswith("焊盘/2_")} == {5.0}
    assert {one["cfg_scale"] for name, one in made.items() if name.startswith("焊盘/10_")} == {7.0}
    assert pictures(output) == recorded(output)
    fake.requests.clear()
    again = invoke(fake, str(sources_folder), str(output), "--per-source", "6", "--config", str(config))
    assert again.exit_code == 0
    assert fake.requests == []


def test_images_of_one_request_are_made_alike(
    fake: FakeWebUI, sources_folder: Path, tmp_path: Path, config: Path
) -> None:
    invoke(fake, str(sources_folder), str(tmp_path / "out"), "--per-source", "8", "--config", str(config))
    with Manifest(tmp_path / "out") as manifest:
        by_seed = {record.seed: record.asked["denoising_strength"] for record in manifest.images()}
    for request in fake.requests:
        seeds = range(request["seed"], request["seed"] + request["batch_size"])
        assert {by_seed[seed] for seed in seeds} == {request["denoising_strength"]}


def test_an_option_and_set_win_over_the_file(
    fake: FakeWebUI, sources_folder: Path, tmp_path: Path, config: Path
) -> None:
    output = tmp_path / "out"
    arguments = ("--config", str(config), "--steps", "9", "--set", "denoising_strength=0.4:0.5")
    assert invoke(fake, str(sources_folder), str(output), "--per-source", "4", *arguments).exit_code == 0
    made = asked(fake, output).values()
    assert {one["steps"] for one in made} == {9}
    strengths = [float(str(one["denoising_strength"])) for one in made]
    assert all(0.4 <= strength <= 0.5 for strength in strengths)
    assert len(set(strengths)) > 3


def test_a_changed_file_is_refused_naming_what_changed(
    fake: FakeWebUI, sources_folder: Path, tmp_path: Path, config: Path
) -> None:
    arguments = (str(sources_folder), str(tmp_path / "out"), "--per-source", "1", "--config", str(config))
    assert invoke(fake, *arguments).exit_code == 0
    config.write_text(RUN_FILE.replace("[0.2, 0.3]", "[0.2, 0.35]"), encoding="utf-8")
    result = invoke(fake, *arguments)
    assert result.exit_code == 1
    assert "class was" in result.stderr


def test_a_section_for_nothing_is_told_before_anything_is_sent(
    fake: FakeWebUI, sources_folder: Path, tmp_path: Path, config: Path
) -> None:
    config.write_text('[class."焊点"]\nsteps = 3\n', encoding="utf-8")
    result = invoke(fake, str(sources_folder), str(tmp_path / "out"), "--per-source", "1", "--config", str(config))
    assert result.exit_code == 1
    assert "焊点" in result.stderr
    assert fake.requests == []


def test_a_dry_run_shows_everything_and_makes_nothing(
    fake: FakeWebUI, sources_folder: Path, tmp_path: Path, config: Path
) -> None:
    output = tmp_path / "out"
    arguments = (str(sources_folder), str(output), "--per-source", "6", "--config", str(config), "--dry-run")
    shown = json.loads(invoke(fake, *arguments, "--json").stdout)
    assert shown["images_by_class"] == {"dirt": 6, "焊盘": 12}
    assert shown["estimate"]["images"] == 18
    assert shown["estimate"]["time_s"] > 0
    assert shown["fits_on_disk"] is True
    assert shown["configuration"]["class"] == {"焊盘": {"denoising_strength": [0.2, 0.3]}}
    words = invoke(fake, *arguments).stdout
    assert "焊盘: 12 images" in words
    assert "18 images, about" in words
    assert not output.exists()
