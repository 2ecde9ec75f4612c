"""The API reference is generated from the docstrings, and leaves no public name out."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import sdclient
from sdclient import errors, models


def test_every_public_class_has_a_docstring_of_its_own() -> None:
    for module in (sdclient, models, errors):
        names = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
        for name in names:
            thing = getattr(module, name)
            if inspect.isclass(thing) and thing.__module__.startswith("sdclient"):
                assert "__doc__" in vars(thing) and (thing.__doc__ or "").strip(), name  # noqa: PT018


def test_every_method_of_the_client_has_a_docstring() -> None:
    methods = [name for name in dir(sdclient.WebUI) if not name.startswith("_")]
    assert len(methods) > 30
    for name in methods:
        assert inspect.getdoc(inspect.getattr_static(sdclient.WebUI, name)), name


def test_the_reference_builds_and_names_everything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pdoc", "--docformat", "google", "--output-directory", str(tmp_path)]
    done = subprocess.run(
        [*command, "sdclient.client", "sdclient.models", "sdclient.errors"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    pages = {
        path.relative_to(tmp_path).as_posix(): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")
    }
    for name in models.__all__:
        assert f'id="{name}"' in pages["sdclient/models.html"], name
    assert 'id="WebUI.img2img"' in pages["sdclient/client.html"]
