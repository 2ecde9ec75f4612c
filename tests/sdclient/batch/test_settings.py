"""A setting as a user writes it: what it means, and which message an invalid one gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from sdclient.batch import GenerationSettings
from sdclient.batch.settings import (
    IMAGE_NAMES,
    RUN_NAMES,
    SettingSpec,
    parse_assignment,
    parse_value,
    read_section,
    suggest_names,
    to_plain,
)
from sdclient.manifest import Manifest
from sdclient.output.planned_images import Choice, Range
from sdcore.errors import SettingsError
from tests.support.batch_runs import image_hashes, invoke, recorded
from tests.support.fake_webui import FakeWebUI


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("denoising_strength=0.25", ("denoising_strength", 0.25)),
        ("denoising-strength=0.2:0.3", ("denoising_strength", Range(0.2, 0.3))),
        (" cfg_scale = 5 : 7.5 ", ("cfg_scale", Range(5.0, 7.5))),
        ("denoising_strength=0.2, 0.25,0.3", ("denoising_strength", Choice((0.2, 0.25, 0.3)))),
        ("cfg_scale=7", ("cfg_scale", 7.0)),
        ("steps=30", ("steps", 30)),
        ("native_px=768", ("native_px", 768)),
        ("seed=9", ("seed", 9)),
        ("prompt=a, b: c=d", ("prompt", "a, b: c=d")),
        ("negative_prompt=", ("negative_prompt", "")),
        ("sampler=Euler a", ("sampler", "Euler a")),
    ],
)
def test_an_assignment_is_read(text: str, expected: tuple[str, SettingSpec]) -> None:
    name, value = parse_assignment(text)
    assert (name, value) == expected
    assert type(value) is type(expected[1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps", "--set steps: expected name=value"),
        ("=3", "unknown setting ''"),
        ("step=3", "--set step=3: unknown setting 'step'; did you mean 'steps'"),
        ("steps=0", "steps is '0'; expected a whole number from 1 on"),
        ("steps=2.5", "expected a whole number"),
        ("steps=20,30", "steps is '20,30'; expected a whole number"),
        ("denoising_strength=", "denoising_strength is ''; expected a number from 0 to 1"),
        ("denoising_strength=1.1", "from 0 to 1"),
        ("denoising_strength=0.2:1.1", "denoising_strength is '1.1'"),
        ("denoising_strength=0.2,,0.3", "denoising_strength is ''"),
        ("denoising_strength=0.2:", "denoising_strength is ''"),
        ("denoising_strength=0.3:0.2", "lower end 0.3 is above its upper end 0.2; swap them"),
        ("denoising_strength=0.2005:0.3", "0.2005; expected ends of a range with at most 3 digits"),
        ("cfg_scale=nan", "cfg_scale is 'nan'"),
        ("cfg_scale=inf", "cfg_scale is 'inf'"),
        ("cfg_scale=5:inf", "cfg_scale is 'inf'"),
        ("cfg_scale=1:2:3", "cfg_scale is '2:3'"),
        ("native_px=500", "native_px is '500'; expected a multiple of 8"),
        ("batch_size=0", "batch_size is '0'"),
        ("seed=-1", "seed is '-1'"),
        (f"seed={2**63}", r"expected a whole number from 0 to 2\^63 - 1"),
    ],
)
def test_an_invalid_assignment_is_named(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        parse_assignment(text)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("steps", True, "steps is True; expected a whole number"),
        ("denoising_strength", False, "denoising_strength is False"),
        ("denoising_strength", [0.2, True], "denoising_strength is True"),
        ("denoising_strength", [], "denoising_strength is an empty list"),
        ("denoising_strength", [[0.2]], r"denoising_strength is \[0.2\]"),
        ("denoising_strength", {"min": 0.2}, ".*; expected a range as {min = 0.2, max = 0.3}"),
        ("denoising_strength", {"min": 0.2, "max": 0.3, "step": 1}, ".*; expected a range as"),
        ("denoising_strength", None, "denoising_strength is None"),
        ("steps", [20, 30], r"steps is \[20, 30\]"),
        ("prompt", 3, "prompt is 3; expected a text"),
        ("cfg_scale", 10**400, "cfg_scale is 10+;"),
        ("cfg_scale", float("nan"), "cfg_scale is nan;"),
        ("sampler", None, "sampler is None"),
    ],
)
def test_an_invalid_value_is_named(name: str, value: object, words: str) -> None:
    with pytest.raises(SettingsError, match=rf"^run\.toml: {words}"):
        parse_value(name, value, "run.toml")


@pytest.mark.parametrize("name", [*IMAGE_NAMES, *RUN_NAMES])
def test_every_setting_accepts_its_default_and_says_what_it_expects(name: str) -> None:
    default = getattr(GenerationSettings(), name)
    read = parse_value(name, default, "here")
    assert read == default
    assert type(read) is type(default)
    with pytest.raises(SettingsError, match=f"here: {name} is .*; expected (a|text)"):
        parse_value(name, object(), "here")


def test_a_setting_of_the_whole_run_cannot_stand_in_a_section() -> None:
    with pytest.raises(SettingsError, match=r"seed holds for the whole run.*above the first \[section\]"):
        read_section({"seed": 3}, 'run.toml: [class."a"]', IMAGE_NAMES)


@pytest.mark.parametrize(
    ("name", "words"),
    [("denoising", "did you mean 'denoising_strength'"), ("xyz", "expected one of denoising_strength")],
)
def test_an_unknown_name_is_answered_with_similar_ones_or_all(name: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"unknown setting '{name}'; {words}"):
        read_section({name: 1}, "run.toml", IMAGE_NAMES)


def test_a_long_list_of_names_is_cut() -> None:
    assert suggest_names("zzz", [str(number) for number in range(40)]).endswith("10, 11, ...")


numbers = st.floats(0, 1)
steps = st.integers(0, 1000)
ranges = st.tuples(steps, steps).map(lambda ends: {"min": min(ends) / 1000, "max": max(ends) / 1000})


@given(st.one_of(numbers, st.lists(numbers, min_size=1), ranges))
def test_what_is_written_is_read_back(value: Any) -> None:
    read = parse_value("denoising_strength", value, "here")
    assert to_plain(read) == value
    assert parse_value("denoising_strength", read, "here") == read


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
    assert image_hashes(output) == recorded(output)
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


def test_a_section_without_a_source_is_refused_before_anything_is_sent(
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
