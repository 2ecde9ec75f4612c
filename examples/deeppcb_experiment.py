"""The whole question on real boards: what do images of a diffusion model of the user's own add to DeepPCB's long tail?

    python examples/deeppcb_experiment.py PATH --model MODEL [--out deeppcb-experiment]

PATH holds DeepPCB's `images/<class>/*.png` and `split.csv`; MODEL is what `generator train OUT/crops/train -o MODEL`
made of the long tail's training images and of nothing else. The script lays the data out, makes the sets that
`deeppcb_experiment.toml` names with the commands a user would type, and runs the experiment. Stopped, the same command
goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from chain import Recipe, claim, run_script
from deeppcb import CAVEAT, lay_out
from PIL import Image
from steps import StepFailed, run, say, server

TARGET, LARGER_TARGET = 100, 150
"""Real and generated images together, to which each defect type is filled; the second makes about twice as many."""
LOW, HIGH = "0.15:0.3", "0.35:0.6"
CROP_PX = 96
NORMAL = "Normal"
NORMAL_IMAGES = 100
NATIVE_PX = 64
"""Side of the square that the model was trained on."""
EXPERIMENT = Path(__file__).with_suffix(".toml")
RECIPE = Recipe(target=TARGET, epochs=30, images_per_epoch=704, seeds=3, caveat=CAVEAT, native_size_px=NATIVE_PX)
"""What the output folder is known by; the settings of training stand in the experiment's file."""


@dataclass(frozen=True)
class Folders:
    """Where everything lies."""

    out: Path

    @property
    def crops(self) -> Path:
        """train/, val/ and test/ as DeepPCB has them, 96 px."""
        return self.out / "crops"

    @property
    def data(self) -> Path:
        """The same at the model's size, so that nothing is enlarged, which would blur generated images alone."""
        return self.out / "data"

    @property
    def sources(self) -> Path:
        """Numbered training images."""
        return self.out / "sources"


def prepare(path: Path, model: Path, folders: Folders, *, threads: int) -> None:
    """Lay out, number, plan, mask, and make every set.

    Raises:
        StepFailed: a step failed; it has said why.
    """
    out, sources = folders.out, folders.sources
    say("Lay out the long tail by its own split")
    lay_out(path, folders.crops, "train_longtail")
    refuse_other_model(model, folders.crops)
    shrink(folders.crops, folders.data)
    run("sdclient", "number", folders.data / "train", sources)
    plan, larger, of_normal = out / "plan.csv", out / "larger.csv", out / "normal.csv"
    run("sdclient", "plan", sources, "--target", TARGET, "-o", plan)
    run("sdclient", "plan", sources, "--target", LARGER_TARGET, "-o", larger)
    write_plan_of_normal(of_normal, folders)
    say("Masks from DeepPCB's boxes, and the defects put on other boards")
    write_boxes(path / "split.csv", out / "labels")
    run("sdclient", "mask", sources, out / "masks", "--boxes", out / "labels")
    transplant = ("sdclient", "compose", sources, sources / NORMAL, out / "transplant", "--masks", out / "masks")
    # Some defects, shorts above all, find no other place: two traces would have to lie just as far apart there.
    run(*transplant, "--plan", plan, "--right-angles", "--sheet", out / "transplant.png", may_fall_short=True)
    say("Generate with the diffusion model")
    engine = ("--engine", "diffusion", "--model", model, "--threads", threads)
    with server(out / "server.log", *engine) as url:
        until_accepted(folders, "low", plan, url, LOW)
        until_accepted(folders, "high", plan, url, HIGH)
        until_accepted(folders, "more", larger, url, HIGH)
        until_accepted(folders, "normal", of_normal, url, HIGH)
        run(*generate(folders, "uncurated", plan, url), "--set", f"denoising_strength={HIGH}")
    run("sdclient", "curate", out / "transplant")


def until_accepted(folders: Folders, name: str, plan: Path, url: str, strengths: str) -> None:
    """Generate by a plan until each class has its number of accepted images."""
    run(*generate(folders, name, plan, url), "--until-accepted", "--strength-range", strengths)


