"""What repainting inside masks changes outside of them, inside, and along their edge.

    python bench/inpainting_seam.py [--deeppcb shared/data/deeppcb] [--each 6] [--picture docs/images/masks.png]

The demo's boards (masks: what was drawn) and DeepPCB's crops (masks: their boxes) are repainted by a run against the
embedded server, whose engine is classical and not Stable Diffusion. It shifts tone and shape on purpose, so that a hard
edge shows. The seam score is how much more the picture changes from one pixel to the next across the mask's edge than
beside it, divided by the same of the source: 1 is no seam. Needs the extra `serve`.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from boards import COUNTS, SURFACES, draw_pair

from sdclient.batch import BatchRunner, GenerateOptions, GenerationSettings
from sdclient.client import WebUI
from sdclient.contact_sheets import outlined
from sdclient.manifest import ImageRecord
from sdclient.masks.mask import grow_and_feather, mask_path, read_mask, write_mask
from sdclient.serve.app import running_server
from sdclient.sources import Source, discover
from sdcore.images.contact_sheet import Cell, Row, draw_sheet

Levels = NDArray[np.float64]

STRENGTHS = (0.3, 0.6)
GROW_PX = 2
EDGES = {"hard": (0, 0), "feather 3 px (usual)": (3, 2), "feather 6 px": (6, 2)}
"""Words -> feather of the mask, mask_blur; px."""
AREAS = ("masked", "whole")
FILLS = ("original", "fill")
_BESIDE_PX = 6
_DRAWN_LEVELS = 12


@dataclass
class Found:
    """What was measured on one image."""

    changed_outside: float
    changed_inside: float
    seam: float


def main() -> None:
    """Print one table, and draw a few of the images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deeppcb", type=Path, help="folder of the crops with split.csv")
    parser.add_argument("--each", type=int, default=6, help="pictures of each class")
    parser.add_argument("--picture", type=Path, help="where to draw source, mask and results")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_server() as server, WebUI(server.url) as webui:
        root = Path(folder)
        boards(root / "boards", arguments.each)
        sets = ["boards"]
        if arguments.deeppcb is not None:
            deeppcb(root / "DeepPCB", arguments.deeppcb, arguments.each)
            sets.append("DeepPCB")
        print("| set | strength | area | fill | edge | images | changed outside | changed inside | seam score |")
        print(f"|{'---|' * 9}")
        for name in sets:
            for line in table(webui, root / name, name):
                print(line, flush=True)
        if arguments.picture is not None:
            draw(webui, root / "boards", arguments.picture)


