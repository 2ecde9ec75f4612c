"""The whole chain on DeepPCB crops, with their own split and long-tail column.

    python examples/deeppcb.py PATH [--out deeppcb-out] [--epochs 30] [--seeds 3] [--column train_longtail]

PATH holds `images/<class>/*.png` and `split.csv` (columns file, class, split, group and the long-tail column).
Training uses the rows of `train` that the column marks; validation and test are taken as they are.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from chain import Recipe, claim, run_chain, run_script
from steps import StepFailed, say

TARGET = 100
"""Training images of each defect type afterwards; generated images are then about a third of all."""

CAVEAT = (
    "DeepPCB's boards are real, but its README says that many of its defects were added to the tested images by hand, "
    "and the images are black and white."
)

_OUR_COLUMNS = ("file", "class", "split", "group", "source", "sha256")
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Layout:
    """What was copied."""

    counts: dict[str, Counter[str]]
    """Images per split and class."""
    repeated: Counter[str]
    """Training images per class whose very bytes are in validation or test too."""


def lay_out(source: Path, data: Path, column: str) -> Layout:
    """Copy the images into `data/<split>/<class>/`, with `data/split.csv` in the form of 'trainer split'.

    Args:
        source: folder with `images/` and `split.csv`.
        data: folder to fill; files that are there already are written again.
        column: only training rows with "1" in it are taken; "train" takes every training row.

    Raises:
        StepFailed: not such a folder, no such column, a file that is missing, or a group on two sides.
    """
    rows = _read(source, column)
    counts: dict[str, Counter[str]] = {split: Counter() for split in _SPLITS}
    side_of: dict[str, str] = {}
    written = []
    for line, row in enumerate(rows, start=2):
        split, name = row["split"], row["class"]
        if split not in _SPLITS:
            raise StepFailed(f"{source / 'split.csv'} line {line}: split {split!r}; expected one of {_SPLITS}")
        if side_of.setdefault(row["group"], split) != split:
            raise StepFailed(f"{source / 'split.csv'} line {line}: group {row['group']} is on two sides")
        if split == "train" and column != "train" and row[column] != "1":
            continue
        picture = source / "images" / row["file"]
        if not picture.is_file():
            raise StepFailed(f"{picture}: not there, though line {line} of split.csv names it")
        content = picture.read_bytes()
        relative = f"{split}/{name}/{picture.name}"
        target = data / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        counts[split][name] += 1
        digest = hashlib.sha256(content).hexdigest()
        written.append((relative, name, split, row["group"], row["file"], digest))
    if not all(counts.values()):
        raise StepFailed(f"{source / 'split.csv'}: no images for {', '.join(s for s in _SPLITS if not counts[s])}")
    held_out = {digest for *_, split, _, _, digest in written if split != "train"}
    repeated = Counter(name for _, name, split, _, _, digest in written if split == "train" and digest in held_out)
    part = data / "split.csv.part"
    with part.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([_OUR_COLUMNS, *written])
    part.replace(data / "split.csv")
    return Layout(counts, repeated)


def _read(source: Path, column: str) -> list[dict[str, str]]:
    table = source / "split.csv"
    if not table.is_file() or not (source / "images").is_dir():
        raise StepFailed(f"{source}: expected a DeepPCB folder with 'images' and 'split.csv' in it")
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        needed = {"file", "class", "split", "group"} | ({column} - {"train"})
        if missing := sorted(needed - set(reader.fieldnames or ())):
            raise StepFailed(f"{table}: no column {', '.join(missing)}; it has {', '.join(reader.fieldnames or ())}")
        return list(reader)


def main() -> int:
    """Run the chain from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path, help="folder with images/ and split.csv")
    parser.add_argument("--out", type=Path, default=Path("deeppcb-out"), help="folder to write into")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--column", default="train_longtail", help="marks the training rows; 'train' takes all")
    parser.add_argument("--target", type=int, default=TARGET, help="images to fill each defect type to")
    asked = parser.parse_args()
    recipe = Recipe(target=asked.target, epochs=asked.epochs, images_per_epoch=704, seeds=asked.seeds, caveat=CAVEAT)

    def work() -> Path:
        claim(asked.out, recipe, f"deeppcb {asked.column}")
        say("Lay out the images by their own split")
        layout = lay_out(asked.path, asked.out / "data", asked.column)
        for split, classes in layout.counts.items():
            print(f"{split}: {', '.join(f'{name} {count}' for name, count in sorted(classes.items()))}", flush=True)
        for name, count in sorted(layout.repeated.items()):
            print(f"note: {count} training images of {name} are in val or test byte for byte; the split has them so")
        return run_chain(asked.out / "data", asked.out, recipe)

    return run_script("deeppcb", work, "The images were generated by a classical engine, not by Stable Diffusion.")


if __name__ == "__main__":
    sys.exit(main())
