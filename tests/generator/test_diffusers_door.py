"""Importing diffusers, in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_it_opens_quietly_and_gives_networks_and_schedulers() -> None:
    done = run(
        "from generator._diffusers import import_diffusers as i; d = i(); "
        "print(d.UNet2DModel.__name__, d.EulerDiscreteScheduler.__name__)"
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "UNet2DModel EulerDiscreteScheduler", "")


def test_a_missing_package_is_one_line_with_the_command_that_installs_it() -> None:
    done = run(
        "import sys; sys.modules['diffusers'] = None\n"
        "from generator._diffusers import import_diffusers\n"
        "from generator.errors import MissingExtra\n"
        "try: import_diffusers()\n"
        "except MissingExtra as error: print(error)"
    )
    assert 'pip install "sd-defects[diffusion]"' in done.stdout, done.stderr
