"""Users' code passes mypy --strict as it is: without the pydantic plugin and without this project's settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

USAGE = Path(__file__).with_name("typing_usage.py")

WRONG = """
from sdclient.models import ControlNetUnit, Img2ImgRequest, Txt2ImgRequest, alwayson

Img2ImgRequest(init_images=[3])
Img2ImgRequest()
Txt2ImgRequest(steps="20")
Txt2ImgRequest(no_such_field=1)
ControlNetUnit(control_mode="balanced")
alwayson({"model": "x"})
"""


def mypy(file: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    config = folder / "mypy.ini"
    cache = (folder / "cache").as_posix()
    config.write_text(f"[mypy]\nstrict = True\ncache_dir = {cache}\n", encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(config), str(file)]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", cwd=folder, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the settings and mypy's cache lie, shared by both runs."""
    return tmp_path_factory.mktemp("mypy")


def test_users_code_type_checks(folder: Path) -> None:
    found = mypy(USAGE, folder)
    assert found.returncode == 0, found.stdout + found.stderr


def test_users_mistakes_are_found(folder: Path) -> None:
    file = folder / "wrong.py"
    file.write_text(WRONG, encoding="utf-8")
    found = mypy(file, folder)
    lines = {int(line.split(":")[1]) for line in found.stdout.splitlines() if ": error:" in line}
    assert lines == set(range(4, 10)), found.stdout
