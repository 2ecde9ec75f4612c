"""`trainer predict` against upstream's own predict and a plain loop of onnxruntime, with the same fresh weights.

    python bench/predict_speed.py [--sizes 64 224] [--images 4000 1000] [--rounds 3] [--json FILE]

    ours              trainer predict RUN, with all it chooses itself
    ours, onnx        trainer predict RUN.onnx
    onnxruntime       a loop over the same exported file: our decoding, batches of 64, its own choice of threads
    upstream          yolov5.classify.predict as it ships but for --nosave: one image after the other
    upstream, saving  the same with its default, which writes every image with its classes drawn into it
    limit             the network alone, as ours runs it, on batches that are in memory: what no reading can exceed

Each is a process of its own that says how long the images took, the start (imports, reading the weights) left out; the
whole command is timed from outside. Images are PNG and JPEG of 96 px, half each. Upstream has its own choice of threads
(or --upstream-threads: on a busy machine its batches of one wait for one another), is given a font, which it would
download, and fewer images (--upstream), since it is slow. What uses onnxruntime needs the extra `export`.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from check_speed import draw  # noqa: E402
from report import Report, spread  # noqa: E402

CLASSES = ("Normal", "open", "short", "spur")
BATCH = 64
SETTINGS = "YOLO_CONFIG_DIR"


def main() -> None:
    """Make weights and images, run the rounds, print the tables."""
    if len(sys.argv) > 1 and sys.argv[1] in CONTENDERS:
        contender, *words = sys.argv[1:]
        sys.argv = sys.argv[:1]
        print(json.dumps(CONTENDERS[contender](Path(words[0]), Path(words[1]), int(words[2]))))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 224], help="px of the network")
    parser.add_argument("--images", type=int, nargs="+", default=[4000, 1000], help="one number a size")
    parser.add_argument("--upstream", type=int, nargs="+", default=[1000, 300], help="its images, one number a size")
    parser.add_argument("--upstream-threads", type=int, help="default: its own choice")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], choices=list(CONTENDERS), help="left out")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if not len(asked.sizes) == len(asked.images) == len(asked.upstream):
        parser.error("--images and --upstream: give one number for each of --sizes")
    report = Report(
        "predict",
        "trainer predict against upstream's and onnxruntime",
        packages=("torch", "yolov5", "onnxruntime", "pillow"),
        settings=vars(asked),
    )
    chosen = [one for one in CONTENDERS if one not in asked.without]
    if importlib.util.find_spec("onnxruntime") is None:
        print('onnxruntime is not installed, so there is no row of it: pip install ".[export]"')
        chosen = [one for one in chosen if "onnx" not in one]
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="predict-speed-") as name:
        folder = Path(name)
        for size, images, upstream in zip(asked.sizes, asked.images, asked.upstream, strict=True):
            place = folder / str(size)
            draw(place / "images", images, broken_every=0)
            draw(place / "fewer", upstream, broken_every=0)
            make_weights(place, size, onnx=any("onnx" in one for one in chosen))
            for number in range(asked.rounds):
                runs += [measure(contender, place, size, number, asked.upstream_threads) for contender in chosen]
    tabulate(report, runs, asked.sizes, chosen)
    report.finish(asked.json, runs)


def make_weights(place: Path, size: int, *, onnx: bool) -> None:
    """The same fresh weights as a run of ours, as an exported file, and as upstream pickles them."""
    import torch

    from trainer.data.transforms import MEAN, STD
    from trainer.models.checkpoints import Checkpoint, save_checkpoint
    from trainer.models.yolov5 import build_classifier

    torch.manual_seed(0)
    network = build_classifier("yolov5n-cls", len(CLASSES))
    (place / "run").mkdir()
    best = place / "run" / "best.pt"
    save_checkpoint(best, Checkpoint("yolov5n-cls", CLASSES, size, MEAN, STD, 1, 0.5, network.state_dict()))
    network.names = dict(enumerate(CLASSES))  # type: ignore[assignment]
    network.stride = torch.tensor([32.0])
    torch.save({"model": network.eval(), "ema": None}, place / "upstream.pt")
    if onnx:
        from trainer.models.export import export

        export(best, place / "best.onnx", images=place / "fewer")


def measure(contender: str, place: Path, size: int, number: int, upstream_threads: int | None) -> dict[str, Any]:
    """One process; images/s without and with its start."""
    images = place / ("fewer" if contender.startswith("upstream") else "images")
    words = [contender, str(place), str(images), str(size)]
    is_limited = upstream_threads is not None and contender.startswith("upstream")
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), *words],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": str(upstream_threads)} if is_limited else None,
        capture_output=True,
        text=True,
        encoding="utf-8",
        start_new_session=True,  # Linux deals out a busy machine's time by session
    )
    command_s = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{contender} failed: {done.stderr[-1500:]}")
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return {
        "contender": contender,
        "size": size,
        "round": number,
        "images": said["images"],
        "images_per_s": said["images"] / said["seconds"],
        "start_s": command_s - said["seconds"],
        "command_s": command_s,
        "peak_mb": said["peak_mb"],
    }


def tabulate(report: Report, runs: list[dict[str, Any]], sizes: list[int], chosen: list[str]) -> None:
    """A table a size, then the ratios and the goal."""
    for size in sizes:
        rows = []
        for contender in chosen:
            own = [run for run in runs if (run["contender"], run["size"]) == (contender, size)]
            rates, starts, peaks = ([run[key] for run in own] for key in ("images_per_s", "start_s", "peak_mb"))
            whole = [run["images"] / run["command_s"] for run in own]
            cells = [spread(rates, 0), spread(starts, 1), spread(whole, 0), spread(peaks, 0) if all(peaks) else "-"]
            rows.append([contender, f"{own[0]['images']:,}", *cells])
        columns = ["contender", "images", "images/s, start left out", "start, s", "images/s, whole command", "peak MB"]
        report.table(f"yolov5n-cls at {size} px", columns, rows)
    found = {
        (size, peer): ratios(runs, size, "ours", peer)
        for size in sizes
        for peer in chosen
        if not peer.startswith("ours")
    }
    rows = [[f"ours / {peer}, {size} px", spread(values)] for (size, peer), values in found.items()]
    report.table("Ratios of images/s, start left out", ["ratio", "median (least to most)"], rows)
    for (size, peer), values in found.items():
        if peer == "upstream":
            report.goal(f"images/s, ours / upstream, {size} px", values, at_least=5)


def ratios(runs: list[dict[str, Any]], size: int, one: str, other: str) -> list[float]:
    """Of images/s, round by round."""
    rates = {(run["contender"], run["round"]): run["images_per_s"] for run in runs if run["size"] == size}
    return [rate / rates[other, number] for (name, number), rate in rates.items() if name == one]


def ours(place: Path, images: Path, size: int) -> dict[str, Any]:
    """The command's own functions, after its imports and with the network read."""
    return _ours(place / "run", place, images)


