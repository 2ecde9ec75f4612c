"""How real transplants are: seams, pixels outside the mask, places found, speed, and what a classifier calls them.

    python bench/transplant.py DEEPPCB OUT [--per-class 24] [--epochs 8]

DEEPPCB is the folder of crops with split.csv; masks come from its boxes. The other material are the boards that
`examples/boards.py` draws, whose masks are where a board differs from itself without its defect. OUT keeps the
outputs, so that a second run only prints; one process, one thread. Needs the extras `curate` and `train`.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageChops

from sdclient.compose import ComposeOptions, Composer, ComposeSettings, share_evenly
from sdclient.compose.cutout import form_of, to_form
from sdclient.contact_sheets import write_transplant_sheet
from sdclient.manifest import Manifest
from sdclient.masks.mask import read_mask, rectangles_mask, write_mask
from sdclient.sources import discover
from sdcore.annotations import Box

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from boards import COUNTS, SURFACES, draw_board, draw_pair

_VISIBLE_LEVELS = 12
_BOARDS_GOOD = 120


@dataclass(frozen=True)
class Case:
    """One way of making them."""

    name: str
    settings: dict[str, Any]
    allowed: str = ""
    """Folder of allowed areas: "anywhere", whatever the surface, or "middle", where a crop has its defect."""


CASES = (
    Case("pasted anywhere, no tone", {"blend": "feather", "tone": "none"}, "anywhere"),
    Case("placed, no tone", {"blend": "feather", "tone": "none"}),
    Case("feather", {"blend": "feather"}),
    Case("clone", {"blend": "clone"}),
    Case("mixed", {"blend": "mixed"}),
    Case("auto (the default)", {}),
    Case("auto, boxes as they are", {"tighten": False}),
    Case("auto, in the middle", {"match_limit": 0.3}, "middle"),
)
_OF_CROPS_ALONE = ("auto, boxes as they are", "auto, in the middle")


def main() -> None:
    """Print a table of all cases and what the classifier says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("deeppcb", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--per-class", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    out = arguments.out
    pcb, boards = out / "deeppcb", out / "boards"
    if not (pcb / "ready").exists():
        make_deeppcb(arguments.deeppcb, pcb, arguments.per_class)
    if not (boards / "ready").exists():
        make_boards(boards, arguments.per_class)
    cv2.setNumThreads(1)
    print(
        "| set | case | planned | made | found | seam 10 % | median | 90 % | contrast kept | outside | images/CPU s |"
    )
    print(f"|{'---|' * 11}")
    for folder, board in ((pcb, {"right_angles": True, "scale": (1, 1)}), (boards, {})):
        for case in CASES:
            if folder == boards and case.name in _OF_CROPS_ALONE:
                continue
            print(row(folder, case, board, arguments.per_class), flush=True)
        write_transplant_sheet(out / f"{folder.name}.png", output_of(folder, CASES[5]), per_class=1)
    by_class(output_of(pcb, CASES[5]))
    classify(pcb, arguments.epochs)


def output_of(folder: Path, case: Case) -> Path:
    """Where the images of a case lie."""
    return folder / "outputs" / case.name.partition(" (")[0].replace(" ", "-").replace(",", "")


def row(folder: Path, case: Case, common: dict[str, Any], per_class: int) -> str:
    """Make the images of one case and measure them."""
    output = output_of(folder, case)
    sources = discover(folder / "sources")
    composer = Composer(
        folder / "sources",
        folder / "masks",
        folder / "sources" / "Normal",
        output,
        ComposeSettings.checked({**common, **case.settings}),
        ComposeOptions(allowed=folder / case.allowed if case.allowed else None),
    )
    planned = share_evenly(sources, per_class)
    begin = time.process_time()  # of this process alone, whatever else the machine does
    made = sum(1 for _ in composer.run(planned))
    seconds = time.process_time() - begin
    seams, kept_rates, outside, total = [], [], 0, 0
    for record, result, base, mask in opened(output):
        seams += [place["seam_score"] for place in record.used["places"]]
        kept_rates += [place["kept_rate"] for place in record.used["places"]]
        kept = np.asarray(mask) == 0
        outside += int((np.asarray(result) != np.asarray(base)).reshape(*kept.shape, -1).any(axis=2)[kept].sum())
        total += 1
    owed = sum(count for _, count in planned)
    low, middle, high = np.quantile(seams, [0.1, 0.5, 0.9])
    rate = f"{made / seconds:.1f}" if made else "-"
    return (
        f"| {folder.name} | {case.name} | {owed} | {total} | {total / owed:.0%} | {low:.2f} | {middle:.2f} "
        f"| {high:.2f} | {np.median(kept_rates):.2f} | {outside} px | {rate} |"
    )


def opened(output: Path) -> Iterator[tuple[Any, Image.Image, Image.Image, Image.Image]]:
    """Record, result, base picture in the result's form, and mask of each image."""
    with Manifest(output) as manifest:
        run, records = manifest.run(), list(manifest.images())
    for record in records:
        result = Image.open(output / record.file)
        base = Image.open(Path(run["other_sources"]) / record.other_parents[0].source)
        yield record, result, to_form(base, form_of(base)), read_mask(output / record.mask, result.size)


def by_class(output: Path) -> None:
    """How many places were found for each class."""
    with Manifest(output) as manifest:
        counts = Counter((state.class_name, state.status) for state in manifest.states())
        tried = defaultdict(list)
        for record in manifest.images():
            tried[record.class_name].append(record.used["pictures_tried"])
    print("\n| class | planned | made | good images tried, median |\n|---|---|---|---|")
    for name in sorted({name for name, _ in counts}):
        planned = sum(count for (one, _), count in counts.items() if one == name)
        median = f"{np.median(tried[name]):.0f}" if tried[name] else "-"
        print(f"| {name} | {planned} | {counts[name, 'done']} | {median} |")


def classify(pcb: Path, epochs: int) -> None:
    """Train on real images alone, then ask what it calls transplants, real test images, and bare good images."""
    from trainer.config import TrainingJob, make_config
    from trainer.models.predict import predict_folder
    from trainer.training.train import train

    run = pcb / "run"
    if not (run / "done").exists():
        shutil.rmtree(run, ignore_errors=True)
        train(
            TrainingJob(
                pcb / "data", run, make_config(epochs=epochs, imgsz=64, batch_size=32, lr=2e-3, seed=0, device="cpu")
            )
        )
        (run / "done").touch()
    print(f"\nyolov5n, 64 px, {epochs} epochs, one seed, trained on real images alone\n")
    print("| images | class | number | called it | called Normal | mean p(class) |\n|---|---|---|---|---|---|")
    looks = {"real test images": pcb / "data" / "test", "the same, moved aside": moved_aside(pcb)}
    looks |= {f"transplants, {case.name}": output_of(pcb, case) for case in (CASES[0], CASES[5], CASES[7])}
    for name, folder in looks.items():
        images = pcb / "looked-at" / folder.name
        shutil.rmtree(images, ignore_errors=True)
        for path in folder.glob("[!_.]*/*.png"):
            (images / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, images / path.parent.name / path.name)
        told = predict_folder(run, images)
        labels = np.array([Path(image).parts[0] for image in told.images])
        called = np.array(told.classes)[told.probabilities.argmax(axis=1)]
        defects = [label for label in told.classes if label != "Normal"]
        for label in [*defects, "all defects"]:
            own = labels == label if label != "all defects" else labels != "Normal"
            if not own.any():
                continue
            right = np.mean(called[own] == labels[own])
            place = np.array([told.classes.index(one) for one in labels[own]])
            mean = told.probabilities[own][np.arange(own.sum()), place].mean()
            missed = np.mean(called[own] == "Normal")
            print(f"| {name} | {label} | {own.sum()} | {right:.1%} | {missed:.1%} | {mean:.2f} |")


def moved_aside(pcb: Path) -> Path:
    """The real defects of the test part as far from the middle as transplants are, the rest mirrored into the gap."""
    places = [record.used["box"] for record, *_ in opened(output_of(pcb, CASES[5]))]
    folder = pcb / "moved"
    shutil.rmtree(folder, ignore_errors=True)
    rng = np.random.default_rng(0)
    for path in sorted((pcb / "data" / "test").glob("*/*.png")):
        if path.parent.name == "Normal":
            continue
        levels = np.asarray(Image.open(path))
        left, top, right, bottom = places[rng.integers(len(places))]
        side = levels.shape[0]
        across, down = round((left + right - side) / 2), round((top + bottom - side) / 2)
        wide = np.pad(levels, side // 2, mode="reflect")
        start = side // 2 - down, side // 2 - across
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        moved = wide[start[0] : start[0] + side, start[1] : start[1] + side]
        Image.fromarray(moved).save(folder / path.parent.name / path.name)
    return folder


def make_deeppcb(crops: Path, folder: Path, per_class: int) -> None:
    """DATA by split, and numbered sources with masks out of its test part, which no training has seen."""
    shutil.rmtree(folder, ignore_errors=True)
    numbers: Counter[str] = Counter()
    for line in csv.DictReader((crops / "split.csv").open(encoding="utf-8")):
        source, name = crops / "images" / line["file"], line["class"]
        copy(source, folder / "data" / line["split"] / line["file"])
        if line["split"] != "test" or (name != "Normal" and numbers[name] >= per_class):
            continue
        numbers[name] += 1
        relative = f"{name}/{numbers[name]}.png"
        copy(source, folder / "sources" / relative)
        with Image.open(source) as picture:
            size = picture.size
        if name == "Normal":
            write_mask(folder / "anywhere" / f"{numbers[name]}.png", Image.new("L", size, 255))
            middle = Box(name, 0.2 * size[0], 0.2 * size[1], 0.8 * size[0], 0.8 * size[1])
            write_mask(folder / "middle" / f"{numbers[name]}.png", rectangles_mask([middle], size))
        else:
            box = Box(name, *(int(line[side]) for side in ("bx1", "by1", "bx2", "by2")))
            write_mask(folder / "masks" / relative, rectangles_mask([box], size))
    (folder / "ready").touch()


def make_boards(folder: Path, per_class: int) -> None:
    """Drawn boards with the masks of their defects, and good ones."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in COUNTS:
        for number in range(per_class if name != "Normal" else _BOARDS_GOOD):
            path = folder / "sources" / name / f"{number + 1}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            surface = SURFACES[number % 2]
            if name == "Normal":
                picture = draw_board(name, surface, seed=0, number=number)
                write_mask(folder / "anywhere" / path.name, Image.new("L", picture.size, 255))
            else:
                picture, bare = draw_pair(name, surface, seed=0, number=number)
                levels = np.asarray(ImageChops.difference(picture, bare)).max(axis=2)
                mask = Image.fromarray((levels > _VISIBLE_LEVELS).astype(np.uint8) * np.uint8(255))
                write_mask(folder / "masks" / name / path.name, mask)
            picture.save(path)
    (folder / "ready").touch()


def copy(source: Path, target: Path) -> None:
    """Copy a file, making its folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


if __name__ == "__main__":
    main()
