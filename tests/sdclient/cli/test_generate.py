"""`sdclient generate --until-accepted` on the embedded server, with the filters of `sdclient curate`."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageDraw, ImageFilter
from rich.console import Console

from sdclient.batch import ServerStatus
from sdclient.cli import cli
from sdclient.cli._run_view import server_rows, watched
from sdclient.manifest import Curation, Manifest
from sdclient.testing import WebUIServer


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Five grainy plates with a scratch each."""
    folder = tmp_path / "sources" / "scratch"
    folder.mkdir(parents=True)
    for number in range(1, 6):
        grain = np.random.default_rng(number).normal(120, 18, (64, 64)).clip(0, 255).astype(np.uint8)
        plate = Image.fromarray(grain).filter(ImageFilter.GaussianBlur(0.8))
        ImageDraw.Draw(plate).line((8, 6 * number, 56, 60 - 6 * number), fill=230, width=3)
        plate.save(folder / f"{number}.png")
    return folder.parent


def generate(server: WebUIServer, sources: Path, output: Path, *options: str) -> Result:
    command = ["generate", str(sources), str(output), "--url", server.url, "--native-size", "64", "--steps", "4"]
    return CliRunner().invoke(cli, [*command, "--per-source", "2", "--batch-size", "2", *options])


def test_it_ends_when_the_planned_number_is_accepted(webui_server: WebUIServer, sources: Path, tmp_path: Path) -> None:
    done = generate(webui_server, sources, tmp_path / "out", "--until-accepted", "--json")
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    with Manifest(tmp_path / "out") as manifest:
        accepted = Curation(manifest).accepted_files()
        made = list(manifest.images())
    assert summary["planned"] == 10
    assert summary["accepted"] == min(10, len(accepted)) == 10
    assert summary["made"] == len(made)
    assert {source["owed"] for source in summary["classes"][0]["sources"]} == {2}
    assert any(record.asked["denoising_strength"] == 0.3 for record in made)


def test_a_class_that_falls_short_is_reported_and_ends_with_1(
    webui_server: WebUIServer, sources: Path, tmp_path: Path
) -> None:
    options = ("--until-accepted", "--strength-range", "0.01:0.02", "--budget", "1")
    done = generate(webui_server, sources, tmp_path / "out", *options)
    assert done.exit_code == 1
    assert "its budget of 10 images is spent" in done.stdout
    assert "--budget" in done.stdout
    assert "Traceback" not in done.output


def test_a_given_strength_is_where_it_begins(webui_server: WebUIServer, sources: Path, tmp_path: Path) -> None:
    generate(webui_server, sources, tmp_path / "out", "--until-accepted", "--denoising-strength", "0.35", "--json")
    with Manifest(tmp_path / "out") as manifest:
        first = next(record for record in manifest.images() if record.k == 1)
    assert first.asked["denoising_strength"] == 0.35


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--strength-range", "0.2:0.3"), "need --until-accepted"),
        (("--budget", "3"), "need --until-accepted"),
        (("--until-accepted", "--strength-range", "0.4"), "low:high"),
        (("--until-accepted", "--strength-range", "0.4:0.2"), "above its upper end"),
        (("--until-accepted", "--denoising-strength", "0.6"), "outside the strength range"),
        (("--until-accepted", "--set", "denoising_strength=0.2,0.3"), "is a list"),
        (("--until-accepted", "--budget", "0.5"), "x>=1"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(
    webui_server: WebUIServer, sources: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    done = generate(webui_server, sources, tmp_path / "out", *options)
    assert done.exit_code != 0
    assert words in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "out").exists()


STATUSES = [
    ServerStatus("fast", "working", 12, 2.5, 2, 0),
    ServerStatus("slow [b]", "away: refused the connection", 3, 0.75, 0, 4),
]


def screen() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_each_server_has_a_row_with_its_rate_queue_errors_and_state() -> None:
    rows = [[str(cell) for cell in row] for row in server_rows(STATUSES)]
    assert ["fast", "working", "12", "2.50", "2", "0"] in rows
    assert ["slow [b]", "away: refused the connection", "3", "0.75", "0", "4"] in rows


def test_the_table_on_a_terminal_is_asked_for_anew_while_images_come() -> None:
    console, asked = screen(), 0

    def statuses() -> Sequence[ServerStatus]:
        nonlocal asked
        asked += 1
        return [ServerStatus("one", "working", asked, 1.0, 1, 0), STATUSES[0]]

    with watched(2, 2, statuses, console) as made:
        made(1)
        made(1)
    assert asked >= 2
    assert "2/2" in text_of(console)
    assert "queue 排队" in text_of(console)


def test_one_server_has_a_bar_alone() -> None:
    console = screen()
    with watched(3, 1, lambda: STATUSES[:1], console) as made:
        made(1)
    assert "1/3" in text_of(console)
    assert "queue" not in text_of(console)


def test_what_is_piped_gets_a_bar_and_no_table() -> None:
    console = Console(file=io.StringIO(), width=120)
    with watched(3, 2, lambda: STATUSES, console) as made:
        made(1)
    assert "1/3" in text_of(console)
    assert "queue" not in text_of(console)