def ours_onnx(place: Path, images: Path, size: int) -> dict[str, Any]:
    """The same with the exported file."""
    return _ours(place / "best.onnx", place, images)


def _ours(run: Path, place: Path, images: Path) -> dict[str, Any]:
    from trainer.models.predict import predict, write_stream

    stream = predict(run, images)
    began = time.perf_counter()
    count = write_stream(stream, place / "predictions.csv")
    return said(count, began)


def onnxruntime_loop(place: Path, images: Path, size: int) -> dict[str, Any]:
    """Decode a batch, run it, write it down."""
    import numpy as np
    import onnxruntime

    from sdcore.images.folders import list_images
    from trainer.data.transforms import decode

    session = onnxruntime.InferenceSession(str(place / "best.onnx"), providers=["CPUExecutionProvider"])
    paths = list_images(images)
    began = time.perf_counter()
    with (place / "onnx.csv").open("w", encoding="utf-8") as file:
        for start in range(0, len(paths), BATCH):
            some = paths[start : start + BATCH]
            (answer,) = session.run(["probabilities"], {"images": np.stack([decode(path, size) for path in some])})
            file.writelines(f"{path},{','.join(map(str, row))}\n" for path, row in zip(some, answer, strict=True))
    return said(len(paths), began)


def upstream(place: Path, images: Path, size: int) -> dict[str, Any]:
    """Upstream's own run."""
    return _upstream(place, images, size, nosave=True)


def upstream_saving(place: Path, images: Path, size: int) -> dict[str, Any]:
    """With what it does when it is not told otherwise."""
    return _upstream(place, images, size, nosave=False)


def _upstream(place: Path, images: Path, size: int, *, nosave: bool) -> dict[str, Any]:
    settings = tempfile.mkdtemp(prefix="upstream-settings-")
    os.environ |= {SETTINGS: settings, "YOLO_OFFLINE": "true", "YOLOv5_VERBOSE": "true"}
    import torch

    from sdcore.optional_imports import import_torchvision

    import_torchvision()
    load: Any = torch.load
    torch.load = functools.partial(load, weights_only=False)  # a file that this script has just made
    import matplotlib
    from yolov5.classify import predict as shipped
    from yolov5.utils import plots

    font = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    shutil.copy(font, Path(settings, "Arial.ttf"))
    plots.CONFIG_DIR = Path(settings)
    begun: list[float] = []
    list_all = shipped.LoadImages.__iter__

    def started(self: Any) -> Any:
        begun.append(time.perf_counter())
        return list_all(self)

    shipped.LoadImages.__iter__ = started
    project = tempfile.mkdtemp(prefix="upstream-", dir=place)
    shipped.run(
        weights=str(place / "upstream.pt"),
        source=str(images / "*" / "*"),
        imgsz=size,
        device="cpu",
        nosave=nosave,
        project=project,
    )
    return said(sum(1 for _ in images.rglob("*.*")), begun[0])


def limit(place: Path, images: Path, size: int) -> dict[str, Any]:
    """The same classifier in the same threads, again and again on one batch each."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    import torch

    from trainer.models.classifier import open_classifier
    from trainer.models.predict import default_batch_size, default_threads

    classifier = open_classifier(place / "run")
    lanes, count = default_threads(1), default_batch_size(size, torch.device("cpu"))
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3)).astype(np.uint8).transpose(0, 3, 1, 2)
    batches = max(lanes, sum(1 for _ in images.rglob("*.*")) // count)
    with ThreadPoolExecutor(lanes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(classifier.predict, [pixels] * lanes))
        began = time.perf_counter()
        list(pool.map(classifier.predict, [pixels] * batches))
        return said(batches * count, began)


def said(images: int, began: float) -> dict[str, Any]:
    """What a contender prints."""
    seconds = time.perf_counter() - began
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    peak_mb = next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM")), None)
    return {"images": images, "seconds": seconds, "peak_mb": peak_mb}


CONTENDERS = {
    "ours": ours,
    "ours, onnx": ours_onnx,
    "onnxruntime": onnxruntime_loop,
    "upstream": upstream,
    "upstream, saving": upstream_saving,
    "limit": limit,
}


if __name__ == "__main__":
    main()
