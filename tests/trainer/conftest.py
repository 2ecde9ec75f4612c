"""Small folders of pictures, generated sets and runs for the trainer's tests."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from sdclient.manifest import ImageRecord, Manifest

DrawPicture = Callable[..., Path]
MakeGenerated = Callable[..., Path]

CLASSES = ("Normal", "划痕", "dirt")


@pytest.fixture
def draw() -> DrawPicture:
    """Draws a PNG: noise, with a bright bar for "划痕" and a dark block for "dirt"."""

    def draw_picture(path: Path, label: str, number: int, *, size: int = 32) -> Path:
        rng = np.random.default_rng([sum(map(ord, label)), number])
        pixels = rng.integers(100, 140, (size, size, 3)).astype(np.uint8)
        if label == "划痕":
            pixels[size // 2 - 2 : size // 2 + 2] = 250
        elif label == "dirt":
            pixels[size // 4 : size // 2, size // 4 : size // 2] = 5
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, "PNG")
        return path

    return draw_picture


@pytest.fixture
def photos(tmp_path: Path, draw: DrawPicture) -> Path:
    """Class folders, 12 pictures each, names with and without leading zeros."""
    root = tmp_path / "照片"
    for label in CLASSES:
        for number in range(1, 13):
            draw(root / label / f"{number}.png", label, number)
    return root


@pytest.fixture
def data(tmp_path: Path, draw: DrawPicture) -> Path:
    """A DATA folder: 8 training, 3 validation and 3 test pictures a class."""
    root = tmp_path / "data"
    for part, first, last in (("train", 1, 8), ("val", 9, 11), ("test", 12, 14)):
        for label in CLASSES:
            for number in range(first, last + 1):
                draw(root / part / label / f"{number}.png", label, number)
    return root


@pytest.fixture
def make_generated(tmp_path: Path, draw: DrawPicture) -> MakeGenerated:
    """Writes a generated set: `sources` are (class, source file); each gets `count` images."""

    def make(sources: list[tuple[str, Path]], *, count: int = 2, name: str = "output") -> Path:
        output = tmp_path / name
        output.mkdir(parents=True)
        records = []
        for label, source in sources:
            source_sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
            for k in range(1, count + 1):
                file = f"{label}/{source.stem}_{k}.png"
                path = draw(output / file, label, 1000 + 10 * int(source.stem) + k)
                chunks = PngImagePlugin.PngInfo()
                chunks.add_itxt("sdclient", f'{{"class": "{label}", "source_sha256": "{source_sha256}"}}')
                with Image.open(path) as picture:
                    picture.load()
                picture.save(path, "PNG", pnginfo=chunks)
                records.append(
                    ImageRecord(
                        file=file,
                        class_name=label,
                        source=f"{label}/{source.name}",
                        source_sha256=source_sha256,
                        k=k,
                        seed=k,
                        key=f"{file}-key",
                        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                        width=32,
                        height=32,
                        server="http://127.0.0.1:7861",
                        model="classical stand-in",
                        engine="classical stand-in, not Stable Diffusion",
                        asked={"denoising_strength": 0.25},
                        used={"denoising_strength": 0.25},
                        infotext="",
                        created_at="2024-01-01T00:00:00Z",
                    )
                )
        with Manifest(output, create=True) as manifest:
            manifest.set_run({"denoising_strength": 0.25})
            manifest.add(records)
        return output

    return make


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(RUN, DATA) of one short training on easy pictures; do not change either."""
    from trainer.config import TrainingJob, make_config
    from trainer.training.train import train

    root = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 3), ("test", 3)):
        for label, level in (("Normal", 60), ("划痕", 200)):
            for number in range(count):
                folder = root / "data" / part / label
                folder.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(level - 20, level + 20, (40, 40, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    config = make_config(epochs=2, imgsz=32, batch_size=8, seed=3, device="cpu")
    train(TrainingJob(root / "data", root / "run", config), progress=False)
    return root / "run", root / "data"


@pytest.fixture(scope="session")
def two_processes() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script in two processes of one thread each, by torchrun, until both end."""

    def run(script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
        command += map(str, arguments)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, stdout=pipe, stderr=pipe, text=True, encoding="utf-8", env=environment
        ) as process:
            try:
                out, words = process.communicate(timeout=1800)
            except BaseException:
                process.terminate()  # torchrun then ends the two
                process.communicate()
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, words)

    return run


@pytest.fixture
def locked_folder(tmp_path: Path) -> Path:
    """A folder that cannot be written; skips where rights do not bind (root)."""
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        shutil.rmtree(folder)
        pytest.skip("this user may write everywhere, so rights cannot be tested")
    return folder
