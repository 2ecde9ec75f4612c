"""The client alone must stay light: what it imports, and how fast it says what it can do."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

HEAVY = {
    "torch",
    "torchvision",
    "yolov5",
    "ultralytics",
    "cv2",
    "numpy",
    "scipy",
    "pandas",
    "matplotlib",
    "fastapi",
    "starlette",
    "uvicorn",
    "jinja2",
    "sklearn",
    "diffusers",
    "transformers",
    "accelerate",
    "peft",
    "ray",
}


def modules_after(code: str) -> set[str]:
    """Top-level modules a fresh interpreter has loaded after running `code`."""
    script = (
        f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import sdclient; sdclient.WebUI",
        "import sys; sys.argv=['sdclient', '--help']; import sdclient.__main__",
        "import sys; sys.argv=['trainer', '--help']; import trainer.__main__",
        "import sys; sys.argv=['generator', '--help']; import generator.__main__",
        "import sdclient.manifest",
    ],
)
def test_heavy_modules_stay_out(code: str) -> None:
    loaded = modules_after(code)
    assert loaded & {"sdclient", "trainer", "generator"}
    assert not loaded & HEAVY


@pytest.mark.parametrize("module", ["manifest", "manifest.database", "manifest.curation", "manifest.tables"])
def test_reading_a_manifest_needs_the_standard_library_alone(module: str) -> None:
    loaded = modules_after(f"import sdclient.{module}")
    assert not loaded & {"requests", "pydantic", "PIL", "click", "rich", "tqdm", "numpy"}


@pytest.mark.parametrize("program", ["sdclient", "trainer", "generator"])
def test_help_needs_neither_client_nor_pictures(program: str) -> None:
    code = f"import sys; sys.argv=['{program}', '--help']; import {program}.__main__"
    assert not modules_after(code) & {"requests", "pydantic", "PIL", "tqdm"}


def test_help_answers_within_a_second() -> None:
    fastest = min(_seconds_of_help() for _ in range(3))
    assert fastest < 1.0


def _seconds_of_help() -> float:
    """Processor time of the child process, which other programs on the machine do not stretch; elsewhere wall time."""
    begin, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-m", "sdclient", "--help"], capture_output=True, check=True)
    after = os.times()
    spent = after.children_user - before.children_user + after.children_system - before.children_system
    return spent or time.perf_counter() - begin
