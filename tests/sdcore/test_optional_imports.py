"""Importing torchvision and diffusers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sdcore.errors import MissingExtra
from sdcore.optional_imports import import_diffusers


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_torchvision_imports_whether_or_not_its_operators_load() -> None:
    code = (
        "from sdcore.optional_imports import import_torchvision as i; i(); i(); "
        "import torchvision.models as m; print(m)"
    )
    assert "torchvision" in run(code)


def test_where_the_import_works_nothing_is_defined() -> None:
    # A stand-in for a torchvision whose operators load.
    code = (
        "import sys, types; sys.modules['torchvision'] = types.ModuleType('torchvision')\n"
        "import sdcore.optional_imports as t; t.import_torchvision(); print(t._kept_alive)"
    )
    assert run(code) == "[]"


def test_another_failure_of_the_import_is_not_hidden() -> None:
    code = (
        "import importlib, sdcore.optional_imports as t\n"
        "def broken(name): raise RuntimeError('out of patience')\n"
        "importlib.import_module = broken\n"
        "try: t.import_torchvision()\n"
        "except RuntimeError as error: print(error)"
    )
    assert run(code) == "out of patience"


def test_it_opens_quietly_and_gives_networks_and_schedulers() -> None:
    code = (
        "from sdcore.optional_imports import import_diffusers as i; d = i(); "
        "print(d.UNet2DModel.__name__, d.EulerDiscreteScheduler.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "UNet2DModel EulerDiscreteScheduler", "")


def test_a_missing_package_is_one_line_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtra, match=r'diffusion \(diffusers\).*pip install "sd-defects\[diffusion\]"'):
        import_diffusers()


def test_the_command_that_misses_a_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchsde", None)
    with pytest.raises(MissingExtra, match=r"'sdclient serve' \(torchsde\) needs the extra 'diffusion'"):
        import_diffusers("'sdclient serve'", also=("torchsde",))
