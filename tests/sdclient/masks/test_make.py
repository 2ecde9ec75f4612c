"""Masks are made once, and what was there stays unless it is to be replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from sdclient.batch import GenerationSettings
from sdclient.batch.settings import INPAINTING_NAMES
from sdclient.cli import cli
from sdclient.errors import OutputError
from sdclient.masks import MaskingResult, NoMaskForSource, make_masks
from sdclient.masks.mask import box_of, read_mask, write_mask
from sdclient.serve.app import running_server
from sdclient.sources import Source, discover


class Dots:
    """A mask of one pixel at (10, 10) for every source but one."""

    def __init__(self, without: str = "") -> None:
        self._without = without

    def mask_of(self, source: Source, size: tuple[int, int]) -> Image.Image:
        if source.relative == self._without:
            raise NoMaskForSource("nobody drew one")
        mask = Image.new("L", size)
        mask.putpixel((10, 10), 255)
        return mask

    def notes(self) -> Iterator[str]:
        yield "made of dots"


def make(project: Path, origin: Any = None, **options: Any) -> MaskingResult:
    folder = project / "sources"
    return make_masks(folder, discover(folder), project / "masks", origin or Dots(), **options)


def files(project: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((project / "masks").rglob("*.png"))}


def test_a_repeat_changes_nothing(project: Path) -> None:
    first = make(project)
    assert first.made == ("pad/1.png", "pad/2.png", "漏铜/1.png", "漏铜/2.png")
    assert first.notes == ("made of dots",)
    before = files(project)
    again = make(project)
    assert (again.made, again.unchanged, again.usable) == ((), first.made, 4)
    assert files(project) == before


def test_masks_are_grown_and_feathered(project: Path) -> None:
    make(project, grow_px=1, feather_px=2)
    mask = read_mask(project / "masks" / "pad" / "1.png", (50, 50))
    assert box_of(mask) == (7, 7, 14, 14)
    assert mask.getpixel((11, 10)) == 255


def test_another_mask_that_is_there_stays_unless_it_is_to_be_replaced(project: Path) -> None:
    drawn = Image.new("L", (50, 50))
    drawn.paste(255, (0, 0, 9, 9))
    write_mask(project / "masks" / "pad" / "1.png", drawn)
    result = make(project)
    assert result.kept == ("pad/1.png",)
    assert read_mask(project / "masks" / "pad" / "1.png", (50, 50)).tobytes() == drawn.tobytes()
    assert "pad/1.png" in make(project, overwrite=True).made
    assert read_mask(project / "masks" / "pad" / "1.png", (50, 50)).tobytes() != drawn.tobytes()


def test_a_source_without_a_mask_stops_nothing(project: Path) -> None:
    result = make(project, Dots(without="pad/2.png"))
    assert [(item.file, item.reason) for item in result.left_out] == [("pad/2.png", "nobody drew one")]
    assert result.usable == 3


def test_a_mask_that_covers_everything_is_made_and_told(project: Path) -> None:
    result = make(project, grow_px=60)
    assert result.covering_all == result.made


def test_masks_among_the_sources_are_refused(project: Path) -> None:
    with pytest.raises(OutputError, match="overlaps"):
        make_masks(project / "sources", [], project / "sources" / "masks", Dots())


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