def generate(folders: Folders, name: str, plan: Path, url: str) -> tuple[object, ...]:
    """`sdclient generate` into a set; the prompt tells the model the class."""
    command = ("sdclient", "generate", folders.sources, folders.out / name, "--url", url, "--plan", plan)
    settings = ("--prompt", "{class}", "--native-size", NATIVE_PX, "--sampler", "DPM++ 2M Karras", "--steps", 12)
    return (*command, *settings, "--cfg-scale", 2, "--batch-size", 8)


def refuse_other_model(model: Path, data: Path) -> None:
    """A model that has seen a held-out image would carry it into the training set.

    Raises:
        StepFailed: no such model, or one that was trained on other images than the training images.
    """
    record = model / "generator.json"
    if not record.is_file():
        raise StepFailed(
            f"{model}: no generator.json; train a model first: generator train {data / 'train'} -o {model}"
        )
    learned_from = json.loads(record.read_text(encoding="utf-8"))["data"]["learned_from"]
    seen = {image["sha256"] for image in learned_from}
    with (data / "split.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    own = {row["sha256"] for row in rows if row["split"] == "train"}
    if not seen or not seen <= own:
        raise StepFailed(
            f"{record}: {len(seen - own)} of its {len(seen)} training images are not of {data / 'train'}; "
            "train it on these alone"
        )


def shrink(crops: Path, data: Path) -> None:
    """Every crop at the model's size, and `split.csv` with its groups; pictures that are there stay."""
    for path in sorted(crops.glob("*/*/*.png")):
        target = data / path.relative_to(crops)
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_suffix(".part")
            with Image.open(path) as image:
                image.resize((NATIVE_PX, NATIVE_PX), Image.Resampling.LANCZOS).save(part, format="PNG")
            part.replace(target)
    with (crops / "split.csv").open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        rows, columns = list(reader), list(reader.fieldnames or ())
    for row in rows:
        row["sha256"] = hashlib.sha256((data / row["file"]).read_bytes()).hexdigest()
    part = data / "split.csv.part"
    with part.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    part.replace(data / "split.csv")


def write_boxes(table: Path, labels: Path) -> None:
    """DeepPCB's boxes as YOLO files, named as the crops are."""
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["class"] != NORMAL]
    names = sorted({row["class"] for row in rows})
    labels.mkdir(parents=True, exist_ok=True)
    (labels / "classes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    for row in rows:
        left, top, right, bottom = (float(row[edge]) / CROP_PX for edge in ("bx1", "by1", "bx2", "by2"))
        numbers = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        words = " ".join([str(names.index(row["class"])), *(f"{number:.6f}" for number in numbers)])
        path = labels / row["class"] / f"{Path(row['file']).stem}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(words + "\n", encoding="utf-8")


def write_plan_of_normal(path: Path, folders: Folders) -> None:
    """One image each of the first Normal sources that are not, byte for byte, in validation or test too."""
    held_out = {
        hashlib.sha256(image.read_bytes()).hexdigest()
        for split in ("val", "test")
        for image in (folders.data / split).glob("*/*.png")
    }
    with (folders.sources / "mapping.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["class"] == NORMAL and row["sha256"] not in held_out]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("class", "source", "count"))
        writer.writerows((NORMAL, row["new_name"], 1) for row in rows[:NORMAL_IMAGES])


def main() -> int:
    """Prepare and run the experiment from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path, help="folder with images/ and split.csv")
    parser.add_argument("--model", type=Path, required=True, help="folder that 'generator train' made")
    parser.add_argument("--out", type=Path, default=Path("deeppcb-experiment"), help="folder to write into")
    parser.add_argument("--threads", type=int, default=2, help="of the model, while it generates")
    asked = parser.parse_args()
    folders = Folders(asked.out)

    def work() -> Path:
        claim(asked.out, RECIPE, "deeppcb experiment")
        prepare(asked.path, asked.model, folders, threads=asked.threads)
        shutil.copyfile(EXPERIMENT, asked.out / EXPERIMENT.name)
        say("Train every arm and seed, and judge")
        run("trainer", "experiment", asked.out / EXPERIMENT.name)
        return asked.out / "experiment" / "report.html"

    return run_script("deeppcb_experiment", work, "The generated images come from a diffusion model of these crops.")


if __name__ == "__main__":
    sys.exit(main())
