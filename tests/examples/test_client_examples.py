"""The client's examples run as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from sdclient.serve.app import running_server

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "client"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_server() as server:
        yield server.url


def run(name: str, url: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        env={**os.environ, "SDCLIENT_URL": url, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "焊盘.png"
    Image.effect_noise((512, 512), 60).save(path)
    return path


@pytest.mark.parametrize("name", ["one_image.py", "progress.py"])
def test_an_image_is_made(name: str, url: str, photograph: Path, tmp_path: Path) -> None:
    done = run(name, url, photograph, tmp_path / "out.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out.png") as image, Image.open(photograph) as source:
        assert image.size == (512, 512)
        assert ImageChops.difference(image.convert("L"), source).getbbox() is not None


def test_only_the_masked_area_changes(url: str, photograph: Path, tmp_path: Path) -> None:
    done = run("mask.py", url, photograph, tmp_path / "out.png", 100, 120, 200, 260)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out.png") as image, Image.open(photograph) as source:
        box = ImageChops.difference(image.convert("L"), source).getbbox()
    assert box is not None
    assert box[0] >= 100
    assert box[1] >= 120
    assert box[2] <= 201
    assert box[3] <= 261


def test_a_server_without_controlnet_is_told_in_one_line(url: str, photograph: Path, tmp_path: Path) -> None:
    done = run("controlnet.py", url, photograph, tmp_path / "out.png", "control_v11p_sd15_canny")
    assert done.returncode == 1
    assert "Script 'ControlNet' not found" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_servers_share_a_folder(url: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4):
        Image.effect_noise((64, 64), 60).save(tmp_path / "in" / f"{number}.png")
    with running_server() as second:
        done = run("two_servers.py", url, tmp_path / "in", tmp_path / "out", url, second.url)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png", "2.png", "3.png"]
    assert sum(int(line.split()[-2]) for line in done.stdout.splitlines()) == 4
