"""Our trainer beside upstream's `yolov5.classify.train`, on the same images, each with its own defaults.

    python bench/trainer_vs_upstream.py PATH [--out bench-trainer] [--seeds 3] [--columns train_longtail train]

PATH is a DeepPCB folder as examples/deeppcb.py takes it. Both train yolov5n from scratch at 64 px, batch 32; the test
folder is hidden from upstream, which would choose its best epoch by it. Each trainer does all seeds as it ships:
upstream one command a seed, with a process that loads images beside it; ours one command for all, a seed a core. One
torch thread a process. What is done is left alone. images/s = seeds x epochs x training images / seconds of the
commands, start and validation included. Without albumentations upstream 7.0.14 trains with no augmentation at all;
result.json says whether it was there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

from deeppcb import lay_out  # noqa: E402

from trainer.evaluation.evaluate import evaluate, evaluation_as_json  # noqa: E402
from trainer.models.predictions import read_predictions  # noqa: E402

IMGSZ, BATCH = 64, 32
UPSTREAM = ROOT / "bench" / "upstream_classify.py"
TRAINERS = ("upstream", "ours")


def main() -> None:
    """Run the cells that are missing, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path, help="folder with images/ and split.csv")
    parser.add_argument("--out", type=Path, default=Path("bench-trainer"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--columns", nargs="+", default=["train_longtail", "train"])
    parser.add_argument("--trainers", nargs="+", default=list(TRAINERS), choices=TRAINERS)
    asked = parser.parse_args()
    cells: list[dict[str, Any]] = []
    for column in asked.columns:
        data = asked.out / column / "data"
        if not (data / "split.csv").is_file():
            lay_out(asked.path, data, column)
        if "upstream" in asked.trainers:
            for seed in range(asked.seeds):
                cells += run_cells("upstream", data, asked.out / column / f"upstream-{seed}", [seed], asked.epochs)
        if "ours" in asked.trainers:
            cells += run_cells("ours", data, asked.out / column / "ours", list(range(asked.seeds)), asked.epochs)
    (asked.out / "result.json").write_text(json.dumps(cells, indent=2), encoding="utf-8")
    print_table(cells)


def run_cells(trainer: str, data: Path, folder: Path, seeds: list[int], epochs: int) -> list[dict[str, Any]]:
    """Train some seeds with one command, predict the test folder, judge; or read what an earlier call found."""
    done = folder / "cells.json"
    if done.is_file():
        found: list[dict[str, Any]] = json.loads(done.read_text(encoding="utf-8"))
        return found
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    images = sum(1 for path in (data / "train").glob("*/*") if path.is_file())
    print(f"{data.parent.name}, {trainer}, seeds {seeds}: {images} images", flush=True)
    command = ours(data, folder, seeds, epochs) if trainer == "ours" else upstream(data, folder, seeds[0], epochs)
    began, load = time.perf_counter(), os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    run(command, folder / "train.log")
    seconds = (time.perf_counter() - began) / len(seeds)
    cells = [
        {
            "column": data.parent.name,
            "trainer": trainer,
            "seed": seed,
            "images": images,
            "epochs": epochs,
            "seconds": seconds,
            "images_per_s": images * epochs / seconds,
            "load_before": load,
            "albumentations": find_spec("albumentations") is not None,
            **judge(trainer, data, folder, seed, several=len(seeds) > 1),
        }
        for seed in seeds
    ]
    done.write_text(json.dumps(cells, indent=2), encoding="utf-8")
    return cells


def judge(trainer: str, data: Path, folder: Path, seed: int, *, several: bool) -> dict[str, float]:
    """What a trained model is worth on the test images."""
    predictions = folder / f"predictions-{seed}.csv"
    if trainer == "ours":
        trained = folder / "run" / f"seed-{seed}" if several else folder / "run"
        command = [sys.executable, "-m", "trainer", "predict", str(trained), str(data / "test"), "-o", str(predictions)]
    else:
        best = next((folder / "run").glob("*/weights/best.pt"))
        command = [
            sys.executable,
            str(UPSTREAM),
            "predict",
            str(best),
            str(data / "test"),
            str(predictions),
            str(IMGSZ),
        ]
    run(command, folder / "predict.log")
    judged = evaluation_as_json(evaluate(read_predictions(predictions)))
    return {
        "accuracy": judged["multiclass"]["accuracy"]["value"],
        "macro_f1": judged["multiclass"]["macro_f1"],
        "miss_rate": judged["miss_rate"]["value"],
        "overkill_rate": judged["overkill_rate"]["value"],
    }


def ours(data: Path, folder: Path, seeds: list[int], epochs: int) -> list[str]:
    """Our command; all but size, batch and epochs as it ships."""
    command = [sys.executable, "-m", "trainer", "train", str(data), "-o", str(folder / "run"), "--epochs", str(epochs)]
    command += ["--imgsz", str(IMGSZ), "--batch-size", str(BATCH)]
    return command + [word for seed in seeds for word in ("--seed", str(seed))]


def upstream(data: Path, folder: Path, seed: int, epochs: int) -> list[str]:
    """Upstream's own training on a copy of the folder without test/."""
    hidden = data.parent / "data-without-test"
    for part in ("train", "val"):
        if not (hidden / part).is_dir():
            shutil.copytree(data / part, hidden / part)
    return [sys.executable, str(UPSTREAM), "train", str(hidden), str(folder / "run"),
            str(seed), str(epochs), str(IMGSZ), str(BATCH)]  # fmt: skip


def run(command: list[str], log: Path) -> None:
    """One process with one thread; its words go to `log`, its failure ends the benchmark."""
    with log.open("w", encoding="utf-8") as file:
        finished = subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    if finished.returncode:
        tail = log.read_text(encoding="utf-8", errors="replace")[-1500:]
        raise SystemExit(f"failed ({finished.returncode}): {' '.join(command)}\n{tail}")


def print_table(cells: list[dict[str, Any]]) -> None:
    """Means over seeds with their least and most; then ours against upstream."""
    print("| column | trainer | seeds | accuracy | macro-F1 | miss rate | overkill rate | minutes | images/s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for column in dict.fromkeys(cell["column"] for cell in cells):
        of = {name: [one for one in cells if (one["column"], one["trainer"]) == (column, name)] for name in TRAINERS}
        for name, rows in of.items():
            if rows:
                scores = [spread(rows, key) for key in ("accuracy", "macro_f1", "miss_rate", "overkill_rate")]
                minutes = f"{statistics.mean(row['seconds'] for row in rows) / 60:.1f}"
                cells_of_row = [column, name, str(len(rows)), *scores, minutes, spread(rows, "images_per_s", 0)]
                print(f"| {' | '.join(cells_of_row)} |")
        pairs = [
            one["images_per_s"] / other["images_per_s"]
            for one in of["ours"]
            for other in of["upstream"]
            if one["seed"] == other["seed"]
        ]
        if pairs:
            print(f"\n{column}: {statistics.median(pairs):.1f} times upstream's images/s "
                  f"({min(pairs):.1f} to {max(pairs):.1f})\n")  # fmt: skip


def spread(rows: list[dict[str, Any]], key: str, digits: int = 3) -> str:
    """Mean, least and most."""
    values = [row[key] for row in rows]
    return f"{statistics.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
