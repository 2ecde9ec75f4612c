"""Upstream's classification training and prediction as it ships, with what a machine without a network needs.

    python bench/upstream_classify.py train DATA PROJECT SEED EPOCHS IMGSZ BATCH [DEVICE [MODEL]]
    python bench/upstream_classify.py predict BEST.PT IMAGES PREDICTIONS.CSV IMGSZ

Started by trainer_vs_upstream.py and ddp.py; beside PROJECT it writes epoch_ends.json, the time before the first epoch
and at the end of each. The weights it starts from are fresh ones (--pretrained False), written to a file
since upstream takes nothing else; the only files unpickled here are those this script has just made.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

os.environ["YOLO_CONFIG_DIR"] = tempfile.mkdtemp(prefix="upstream-settings-")
os.environ["YOLO_OFFLINE"] = "true"

import numpy as np
import torch

from sdcore.images.folders import list_images
from sdcore.optional_imports import import_torchvision
from trainer.models.predictions import write_predictions


def train(
    data: Path, project: Path, seed: int, epochs: int, imgsz: int, batch: int, device: str = "cpu", model: str = "n"
) -> None:
    """Run upstream's own main, with a clock in its log; `model` is a letter of n, s, m, l, x."""
    from yolov5.classify import train as upstream
    from yolov5.models.yolo import ClassificationModel, DetectionModel

    classes = sum(1 for folder in (data / "train").iterdir() if folder.is_dir())
    description = Path(sys.modules[DetectionModel.__module__].__file__ or "").with_name(f"yolov5{model}.yaml")
    fresh = ClassificationModel(model=DetectionModel(str(description), ch=3, nc=80), nc=classes, cutoff=10)
    start = project.parent / f"yolov5{model}-cls.pt"
    torch.save({"model": fresh, "ema": None}, start)
    # These ask the network: for a model of this name, for newer releases, for missing packages.
    upstream.attempt_download_from_hub = lambda *_, **__: None
    upstream.check_git_status = upstream.check_requirements = lambda *_, **__: None
    ends: list[float] = []
    log = upstream.GenericLogger

    class Clocked(log):  # type: ignore[misc, valid-type]
        def log_graph(self, *arguments: Any) -> None:
            super().log_graph(*arguments)
            ends.append(time.perf_counter())

        def log_metrics(self, *arguments: Any) -> None:
            super().log_metrics(*arguments)
            ends.append(time.perf_counter())
            (project.parent / "epoch_ends.json").write_text(json.dumps(ends), encoding="utf-8")

    upstream.GenericLogger = Clocked
    options = upstream.parse_opt(known=True)
    vars(options).update(
        model=str(start.resolve()),
        data=str(data.resolve()),
        project=str(project.resolve()),
        name="exp",
        pretrained="False",
        seed=seed,
        epochs=epochs,
        imgsz=imgsz,
        batch_size=batch,
        device="0" if device == "cuda" else device,
    )
    upstream.main(options)


def predict(best: Path, images: Path, output: Path, imgsz: int) -> None:
    """Probabilities by upstream's model through upstream's own transforms."""
    from PIL import Image
    from yolov5.models.experimental import attempt_load
    from yolov5.utils.augmentations import classify_transforms

    model = attempt_load(str(best), device="cpu", fuse=False).float().eval()
    names = model.names if isinstance(model.names, list) else [model.names[k] for k in sorted(model.names)]
    transform = classify_transforms(imgsz)
    paths = list_images(images)
    rows = []
    with torch.inference_mode():
        for path in paths:
            bgr = np.asarray(Image.open(path).convert("RGB"))[:, :, ::-1]  # upstream reads with OpenCV
            rows.append(torch.softmax(model(transform(bgr)[None])[0].double(), 0).numpy())
    relative = [path.relative_to(images) for path in paths]
    write_predictions(
        output, [path.as_posix() for path in relative], [path.parts[0] for path in relative], names, np.stack(rows)
    )


def main() -> None:
    """Dispatch."""
    torch.set_num_threads(1)
    import_torchvision()
    load: Any = torch.load
    torch.load = functools.partial(load, weights_only=False)
    action, *words = sys.argv[1:]
    sys.argv = sys.argv[:1]
    if action == "train":
        seed, epochs, imgsz, batch = (int(word) for word in words[2:6])
        train(Path(words[0]), Path(words[1]), seed, epochs, imgsz, batch, *words[6:])
    else:
        predict(Path(words[0]), Path(words[1]), Path(words[2]), int(words[3]))


if __name__ == "__main__":
    main()
