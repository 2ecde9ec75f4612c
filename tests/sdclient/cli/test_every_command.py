"""Every command of `sdclient` prints alike: --json, a narrow terminal and a closed pipe."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from sdclient.cli import cli
from sdclient.masks.mask import write_mask
from sdclient.testing import serve_webui
from tests.support.commands import Arguments, check_closed_pipe, check_json, check_narrow, takes_json

GetArguments = Callable[[str], Arguments]

COMMANDS = {
    "compose": "{root}/sources {root}/sources/Normal {root}/transplants --masks {root}/masks --per-class 1 --workers 1",
    "crop": "{root}/photos {root}/crops --tile 32",
    "curate": "{root}/output --dry-run --workers 1",
    "export": "{root}/output {root}/data/train --uncurated",
    "generate": "{root}/sources {root}/output --per-source 1 --url {url} --native-size 64 --steps 4",
    "info": "--url {url}",
    "manifest": "{root}/output",
    "mask": "{root}/sources {root}/new-masks --from-masks {root}/masks",
    "number": "{root}/photos {root}/sources",
    "plan": "{root}/sources --target 5 -o {root}/plan.csv",
    "probe": "{root}/sources {new}.png --url {url} --sizes 64 --strengths 0.3 --per-class 1 --steps 2",
    "retry": "{root}/output",
    "review": "{root}/output --no-browser",
    "serve": "--port 0",
    "status": "{root}/output",
    "verify": "{root}/output",
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Address of the embedded WebUI."""
    with serve_webui() as server:
        yield server.url


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, url: str) -> Path:
    """Photos, numbered sources, the mask of a dark spot, and an output of one image for each source."""
    folder = tmp_path_factory.mktemp("commands")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:48, 0:48]
    spot = np.hypot(x - 24, y - 24) < 5
    for name, number in (("漏铜", 1), ("Normal", 1), ("Normal", 2)):
        levels = rng.normal(140, 3, (48, 48))
        levels[spot & (name != "Normal")] = 30
        path = folder / "photos" / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels.astype(np.uint8)).save(path)
    write_mask(folder / "masks" / "漏铜" / "1.png", Image.fromarray(spot.astype(np.uint8) * np.uint8(255)))
    for command in ("number", "generate"):
        arguments = [command, *COMMANDS[command].format(root=folder, url=url).split()]
        done = CliRunner(catch_exceptions=False).invoke(cli, arguments)
        assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def arguments_of(root: Path, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> GetArguments:
    """Arguments of a command by its name; the pages and servers that wait for Ctrl-C end at once."""

    def serve_review(output: Path, *, on_ready: Callable[[str], None], **options: Any) -> Any:
        on_ready("http://127.0.0.1:5/?token=t")
        return SimpleNamespace(decided=SimpleNamespace(accepted=2, rejected=1, cleared=0), masks=0)

    monkeypatch.setattr("sdclient.review.serving.serve_review", serve_review)
    monkeypatch.setattr("sdclient.serve.app.run_until_stopped", lambda *_, **__: None)
    numbers = itertools.count()

    def arguments_of(name: str) -> Arguments:
        def arguments() -> list[str]:
            new = tmp_path / f"new-{next(numbers)}"
            return [name, *COMMANDS[name].format(root=root, url=url, new=new).split()]

        return arguments

    return arguments_of


def test_every_command_is_here() -> None:
    assert set(COMMANDS) == set(cli.commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_narrow_terminal_loses_nothing(
    name: str, arguments_of: GetArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_narrow(cli, arguments_of(name), monkeypatch)


@pytest.mark.parametrize("name", sorted(takes_json(cli)))
def test_json_is_all_that_is_printed(name: str, arguments_of: GetArguments) -> None:
    check_json(cli, arguments_of(name), documents=2 if name == "review" else 1)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_closed_pipe_ends_quietly(name: str, arguments_of: GetArguments, capsys: pytest.CaptureFixture[str]) -> None:
    check_closed_pipe(cli, arguments_of(name), capsys)