def boards(folder: Path, each: int) -> None:
    """Sources and defects of the demo's boards."""
    for name in (name for name in COUNTS if name != "Normal"):
        for number in range(each):
            defect, good = draw_pair(name, SURFACES[number % 2], seed=0, number=number // 2)
            off = np.abs(np.asarray(defect, dtype=float) - np.asarray(good, dtype=float)).max(axis=2)
            put(folder, name, number + 1, defect, Image.fromarray((off > _DRAWN_LEVELS).astype(np.uint8) * 255))


def deeppcb(folder: Path, crops: Path, each: int) -> None:
    """Sources and boxes of DeepPCB's crops."""
    with (crops / "split.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["class"] != "Normal"]
    for name in sorted({row["class"] for row in rows}):
        for number, row in enumerate([row for row in rows if row["class"] == name][:each], 1):
            with Image.open(crops / "images" / row["file"]) as image:
                picture = image.convert("L")
            truth = Image.new("L", picture.size)
            truth.paste(255, tuple(int(row[edge]) for edge in ("bx1", "by1", "bx2", "by2")))
            put(folder, name, number, picture, truth)


def put(folder: Path, class_name: str, number: int, picture: Image.Image, truth: Image.Image) -> None:
    """A source and where its defect is."""
    path = folder / "sources" / class_name / f"{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    write_mask(folder / "truth" / class_name / f"{number}.png", truth)


def table(webui: WebUI, folder: Path, name: str) -> Iterator[str]:
    """One line a setting."""
    for strength in STRENGTHS:
        for area in AREAS:
            for fill in FILLS:
                for edge in EDGES:
                    found = [
                        measure(folder, output, record)
                        for output, record in repaint(webui, folder, strength=strength, area=area, fill=fill, edge=edge)
                    ]
                    outside, inside = (
                        np.mean([getattr(one, what) for one in found]) for what in ("changed_outside", "changed_inside")
                    )
                    seam = float(np.median([one.seam for one in found]))
                    figures = f"{len(found)} | {outside:.2%} | {inside:.1%} | {seam:.2f}"
                    yield f"| {name} | {strength} | {area} | {fill} | {edge} | {figures} |"


def repaint(
    webui: WebUI, folder: Path, *, strength: float, area: str, fill: str, edge: str
) -> Iterator[tuple[Path, ImageRecord]]:
    """Images with one setting, and the output they are in."""
    feather_px, blur_px = EDGES[edge]
    masks, output = folder / f"masks {feather_px}", folder / f"out {strength} {area} {fill} {feather_px}"
    sources = discover(folder / "sources")
    for source in sources:
        truth = read_mask(mask_path(folder / "truth", source), Image.open(source.path).size)
        write_mask(mask_path(masks, source), grow_and_feather(truth, grow_px=GROW_PX, feather_px=feather_px))
    settings = GenerationSettings(
        denoising_strength=strength,
        native_px=256,
        steps=4,
        inpaint_area=area,  # type: ignore[arg-type]
        inpaint_fill=fill,  # type: ignore[arg-type]
        mask_blur=blur_px,
    )
    runner = BatchRunner(webui, folder / "sources", output, settings, GenerateOptions(masks=masks))
    for record in tqdm(runner.run([(source, 1) for source in sources]), total=len(sources), leave=False):
        yield output, record


def measure(folder: Path, output: Path, record: ImageRecord) -> Found:
    """Compare an image with its source."""
    source, made = levels(folder / "sources" / record.source), levels(output / record.file)
    mask = np.asarray(read_mask(output / record.mask, (record.width, record.height)))
    changed = (source != made).any(axis=2)
    outside = changed[mask == 0]
    return Found(
        float(outside.mean()) if outside.size else 0.0,
        float(changed[mask == 255].mean()),
        seam_score(made, mask) / seam_score(source, mask),
    )


def seam_score(picture: Levels, mask: NDArray[np.uint8]) -> float:
    """Mean step from pixel to pixel across the mask's edge, divided by the mean step beside it.

    Args:
        picture: (H, W, bands) levels.
        mask: (H, W); the edge is where it passes from below 128 to 128 and more.
    """
    inside = mask >= 128
    beside = ndimage.binary_dilation(inside, iterations=_BESIDE_PX) & ~ndimage.binary_erosion(
        inside, iterations=_BESIDE_PX
    )
    across, along = [], []
    for turned in (False, True):
        levels_, hard, near = (np.swapaxes(array, 0, 1) if turned else array for array in (picture, inside, beside))
        step = np.abs(np.diff(levels_, axis=0)).mean(axis=2)
        crosses = hard[:-1] != hard[1:]
        across.append(step[crosses])
        along.append(step[near[:-1] & near[1:] & ~crosses])
    # Half a level more on both sides: black and white crops have places without any step.
    return float((np.concatenate(across).mean() + 0.5) / (np.concatenate(along).mean() + 0.5))


def levels(path: Path) -> Levels:
    """A picture as (H, W, bands)."""
    with Image.open(path) as image:
        return np.atleast_3d(np.asarray(image, dtype=np.float64))


def draw(webui: WebUI, folder: Path, path: Path) -> None:
    """Source, mask, and the same place repainted with a hard and with a soft edge."""
    columns = {
        "hard edge, strength 0.6": {"strength": 0.6, "edge": "hard"},
        "feather 3 px, strength 0.6": {"strength": 0.6, "edge": "feather 3 px (usual)"},
        "feather 3 px, strength 0.3": {"strength": 0.3, "edge": "feather 3 px (usual)"},
    }
    first = {name: Source(name, 1, folder / "sources" / name / "1.png") for name in COUNTS if name != "Normal"}
    cells: dict[str, list[Cell]] = {}
    for name, source in first.items():
        with Image.open(source.path) as image:
            picture = image.convert("RGB")
        mask = read_mask(mask_path(folder / "masks 3", source), picture.size)
        cells[name] = [Cell(picture, ""), Cell(outlined(picture, mask), ""), Cell(mask, "")]
    for choice in columns.values():
        list(repaint(webui, folder, area="masked", fill="original", **choice))  # type: ignore[arg-type]
        feather_px = EDGES[str(choice["edge"])][0]
        output = folder / f"out {choice['strength']} masked original {feather_px}"
        for name in first:
            with Image.open(output / name / "1_1.png") as image:
                cells[name].append(Cell(image.convert("RGB"), ""))
    headings = ["source", "outline", "mask", *columns]
    sheet = draw_sheet(headings, [Row(name.replace("_", " "), tuple(row)) for name, row in cells.items()])
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.image.save(path, optimize=True)


if __name__ == "__main__":
    main()
