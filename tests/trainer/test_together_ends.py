"""However one of two processes ends, so does the other, in order; each case is a launch of torchrun."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.evaluation.history import read_history

TwoProcesses = Callable[..., subprocess.CompletedProcess[str]]
SCRIPT = Path(__file__).parents[1] / "support" / "torchrun_ends.py"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to pass on")
@pytest.mark.parametrize(
    ("what", "codes", "words"),
    [
        (
            "stop",
            {"0": "130", "1": "130"},
            "stopped; epochs 1 to {epochs} are saved in {run}, and the same command goes on",
        ),
        ("fail", {"0": "1", "1": "1"}, "Error: process 1 of 2 (counted from 0): this picture cannot be had here"),
        ("die", {"0": "1"}, "Error: process 0 of 2 (counted from 0): another one died without a word"),
    ],
)
def test_all_end_with_one_line(
    what: str, codes: dict[str, str], words: str, data: Path, tmp_path: Path, two_processes: TwoProcesses
) -> None:
    done = two_processes(SCRIPT, what, tmp_path)
    assert done.returncode == 1, done.stderr
    assert {path.name[-1]: path.read_text(encoding="utf-8") for path in tmp_path.glob("exit-*")} == codes
    lines = done.stderr.splitlines()
    said = [line for line in lines if line.startswith(("Error:", "stopped"))]
    assert len(said) == 1
    epochs = len(read_history(tmp_path / "run").epochs)
    assert said[0].startswith(words.format(run=tmp_path / "run", epochs=epochs))
    # The word to stop takes its way through torchrun, and the training goes on until it comes.
    assert epochs >= 2 if what == "stop" else epochs == 2
    # Torchrun's own words have a traceback of its own, and none of ours.
    assert not [line for line in lines if 'File "' in line and str(Path(__file__).parents[2] / "trainer") in line]
    assert (tmp_path / "run" / "resume.pt").is_file()
