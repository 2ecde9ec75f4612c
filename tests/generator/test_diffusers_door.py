"""Importing diffusers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from generator._diffusers import import_diffusers
from generator.errors import MissingExtra


def test_it_opens_quietly_and_gives_networks_and_schedulers() -> None:
    code = (
        "from generator._diffusers import import_diffusers as i; d = i(); "
        "print(d.UNet2DModel.__name__, d.EulerDiscreteScheduler.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "UNet2DModel EulerDiscreteScheduler", "")


def test_a_missing_package_is_one_line_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtra, match=r'diffusion \(diffusers\).*pip install "sd-defects\[diffusion\]"'):
        import_diffusers()
