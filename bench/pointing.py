"""How often the heat map's peak lies in the true box: methods compared on validation, the chosen one on test.

    python bench/pointing.py DEEPPCB RUN [RUN ...] [--part val|test] [--json FILE]

DEEPPCB holds `images/` and `split.csv` with boxes (bx1..by2). A RUN is a training on these crops. On validation all
methods are compared, and all levels of the box; on test the chosen method is measured alone. Three sets:

- centred: the crops as they are, each with its defect in the middle;
- shifted: each crop moved at random with its box inside; the border repeats its mirror image;
- window: a 64 px window at random out of the crop, with the box inside; real pixels alone.

Chance is the box's share of the picture, exact for each; "centre" is a pointer that always says the middle.
Several runs: counts are means over them. Intervals (Clopper-Pearson, 95 %) take images as independent.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import Occlusion
from PIL import Image
from torch import nn
from tqdm import tqdm

from trainer.config import NORMAL
from trainer.data.transforms import normalise
from trainer.evaluation.stats import clopper_pearson
from trainer.models.checkpoints import Checkpoint, find_checkpoint, load_classifier
from trainer.models.explain import LEVEL, find_hot_box, fuse_maps, gradients_and_activations, heat_maps, score_against

Array = npt.NDArray[np.float64]
SETS = ("centred", "shifted", "window")
LEVELS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
_WINDOW_PX = 64
_BATCH = 32
_OCCLUDED_EVERY = 4


@dataclass(frozen=True, eq=False)
class Crops:
    """Defects with their boxes."""

    pictures: npt.NDArray[np.uint8]
    """(N, side, side) grey."""
    boxes: Array
    """(N, 4) x0, y0, x1, y1 in pixels; x1 and y1 are outside."""
    labels: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Pointed:
    """Where a method pointed in N pictures, as shares of the side."""

    peaks: Array
    """(N, 2) x, y."""
    boxes: Array
    """(N, 4)."""
    shares: Array
    """(N,) of the heat, in the true box."""


def main() -> None:
    """Print tables in Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("crops", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--part", default="test", choices=["val", "test"])
    parser.add_argument("--sets", default=",".join(SETS), help="parted by commas")
    parser.add_argument("--seed", type=int, default=0, help="of the shifts")
    parser.add_argument("--json", type=Path, help="file for all figures")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for name in asked.sets.split(","):
        crops = read_crops(asked.crops, asked.part, name, asked.seed)
        measure = compare_methods if asked.part == "val" else measure_chosen
        rows = measure(crops, [load_classifier(find_checkpoint(run)) for run in asked.runs])
        show(name, rows)
        found += [{"set": name, "part": asked.part, **row} for row in rows]
        if asked.json:
            asked.json.write_text(json.dumps(found, indent=2), encoding="utf-8")


def read_crops(root: Path, part: str, name: str, seed: int) -> Crops:
    """The defects of one part, laid out as the set says."""
    rng = np.random.default_rng(seed)
    pictures, boxes, labels = [], [], []
    with (root / "split.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == part and row["bx1"]]
    for row in rows:
        pixels = np.asarray(Image.open(root / "images" / row["file"]).convert("L"))
        box = np.array([int(row[key]) for key in ("bx1", "by1", "bx2", "by2")])
        if name == "shifted":
            pixels, box = shift(pixels, box, rng)
        elif name == "window":
            if max(box[2] - box[0], box[3] - box[1]) > _WINDOW_PX:
                continue
            pixels, box = cut_window(pixels, box, rng)
        pictures.append(pixels)
        boxes.append(box)
        labels.append(row["class"])
    return Crops(np.stack(pictures), np.stack(boxes).astype(np.float64), tuple(labels))


def shift(pixels: npt.NDArray[np.uint8], box: npt.NDArray[Any], rng: np.random.Generator) -> tuple[Any, Any]:
    """Move a crop anywhere its box stays inside, by half the side at most."""
    side = len(pixels)
    half = side // 2
    dx, dy = (int(rng.integers(max(-box[k], -half), min(side - box[k + 2], half) + 1)) for k in (0, 1))
    wide = np.pad(pixels, half, mode="symmetric")
    moved = wide[half - dy : half - dy + side, half - dx : half - dx + side]
    return moved.copy(), box + np.array([dx, dy, dx, dy])


def cut_window(pixels: npt.NDArray[np.uint8], box: npt.NDArray[Any], rng: np.random.Generator) -> tuple[Any, Any]:
    """Cut a window that holds the box."""
    spare = len(pixels) - _WINDOW_PX
    x, y = (int(rng.integers(max(0, box[k + 2] - _WINDOW_PX), min(spare, box[k]) + 1)) for k in (0, 1))
    return pixels[y : y + _WINDOW_PX, x : x + _WINDOW_PX].copy(), box - np.array([x, y, x, y])


def to_pixels(crops: Crops, checkpoint: Checkpoint) -> torch.Tensor:
    """(N, 3, imgsz, imgsz), as `loader.decode` and `normalise` make them."""
    size = (checkpoint.imgsz, checkpoint.imgsz)
    squares = [
        np.asarray(Image.fromarray(one).convert("RGB").resize(size, Image.Resampling.BILINEAR))
        for one in crops.pictures
    ]
    images = torch.from_numpy(np.stack(squares).transpose(0, 3, 1, 2).copy())
    return normalise(images, checkpoint.mean, checkpoint.std)


Wanted = Callable[[int], tuple[tuple[int, ...], tuple[int, ...]]]


def questions(classes: Sequence[str]) -> dict[str, Wanted]:
    """By name: predicted class -> the classes for it and those against it."""
    normal = list(classes).index(NORMAL)
    every = range(len(classes))
    return {
        "any defect": lambda _: (tuple(k for k in every if k != normal), (normal,)),
        "predicted class": lambda k: ((k,), tuple(j for j in every if j != k)),
    }


def heat_by_method(network: nn.Module, pixels: torch.Tensor, wanted: Any, against: Any) -> dict[str, Array]:
    """Every method's (N, H, W) heat for one batch."""
    stages = list(network.get_submodule("model").children())
    layers = {"1/4": stages[2], "1/8": stages[4], "1/16": stages[6], "last": stages[9].get_submodule("conv")}
    parts = dict(
        zip(layers, gradients_and_activations(network, list(layers.values()), pixels, wanted, against), strict=True)
    )
    size = (pixels.shape[2], pixels.shape[3])

    def one(rule: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], *names: str) -> Array:
        return fuse_maps([rule(*parts[name]).sum(dim=1) for name in names], size)

    def grad_cam(gradient: torch.Tensor, activation: torch.Tensor) -> torch.Tensor:
        return gradient.mean(dim=(2, 3), keepdim=True) * activation

    def hires(gradient: torch.Tensor, activation: torch.Tensor) -> torch.Tensor:
        return gradient * activation

    def layer_cam(gradient: torch.Tensor, activation: torch.Tensor) -> torch.Tensor:
        return gradient.relu() * activation

    with_gradient = pixels.clone().requires_grad_()
    score = score_against(network(with_gradient), wanted, against).sum()
    slope = torch.autograd.grad(score, with_gradient)[0].abs().sum(dim=1)
    return {
        "CAM, last map (exact)": one(hires, "last"),
        "Grad-CAM, 1/16": one(grad_cam, "1/16"),
        "Grad-CAM, 1/8": one(grad_cam, "1/8"),
        "HiResCAM, 1/4 x 1/8 x 1/16": one(hires, "1/4", "1/8", "1/16"),
        "Layer-CAM, 1/16": one(layer_cam, "1/16"),
        "Layer-CAM, 1/8": one(layer_cam, "1/8"),
        "Layer-CAM, 1/4": one(layer_cam, "1/4"),
        "Layer-CAM, 1/8 x 1/16": one(layer_cam, "1/8", "1/16"),
        "Layer-CAM, 1/4 x 1/8 x 1/16": one(layer_cam, "1/4", "1/8", "1/16"),
        "input gradient": fuse_maps([slope], size),
    }


def occlude(network: nn.Module, pixels: torch.Tensor, wanted: Any, against: Any) -> Array:
    """What a grey square of a quarter of the side takes away, in steps of a sixteenth."""
    side = pixels.shape[2]

    def score(images: torch.Tensor) -> torch.Tensor:
        return score_against(network(images), wanted, against)

    with torch.no_grad():
        lost = Occlusion(score).attribute(
            pixels,
            sliding_window_shapes=(3, side // 4, side // 4),
            strides=(3, side // 16, side // 16),
            baselines=0,
            perturbations_per_eval=16,
        )
    return fuse_maps([lost.sum(dim=1)], (side, side))


def by_batches(
    network: nn.Module,
    pixels: torch.Tensor,
    wanted_of: Wanted,
    predicted: npt.NDArray[Any],
    method: Callable[[nn.Module, torch.Tensor, Any, Any], dict[str, Array]],
) -> dict[str, Array]:
    """Heat of all pictures, each asked about its own predicted class."""
    asked = [wanted_of(int(k)) for k in predicted]
    found: dict[str, Array] = {}
    for wanted, against in dict.fromkeys(asked):
        places = [place for place, one in enumerate(asked) if one == (wanted, against)]
        for start in range(0, len(places), _BATCH):
            batch = places[start : start + _BATCH]
            for name, heat in method(network, pixels[batch], wanted, against).items():
                found.setdefault(name, np.zeros((len(pixels), *heat.shape[1:])))[batch] = heat
    return found


def point(heat: Array, crops: Crops, *, level: float = LEVEL) -> Pointed:
    """Peaks and boxes; a map that points nowhere points at the top left corner and has an empty box."""
    peaks, boxes, shares = np.zeros((len(heat), 2)), np.zeros((len(heat), 4)), np.zeros(len(heat))
    side, true = heat.shape[1], crops.boxes / crops.pictures.shape[1]
    middles = (np.arange(side) + 0.5) / side
    for place, one in enumerate(heat):
        box = find_hot_box(one, level=level)
        if box is None:
            continue
        peaks[place] = (box.peak_x + 0.5) / side, (box.peak_y + 0.5) / side
        boxes[place] = np.array([box.x0, box.y0, box.x1, box.y1]) / side
        x0, y0, x1, y1 = true[place]
        columns, rows = (middles >= x0) & (middles < x1), (middles >= y0) & (middles < y1)
        shares[place] = one[np.ix_(rows, columns)].sum() / one.sum()
    return Pointed(peaks, boxes, shares)


def hits(peaks: Array, true: Array) -> npt.NDArray[np.bool_]:
    """Whether each (x, y) lies in its box."""
    inside: npt.NDArray[np.bool_] = (
        (peaks[:, 0] >= true[:, 0])
        & (peaks[:, 0] < true[:, 2])
        & (peaks[:, 1] >= true[:, 1])
        & (peaks[:, 1] < true[:, 3])
    )
    return inside


def overlap(boxes: Array, true: Array) -> Array:
    """Intersection over union of each pair."""
    shared = np.maximum(np.minimum(boxes[:, 2:], true[:, 2:]) - np.maximum(boxes[:, :2], true[:, :2]), 0).prod(axis=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (true[:, 2:] - true[:, :2]).prod(axis=1)
    result: Array = shared / (area - shared)
    return result


def figures(name: str, pointed: Sequence[Pointed], crops: Crops, masks: Sequence[npt.NDArray[Any]]) -> dict[str, Any]:
    """One row: means over the runs, each over the pictures its mask takes."""
    side = crops.pictures.shape[1]
    true = crops.boxes / side
    middle = (true[:, :2] + true[:, 2:]) / 2
    of = float(np.mean([mask.sum() for mask in masks]))
    count = float(np.mean([hits(one.peaks, true)[mask].sum() for one, mask in zip(pointed, masks, strict=True)]))
    interval = clopper_pearson(count, of) if of else None  # type: ignore[arg-type]

    def mean(value: Callable[[Pointed], Array]) -> float:
        return float(np.mean(np.concatenate([value(one)[mask] for one, mask in zip(pointed, masks, strict=True)])))

    away = [np.linalg.norm((one.peaks - middle)[mask] * side, axis=1) for one, mask in zip(pointed, masks, strict=True)]
    return {
        "method": name,
        "of": of,
        "count": count,
        "hit_rate": count / of if of else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "chance": mean(lambda _: (true[:, 2:] - true[:, :2]).prod(axis=1)),
        "centre": mean(lambda _: hits(np.full((len(true), 2), 0.5), true).astype(float)),
        "iou_over_0.3": mean(lambda one: (overlap(one.boxes, true) >= 0.3).astype(float)),
        "iou_over_0.5": mean(lambda one: (overlap(one.boxes, true) >= 0.5).astype(float)),
        "mean_iou": mean(lambda one: overlap(one.boxes, true)),
        "heat_in_true_box": mean(lambda one: one.shares),
        "median_px_from_middle": float(np.median(np.concatenate(away))),
    }


Classifiers = Sequence[tuple[nn.Module, Checkpoint]]


def predict(network: nn.Module, pixels: torch.Tensor) -> npt.NDArray[Any]:
    """Predicted classes."""
    with torch.no_grad():
        parts = [network(pixels[start : start + _BATCH]).argmax(dim=1) for start in range(0, len(pixels), _BATCH)]
    predicted: npt.NDArray[Any] = torch.cat(parts).numpy()
    return predicted


def compare_methods(crops: Crops, classifiers: Classifiers) -> list[dict[str, Any]]:
    """All methods and questions, then the levels of the box; occlusion on every fourth picture."""
    heats: dict[str, list[Array]] = {}
    everything = [np.ones(len(crops.labels), dtype=bool)] * len(classifiers)
    some = np.zeros(len(crops.labels), dtype=bool)
    some[::_OCCLUDED_EVERY] = True
    for network, checkpoint in tqdm(classifiers, unit="run"):
        pixels = to_pixels(crops, checkpoint)
        predicted = predict(network, pixels)
        for words, wanted_of in questions(checkpoint.classes).items():
            for name, heat in by_batches(network, pixels, wanted_of, predicted, heat_by_method).items():
                heats.setdefault(f"{name}; {words}", []).append(heat)
        question = questions(checkpoint.classes)["any defect"](0)
        hidden = np.zeros((len(pixels), pixels.shape[2], pixels.shape[3]))
        hidden[some] = occlude(network, pixels[torch.from_numpy(some)], *question)
        heats.setdefault("occlusion; any defect", []).append(hidden)
    rows = []
    for name, found in heats.items():
        masks = [some] * len(found) if name.startswith("occlusion") else everything
        rows.append(figures(name, [point(heat, crops) for heat in found], crops, masks))
    chosen = heats["Layer-CAM, 1/4 x 1/8 x 1/16; any defect"]
    for level in LEVELS:
        pointed = [point(heat, crops, level=level) for heat in chosen]
        rows.append(figures(f"the last Layer-CAM, box at level {level}", pointed, crops, everything))
    return rows


def measure_chosen(crops: Crops, classifiers: Classifiers) -> list[dict[str, Any]]:
    """The method of `trainer explain`, over all pictures, by what was predicted, and by class."""
    labels = np.array(crops.labels)
    pointed: list[Pointed] = []
    named: list[Pointed] = []
    predictions: list[npt.NDArray[Any]] = []
    for network, checkpoint in tqdm(classifiers, unit="run"):
        pixels = to_pixels(crops, checkpoint)
        predicted = predict(network, pixels)
        asked = questions(checkpoint.classes)
        for words, found in (("any defect", pointed), ("predicted class", named)):
            heat = by_batches(network, pixels, asked[words], predicted, lambda *given: {"": heat_maps(*given)})[""]
            found.append(point(heat, crops))
        predictions.append(np.array(checkpoint.classes)[predicted])
    everything = [np.ones(len(labels), dtype=bool)] * len(pointed)
    defective = [one != NORMAL for one in predictions]
    rows = [
        figures("all defects", pointed, crops, everything),
        figures("predicted defective", pointed, crops, defective),
        figures("predicted their own class", pointed, crops, [one == labels for one in predictions]),
        figures("predicted defective; heat of the predicted class", named, crops, defective),
    ]
    for name in sorted(set(crops.labels)):
        masks = [found & (labels == name) for found in defective]
        if all(mask.any() for mask in masks):
            rows.append(figures(f"{name}, predicted defective", pointed, crops, masks))
    return rows


def show(name: str, rows: Sequence[dict[str, Any]]) -> None:
    """One table."""
    print(f"\n| {name} | peak in the box | 95 % | chance | centre | IoU >= 0.3 | >= 0.5 | heat in it | px off |")
    print("|" + "---|" * 9)
    for row in rows:
        print("| " + " | ".join(cells(row)) + " |")


def cells(row: dict[str, Any]) -> Iterator[str]:
    """The words of one row."""
    yield row["method"]
    yield f"{row['count']:.4g}/{row['of']:.4g} = {100 * row['hit_rate']:.1f} %" if row["of"] else "undefined"
    yield f"{100 * row['low']:.1f}-{100 * row['high']:.1f}" if row["low"] is not None else ""
    for key in ("chance", "centre", "iou_over_0.3", "iou_over_0.5", "heat_in_true_box"):
        yield f"{100 * row[key]:.1f} %"
    yield f"{row['median_px_from_middle']:.1f}"


if __name__ == "__main__":
    main()
