"""docs/masks.md: its example runs, its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from sdclient.batch import GenerationSettings
from sdclient.batch.settings import INPAINTING_NAMES
from sdclient.cli import cli
from sdclient.masks.mask import write_mask
from sdclient.serve.app import running_server

TEXT = (Path(__file__).parents[3] / "docs" / "masks.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "sources" / "pad").mkdir(parents=True)
    Image.effect_noise((64, 64), 30).save(tmp_path / "sources" / "pad" / "1.png")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (20, 20, 40, 40))
    write_mask(tmp_path / "masks" / "pad" / "1.png", mask)
    monkeypatch.chdir(tmp_path)
    with running_server() as server:
        monkeypatch.setenv("SDCLIENT_URL", server.url)
        names: dict[str, Any] = {}
        exec(compile(block, "masks.md", "exec"), names)
    assert capsys.readouterr().out.splitlines() == [f"pad/1_{k}.png _masks/pad/1_{k}.png" for k in (1, 2)]


def test_the_table_of_settings_is_complete() -> None:
    rows = dict(re.findall(r"^\| `--[\w-]+`, `(\w+)` \| `?(\w+)`? \|", TEXT, re.MULTILINE))
    defaults = GenerationSettings().model_dump(include=set(INPAINTING_NAMES))
    assert rows == {name: str(value) for name, value in defaults.items()}


def test_every_option_it_names_is_one() -> None:
    named = set(re.findall(r"`(--[a-z-]+)", TEXT)) - {"--repair"}
    shown = "".join(CliRunner().invoke(cli, [one, "--help"]).output for one in ("mask", "generate", "probe"))
    assert {option for option in named if option not in shown} == set()
