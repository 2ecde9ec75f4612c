"""How well the difference between a defect image and a good one finds the defect.

    python bench/difference_masks.py [--deeppcb shared/data/deeppcb] [--boards 40]

On the demo's boards the truth is what was drawn; on DeepPCB's crops it is the box, and the good image is the crop of
the clean template at the same place. Each is laid 1.5 px down and 2.5 px to the left and given other light and noise.
Wrong pairs are a defect image and the good image of another board. "Truth covered" is a median, after the usual
growing; a box is larger than its defect. Needs the extra `curate`.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from boards import COUNTS, SURFACES, draw_pair

from sdclient.errors import MaskError
from sdclient.masks.from_difference import difference_mask
from sdclient.masks.make import FEATHER_PX, GROW_PX
from sdclient.masks.mask import grow_and_feather

SHIFT_PX = (1.5, -2.5)
_NEAR_PX = 3
_DRAWN_LEVELS = 12


@dataclass(frozen=True)
class Case:
    """A defect image, its good image, and where the defect is."""

    group: str
    defect: Image.Image
    good: Image.Image
    truth: NDArray[np.bool_]


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deeppcb", type=Path, help="folder of the crops with split.csv")
    parser.add_argument("--boards", type=int, default=40, help="boards of each defect class")
    arguments = parser.parse_args()
    cases = list(board_cases(arguments.boards))
    if arguments.deeppcb is not None:
        cases += deeppcb_cases(arguments.deeppcb)
    print("| set | pairs | found | touches the truth | truth covered | in or near the truth | wrong pairs refused |")
    print("|---|---|---|---|---|---|---|")
    begin, asked = time.perf_counter(), 0
    for group in dict.fromkeys(case.group for case in cases):
        members = [case for case in cases if case.group == group]
        print(row(group, members))
        asked += 2 * len(members)
    print(f"\n{1000 * (time.perf_counter() - begin) / asked:.0f} ms a pair, {asked} pairs")


def board_cases(each: int) -> Iterator[Case]:
    """Boards with a defect and the same boards without it."""
    for name in COUNTS:
        for number in range(each if name != "Normal" else 0):
            surface = SURFACES[number % 2]
            defect, good = draw_pair(name, surface, seed=0, number=number // 2)
            off = np.abs(np.asarray(defect, dtype=float) - np.asarray(good, dtype=float)).max(axis=2)
            yield Case(f"boards, {name}", defect, moved(good, number), off > _DRAWN_LEVELS)


def deeppcb_cases(folder: Path) -> Iterator[Case]:
    """Crops with a defect and the crops of the template at the same place."""
    with (folder / "split.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    good = {(row["source"], row["box_no"]): row["file"] for row in rows if row["image"] == "temp"}
    for number, row in enumerate(rows):
        template = good.get((row["source"], row["box_no"]))
        if row["class"] == "Normal" or template is None:
            continue
        defect = Image.open(folder / "images" / row["file"]).convert("L")
        truth = np.zeros((defect.height, defect.width), bool)
        left, top, right, bottom = (int(row[name]) for name in ("bx1", "by1", "bx2", "by2"))
        truth[top:bottom, left:right] = True
        picture = Image.open(folder / "images" / template).convert("L")
        yield Case(f"DeepPCB, {row['class']}", defect, moved(picture, number), truth)


def moved(good: Image.Image, seed: int) -> Image.Image:
    """A good image as another photograph would show it: elsewhere, darker and more so to one side, noisy."""
    levels = np.atleast_3d(np.asarray(good, dtype=np.float64))
    levels = ndimage.shift(levels, (*SHIFT_PX, 0), order=1, mode="nearest")
    light = np.linspace(0.98, 0.86, levels.shape[1])[None, :, None]
    noisy = light * levels + 4 + np.random.default_rng(seed).normal(0, 4, levels.shape)
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8).squeeze())


def row(group: str, cases: Sequence[Case]) -> str:
    """One line of the table."""
    found, touching, covered, inside, refused = 0, 0, [], [], 0
    for number, case in enumerate(tqdm(cases, desc=group, leave=False)):
        other = cases[(number + len(cases) // 2) % len(cases)]
        try:
            difference_mask(case.defect, other.good)
        except MaskError:
            refused += 1
        try:
            mask = difference_mask(case.defect, case.good)
        except MaskError:
            continue
        area = np.asarray(mask) > 0
        grown = np.asarray(grow_and_feather(mask, grow_px=GROW_PX, feather_px=FEATHER_PX)) > 0
        found += 1
        touching += bool((area & case.truth).any())
        covered.append((grown & case.truth).sum() / case.truth.sum())
        inside.append((area & ndimage.binary_dilation(case.truth, iterations=_NEAR_PX)).sum() / area.sum())
    return (
        f"| {group} | {len(cases)} | {found / len(cases):.1%} | {touching / len(cases):.1%} | {np.median(covered):.1%} "
        f"| {np.mean(inside):.1%} | {refused / len(cases):.1%} |"
    )


if __name__ == "__main__":
    main()
