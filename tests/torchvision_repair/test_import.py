from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_torchvision_imports_whether_or_not_its_operators_load() -> None:
    code = "from torchvision_repair import import_torchvision as i; i(); i(); import torchvision.models as m; print(m)"
    assert "torchvision" in run(code)


def test_where_the_import_works_nothing_is_defined() -> None:
    # A stand-in for a torchvision whose operators load.
    code = (
        "import sys, types; sys.modules['torchvision'] = types.ModuleType('torchvision')\n"
        "import torchvision_repair as t; t.import_torchvision(); print(t._kept_alive)"
    )
    assert run(code) == "[]"


def test_another_failure_of_the_import_is_not_hidden() -> None:
    code = (
        "import importlib, torchvision_repair as t\n"
        "def broken(name): raise RuntimeError('out of patience')\n"
        "importlib.import_module = broken\n"
        "try: t.import_torchvision()\n"
        "except RuntimeError as error: print(error)"
    )
    assert run(code) == "out of patience"
