"""Training in one process and in two that torchrun starts, ours and upstream's, as ratios of images/s in one run.

    python bench/ddp.py [--rounds 3] [--images 480] [--epochs 4] [--imgsz 64] [--model n] [--processes 2]
                        [--contenders one,upstream] [--device cpu] [--json FILE]

Every contender trains the same network from scratch on the same pictures of noise by a command of its own, with one
torch thread a process and the same batch, one after the other in each round. images/s = training images of an epoch /
seconds of that epoch with its validation and its files, the median of all epochs but the first; starting is left out.

    one          trainer train
    halves       trainer train --accumulate 2 (the same parts as two processes)
    together     torchrun --nproc-per-node 2 -m trainer train
    upstream     yolov5.classify.train with the loader it ships (a worker process a core)
    upstream x2  the same by torchrun; it takes CUDA alone, and what it says on a CPU is recorded
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from report import Report, load, spread

ROOT = Path(__file__).resolve().parents[1]
CONTENDERS = ("one", "halves", "together", "upstream", "upstream x2")
RATIOS = (("together", "one"), ("together", "halves"), ("together", "upstream"), ("one", "upstream"))


def main() -> None:
    """Run the rounds, print the tables, save what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=480)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--imgsz", type=int, default=64)
    parser.add_argument("--model", default="n", choices=list("nsmlx"))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="some of them; default all")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--json", type=Path, help="every run, for scripts")
    asked = parser.parse_args()
    chosen = asked.contenders.split(",")
    if unknown := set(chosen) - set(CONTENDERS):
        parser.error(f"--contenders: found {', '.join(sorted(unknown))}; expected some of {', '.join(CONTENDERS)}")
    if asked.epochs < 2:
        parser.error("--epochs: found 1; the first epoch is left out, so give 2 or more")
    what = f"images/s of a training epoch, yolov5{asked.model}-cls at {asked.imgsz} px: one process, several, upstream"
    report = Report("ddp", what, packages=("torch", "yolov5", "numpy", "pillow"), settings=vars(asked))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-ddp-") as name:
        folder = Path(name)
        draw_pictures(folder / "data", asked.images, asked.imgsz)
        refusal = ""
        for number in range(asked.rounds):
            for contender in (one for one in chosen if one != "upstream x2"):
                rows.append(measure(contender, folder, number, asked))
                print(f"round {number + 1}: {contender} {rows[-1]['images_per_s']:.0f} images/s", flush=True)
            if "upstream x2" in chosen and not refusal:
                try:
                    rows.append(measure("upstream x2", folder, number, asked))
                except Refused as why:
                    refusal = str(why)
    print_tables(report, rows, refusal)
    if {"one", "upstream"} <= set(chosen):
        report.goal("images/s, one / upstream", ratios(rows, "one", "upstream"), at_least=1)
    report.finish(asked.json, {"rows": rows, "upstream x2": refusal or "ran"})


class Refused(Exception):
    """A command ended with an error; its last words."""


def draw_pictures(data: Path, images: int, side: int) -> None:
    """Noise of two grey levels, half each; 32 for validation."""
    rng = np.random.default_rng(0)
    for part, count in (("train", images), ("val", 32)):
        for label, level in (("Normal", 90), ("defect", 160)):
            folder = data / part / label
            folder.mkdir(parents=True)
            for number in range(count // 2):
                pixels = rng.integers(level - 60, level + 60, (side, side, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")


def measure(contender: str, folder: Path, number: int, asked: argparse.Namespace) -> dict[str, Any]:
    """One training; its images/s and the load of the machine around it."""
    run = folder / f"{contender.replace(' ', '-')}-{number}"
    together = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    together += ["--nproc-per-node", str(asked.processes)]
    if contender.startswith("upstream"):
        run.mkdir()
        words = ["train", folder / "data", run / "run", 0, asked.epochs, asked.imgsz, asked.batch, asked.device]
        words.append(asked.model)
        script = [str(ROOT / "bench" / "upstream_classify.py"), *map(str, words)]
        command = [*(together if contender == "upstream x2" else [sys.executable]), *script]
    else:
        options = f"--epochs {asked.epochs} --imgsz {asked.imgsz} --batch-size {asked.batch}".split()
        options += ["--device", asked.device, "--model", f"yolov5{asked.model}-cls"]
        if contender == "halves":
            options += ["--accumulate", str(asked.processes)]
        start = together if contender == "together" else [sys.executable]
        command = [*start, "-m", "trainer", "train", str(folder / "data"), "-o", str(run), *options]
    load_before, began = load(), time.perf_counter()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        start_new_session=True,  # as torchrun starts its own: Linux deals out a busy machine's time by session
    )
    if done.returncode:
        errors = [line.strip() for line in done.stderr.splitlines() if "Error" in line]
        if contender == "upstream x2":
            raise Refused(errors[0] if errors else "no words")
        raise SystemExit(f"{contender} failed: {done.stderr[-1500:]}")
    seconds = upstream_epochs(run) if contender.startswith("upstream") else own_epochs(run)
    return {
        "contender": contender,
        "round": number,
        "images_per_s": asked.images / statistics.median(seconds[1:]),
        "epoch_s": seconds,
        "command_s": time.perf_counter() - began,
        "load_before": load_before,
        "load_after": load(),
    }


def own_epochs(run: Path) -> list[float]:
    """Seconds of each epoch, validation included, from the run's own record."""
    with (run / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return [float(row["seconds"]) for row in csv.DictReader(file)]


def upstream_epochs(run: Path) -> list[float]:
    """Seconds between the ends of upstream's epochs; the first counts from the start of its training."""
    ends: list[float] = json.loads((run / "epoch_ends.json").read_text(encoding="utf-8"))
    return [after - before for before, after in pairwise(ends)]


def ratios(rows: list[dict[str, Any]], one: str, other: str) -> list[float]:
    """Of images/s, round by round."""
    by_round = {(row["contender"], row["round"]): row["images_per_s"] for row in rows}
    return [rate / by_round[other, number] for (name, number), rate in by_round.items() if name == one]


def print_tables(report: Report, rows: list[dict[str, Any]], refusal: str) -> None:
    """Images/s, then the ratios; medians with the least and the most over the rounds."""
    lines = []
    for name in dict.fromkeys(row["contender"] for row in rows):
        own = [row for row in rows if row["contender"] == name]
        rates, commands = ([row[key] for row in own] for key in ("images_per_s", "command_s"))
        lines.append([name, spread(rates, 0), spread(commands, 0)])
    report.table("Training", ["contender", "images/s", "whole command, s"], lines)
    ran = {row["contender"] for row in rows}
    pairs = [[f"{one} / {other}", spread(ratios(rows, one, other))] for one, other in RATIOS if {one, other} <= ran]
    report.table("Ratios of images/s", ["ratio", "median (least to most)"], pairs)
    if refusal:
        print(f"upstream by torchrun: {refusal}")


if __name__ == "__main__":
    main()
