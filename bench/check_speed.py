"""`trainer check` on 20,000 small images against plain loops of Pillow and cleanvision, each a command of its own.

    python bench/check_speed.py [--images 20000] [--cleanvision 20000] [--rounds 3] [--json FILE]

    verify       Pillow's verify() of every file: headers and PNG checksums, no pixel is decoded
    load         Pillow's load() of every file: all pixels decoded
    check        trainer check: decoded, hashed twice, copies, look-alikes, outliers; as many processes as it chooses
    cleanvision  its default issues, two processes (pip install cleanvision)

Half of the images are JPEG, half PNG, of 96 px; one in a hundred is broken: cut off, empty, or text. The whole command
counts, with its start. --cleanvision says on how many images cleanvision is tried, since it takes a minute for 20,000;
`trainer check` is timed on these, too. None of these is broken: cleanvision ends with a traceback at the first that is.
All files were just written, so that no disk is measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from report import Report, spread

ROOT = Path(__file__).resolve().parents[1]
SIDE_PX = 96
BROKEN_EVERY = 100
_CHUNK = 250


def main() -> None:
    """Draw the images, run the rounds, print the tables."""
    if len(sys.argv) == 3 and sys.argv[1] in PEERS:
        print(PEERS[sys.argv[1]](Path(sys.argv[2])))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--cleanvision", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    report = Report(
        "check",
        "trainer check against loops of Pillow and cleanvision",
        packages=("pillow", "numpy", "cleanvision"),
        settings=vars(asked),
    )
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="check-speed-") as name:
        whole, part = Path(name, "whole"), Path(name, "part")
        draw(whole, asked.images, broken_every=BROKEN_EVERY)
        contenders = {"verify": whole, "load": whole, "check": whole}
        if importlib.util.find_spec("cleanvision") is None:
            print("cleanvision is not installed, so there is no row of it: pip install cleanvision")
        else:
            draw(part, asked.cleanvision, broken_every=0)
            contenders |= {"check, fewer": part, "cleanvision": part}
        for _ in range(asked.rounds):
            runs += [measure(contender, folder) for contender, folder in contenders.items()]
    rows = []
    for contender in contenders:
        own = [run for run in runs if run["contender"] == contender]
        rows.append(
            [
                contender,
                f"{own[0]['files']:,}",
                spread([run["images_per_s"] for run in own], 0),
                spread([run["cpu_ms"] for run in own], 2),
                own[0]["found"],
            ]
        )
    report.table(
        f"Images of {SIDE_PX} px, one in {BROKEN_EVERY} broken",
        ["contender", "files", "images/s", "CPU ms an image", "broken ones found"],
        rows,
    )
    ratios = {
        f"{one} / {other}": [
            mine["images_per_s"] / its["images_per_s"] for mine, its in zip(of(runs, one), of(runs, other), strict=True)
        ]
        for one, other in (("check", "verify"), ("check", "load"), ("check, fewer", "cleanvision"))
    }
    shown = [[name, spread(values)] for name, values in ratios.items() if values]
    report.table("Ratios of images/s", ["ratio", "median (least to most)"], shown)
    if ratios["check, fewer / cleanvision"]:
        report.goal("images/s, trainer check / cleanvision", ratios["check, fewer / cleanvision"], at_least=1)
    report.finish(asked.json, runs)


def of(runs: list[dict[str, Any]], contender: str) -> list[dict[str, Any]]:
    """Those of one contender, in the order of the rounds."""
    return [run for run in runs if run["contender"] == contender]


def draw(root: Path, count: int, *, broken_every: int) -> None:
    """Coloured blobs with noise, each its own, in two classes; 0 breaks none."""
    for label in ("Normal", "open"):
        (root / label).mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        starts = range(0, count, _CHUNK)
        jobs = [pool.submit(_draw_some, root, range(s, min(s + _CHUNK, count)), broken_every) for s in starts]
        for job in jobs:
            job.result()


def _draw_some(root: Path, numbers: range, broken_every: int) -> None:
    for number in numbers:
        chance = np.random.default_rng(number)
        blobs = Image.fromarray(chance.integers(0, 256, (6, 6, 3)).astype(np.uint8))
        smooth = np.asarray(blobs.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC), dtype=np.int16)
        picture = Image.fromarray((smooth + chance.integers(-8, 9, smooth.shape)).clip(0, 255).astype(np.uint8))
        path = root / ("Normal" if number % 2 else "open") / f"{number}.{'jpg' if number % 4 < 2 else 'png'}"
        picture.save(path)
        if broken_every and number % broken_every == 0:
            content = path.read_bytes()
            faults = (content[: len(content) // 2], b"", b"<html>no such picture</html>", content[:-200])
            path.write_bytes(faults[number // broken_every % len(faults)])


def measure(contender: str, folder: Path) -> dict[str, Any]:
    """One command: images/s, processor time and how many broken files it told of."""
    command = [sys.executable, str(Path(__file__).resolve()), contender, str(folder)]
    if contender.startswith("check"):
        command = [sys.executable, "-m", "trainer", "check", str(folder)]
    files = sum(1 for _ in folder.rglob("*.*"))
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(
        command,
        capture_output=True,
        cwd=ROOT,
        text=True,
        encoding="utf-8",
        start_new_session=True,  # Linux deals out a busy machine's time by session
    )
    seconds, after = time.perf_counter() - began, os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    # `trainer check` exits with 1 for broken files.
    if done.returncode not in ((0, 1) if contender.startswith("check") else (0,)):
        raise SystemExit(f"{contender} failed: {done.stderr[-1500:]}")
    told = re.search(r"(\d+) bad files", done.stdout)
    found = told.group(1) if told else done.stdout.split()[-1]
    return {
        "contender": contender,
        "files": files,
        "seconds": seconds,
        "images_per_s": files / seconds,
        "cpu_ms": 1000 * cpu_s / files,
        "found": found,
    }


def loop(folder: Path, *, load: bool) -> str:
    """How many files Pillow refuses."""
    refused = 0
    for path in sorted(folder.rglob("*.*")):
        try:
            with Image.open(path) as picture:
                if load:
                    picture.load()
                else:
                    picture.verify()
        except Exception:  # Pillow raises many kinds
            refused += 1
    return str(refused)


def clean(folder: Path) -> str:
    """Its default issues; none is about broken files."""
    from cleanvision import Imagelab

    lab = Imagelab(data_path=str(folder))
    lab.find_issues(n_jobs=2, verbose=False)
    return "-"


PEERS = {
    "verify": lambda folder: loop(folder, load=False),
    "load": lambda folder: loop(folder, load=True),
    "cleanvision": clean,
}


if __name__ == "__main__":
    main()
