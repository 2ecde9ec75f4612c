"""docs/generator.md names options, keys and samplers that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from generator.cli import train
from sdclient.cli import serve
from sdclient.serve.denoiser import CATALOGUE
from sdcore.diffusion_model import ModelDescription, PixelCodec, describe

PAGE = (Path(__file__).parents[2] / "docs" / "generator.md").read_text(encoding="utf-8")
TRAINING, _, SERVING = PAGE.partition("## Serving")


def options_of(command: object) -> set[str]:
    params = command.params  # type: ignore[attr-defined]
    return {name for param in params for name in (*param.opts, *param.secondary_opts) if name.startswith("--")}


@pytest.mark.parametrize("command", ["train", "serve"])
def test_every_option_in_a_table_or_command_is_there(command: str) -> None:
    text = TRAINING if command == "train" else SERVING.partition("## Measured")[0]
    known = options_of(train if command == "train" else serve)
    elsewhere = {"--engine", "--model", "--plan", "--prompt", "--cfg-scale", "--url", "--webui-url"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - elsewhere <= known
    if command == "train":
        assert {name for name in known if not name.startswith("--no-") and name not in ("--output",)} <= set(
            re.findall(r"--[a-z-]+", text)
        )


def test_the_keys_of_the_saved_file_are_those_of_the_table() -> None:
    facts = ModelDescription(("a",), 64, PixelCodec((0.5,), (0.5,), 4), {})
    keys = set(describe(facts, {}, half=False)) - {"format", "version"}
    table = TRAINING.partition("| key |")[2]
    assert {name for cell in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`(\w+)`", cell)} == keys


def test_the_samplers_of_the_table_are_those_it_has() -> None:
    (row,) = re.findall(r"^\| `sampler_name` \| (.*?), by diffusers", SERVING, re.M)
    assert set(row.split(", ")) == {sampler.name for sampler in CATALOGUE.samplers}
    (row,) = re.findall(r"^\| `scheduler` \| (.*) \|", SERVING, re.M)
    assert {word.split(" ")[0] for word in row.split(", ")} == {one.name for one in CATALOGUE.schedulers}
