"""Building YOLOv5 classifiers without side effects on the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
import torch

from trainer.config import MODELS
from trainer.models.yolov5 import build_classifier

IMPORT_IS_CLEAN = """
import os, socket, sys, warnings
warnings.simplefilter("error")
home = set(os.listdir(os.environ["HOME"]))
def refuse(*a, **k):
    raise AssertionError("the network was asked")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import numpy, torch
import PIL.Image
torch.set_num_threads(2)
def state():
    return (
        dict(os.environ), list(sys.path), torch.get_num_threads(), torch.save, PIL.Image.open,
        PIL.Image.MAX_IMAGE_PIXELS, str(numpy.get_printoptions()), repr(torch.tensor([1 / 3])), list(warnings.filters),
    )
before = state()
from trainer.models.yolov5 import build_classifier
build_classifier("yolov5n-cls", 2)
for one, other in zip(before, state(), strict=True):
    assert one == other, (one, other)
import cv2
print(cv2.getNumThreads(), set(os.listdir(os.environ["HOME"])) - home)
"""


def test_using_yolov5_leaves_the_process_the_home_and_the_network_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its fonts are matplotlib's own business, and looking for them anew would take long.
    monkeypatch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("YOLO_CONFIG_DIR", raising=False)
    done = subprocess.run([sys.executable, "-c", IMPORT_IS_CLEAN], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    threads, _, new = done.stdout.strip().partition(" ")
    assert int(threads) >= 1
    assert new == "set()"
    assert done.stderr == ""


@pytest.mark.parametrize(("model", "millions"), list(zip(MODELS, [1.22, 4.18, 11.7, 25.3, 46.8], strict=True)))
def test_sizes_are_those_of_upstream(model: str, millions: float) -> None:
    network = build_classifier(model, 3)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.005)


def test_a_seed_decides_the_fresh_weights() -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(build_classifier("yolov5n-cls", 4).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])
    assert states[0]["model.9.linear.weight"].shape == (4, 1280)


def test_a_missing_system_library_is_reported_in_words() -> None:
    code = (
        "import sys, importlib.abc\n"
        "class NoDisplay(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'cv2': raise ImportError('libGL.so.1: cannot open shared object file')\n"
        "sys.meta_path.insert(0, NoDisplay())\n"
        "from trainer.models.yolov5 import build_classifier\n"
        "from trainer.errors import TrainerError\n"
        "try: build_classifier('yolov5n-cls', 2)\n"
        "except TrainerError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert "libGL.so.1" in done.stdout
    assert "opencv-python-headless" in done.stdout
