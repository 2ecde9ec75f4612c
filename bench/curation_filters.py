"""The filters of `sdclient curate` on planted faults, good siblings and held-out real images: recall, false rejects.

    python bench/curation_filters.py DEEPPCB WORK [--per-class 12] [--epochs 30] [--only boards] [--sheets DIR]

DEEPPCB is a folder with `images/<class>/*.png` and `split.csv` (columns file, class, split, train_longtail, sha256);
boards are drawn by `examples/boards.py`. For each of the two, WORK gets a data folder, an output with all planted
pictures, and with --epochs a classifier of `trainer train` on the training part, whose opinion the filters hear. What
is there is used again. Limits are learnt from the training part; false rejects are counted on the test part.
Intervals are Clopper-Pearson, 95 %. Needs the extras `curate`, `serve` and for --epochs `train`.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from planted_faults import copies, faults, good_siblings, retake
from scipy import stats
from tqdm import tqdm

from sdclient.contact_sheets import write_curation_sheets
from sdclient.curate import REASONS, Curator, Direction, JudgedImage
from sdclient.curate.thresholds import CurationSettings
from sdclient.manifest import ImageRecord, Manifest, Parent
from sdclient.sources.source import read_photo
from sdcore.files import sha256_of
from sdcore.images.decode import to_png
from sdcore.images.folders import natural_key

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

HELD_OUT = "held-out real"
DUPLICATE = "sibling taken again"
WRONG = "another defect class"
NORMAL = "a good board"


@dataclass(frozen=True)
class Case:
    """What an image of the output is, for the tables."""

    name: str
    reasons: tuple[str, ...]
    """Words that name its fault rightly; none for one that is good."""


RETAKEN = Case("img2img at 0.25, to be taken again", ())


def main() -> None:
    """Print the tables of both sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("deeppcb", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--per-class", type=int, default=12, help="sources of each class that faults are planted into")
    parser.add_argument("--epochs", type=int, default=0, help="train a classifier so long; 0 does without")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets")
    parser.add_argument("--only", choices=("deeppcb", "boards"), help="one of the two sets")
    arguments = parser.parse_args()
    layouts: dict[str, Callable[[Path], None]] = {
        "deeppcb": lambda data: lay_out_deeppcb(arguments.deeppcb, data),
        "boards": lay_out_boards,
    }
    for name, lay_out in layouts.items():
        if arguments.only not in (None, name):
            continue
        folder = arguments.work / name
        if not (folder / "data").is_dir():
            lay_out(folder / "data")
        made = make_output(folder, arguments.per_class)
        settings = classifier_settings(folder, arguments.epochs) if arguments.epochs else CurationSettings()
        judged = curate(folder / "output", settings)
        print(f"\n## {name}\n")
        report(judged, made, with_opinion=bool(arguments.epochs))
        if arguments.sheets is not None:
            write_curation_sheets(arguments.sheets / name, folder / "output", judged, folder / "data" / "train")


def lay_out_deeppcb(source: Path, data: Path) -> None:
    """Training images of the long tail, validation and test as split.csv says; each picture's bytes in one part."""
    with (source / "split.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] != "train" or row["train_longtail"] == "1"]
    seen: set[str] = set()
    for split in ("test", "val", "train"):
        own = [row for row in rows if row["split"] == split and row["sha256"] not in seen]
        for row in own:
            target = data / split / row["class"] / Path(row["file"]).name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / "images" / row["file"], target)
        seen.update(row["sha256"] for row in own)


def lay_out_boards(data: Path) -> None:
    """Drawn boards: every fourth for the test, every fourth for validation, the rest for training."""
    from boards import draw_boards

    drawn = data.parent / "drawn"
    draw_boards(drawn, 0)
    for folder in sorted(path for path in drawn.iterdir() if path.is_dir()):
        for number, path in enumerate(sorted(folder.iterdir(), key=lambda one: natural_key(one.name))):
            target = data / ("test", "val", "train", "train")[number % 4] / folder.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


def make_output(folder: Path, per_class: int) -> dict[str, Case]:
    """An output with good and planted images of every class; gives what each file is."""
    output, train = folder / "output", folder / "data" / "train"
    listed = folder / "cases.csv"
    if not listed.is_file():
        records, rows = [], []
        for class_name in sorted(path.name for path in train.iterdir()):
            for number, (case, base, picture) in enumerate(pictures(folder / "data", class_name, per_class)):
                record = write_image(output, f"{class_name}/{number}_1.png", class_name, base, picture, folder)
                records.append(record)
                rows.append([record.file, case.name, " ".join(case.reasons)])
        with Manifest(output, create=True) as manifest:
            manifest.set_run({"sources": str(train.resolve()), "other_sources": str((folder / "data").resolve())})
            manifest.add(records)
        with listed.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    with listed.open(encoding="utf-8", newline="") as file:
        return {row[0]: Case(row[1], tuple(row[2].split())) for row in csv.reader(file)}


def pictures(data: Path, class_name: str, per_class: int) -> Iterator[tuple[Case, Path, Image.Image]]:
    """(what it is, the picture it was made from, the picture) of one class."""
    rng = np.random.default_rng([len(class_name), *class_name.encode()])
    train = sorted((data / "train" / class_name).iterdir(), key=lambda path: natural_key(path.name))
    picked = [train[place] for place in sorted(rng.choice(len(train), min(per_class, len(train)), replace=False))]
    for number, path in enumerate(tqdm(picked, desc=class_name)):
        source = read_photo(path)
        good = [one for seed in (2 * number, 2 * number + 1) for one in good_siblings(source, seed)]
        yield RETAKEN, path, good[0].picture
        for one in good[1:]:
            yield Case(one.case, ()), path, one.picture
        yield Case(DUPLICATE, ("near_duplicate",)), path, retake(good[0].picture, rng)
        for one in (*copies(source, rng), *faults(source, 1000 * (number + 1), rng)):
            yield Case(one.case, one.reasons), path, one.picture
    for path in sorted((data / "test" / class_name).iterdir()):
        yield Case(HELD_OUT, ()), path, read_photo(path)
    others = [
        path for other in sorted((data / "test").iterdir()) if other.name != class_name for path in other.iterdir()
    ]
    for path in (others[place] for place in rng.choice(len(others), 4 * per_class, replace=False)):
        kind = Case(
            NORMAL if path.parent.name == "Normal" else WRONG, ("wrong_class", "looks_normal", "far_from_class")
        )
        yield kind, path, read_photo(path)


def write_image(
    output: Path, file: str, class_name: str, base: Path, picture: Image.Image, folder: Path
) -> ImageRecord:
    """Write an image; gives its row, with a real image of the test part as its own base."""
    content = to_png(picture)
    (output / file).parent.mkdir(parents=True, exist_ok=True)
    (output / file).write_bytes(content)
    train = folder / "data" / "train"
    is_own_base = train not in base.parents
    source = next((train / class_name).iterdir()) if is_own_base else base
    other = (Parent(base.relative_to(folder / "data").as_posix(), sha256_of(base)),) if is_own_base else ()
    return ImageRecord(
        file=file,
        class_name=class_name,
        source=source.relative_to(train).as_posix(),
        source_sha256=sha256_of(source),
        k=1,
        seed=0,
        key=file,
        sha256=hashlib.sha256(content).hexdigest(),
        width=picture.width,
        height=picture.height,
        server="",
        model="",
        engine="planted",
        asked={"base": "other"} if is_own_base else {},
        used={},
        infotext="",
        created_at=f"2026-01-01T{int(Path(file).stem.split('_')[0]):06d}",
        other_parents=other,
    )


def classifier_settings(folder: Path, epochs: int) -> CurationSettings:
    """The opinion of a classifier of this set, trained and asked where that was not done yet."""
    data, run, output = folder / "data", folder / "run", folder / "output"
    trainer = [sys.executable, "-m", "trainer"]
    if not (run / "best.pt").is_file():
        subprocess.run([*trainer, "train", data, "-o", run, "--epochs", str(epochs), "--seed", "0"], check=True)
    asked = {"output": output, "real": data / "val"}
    for name, images in asked.items():
        table, features = folder / f"{name}.csv", folder / f"{name}.npz"
        if not features.is_file():
            subprocess.run([*trainer, "predict", run, images, "-o", table, "--features", features], check=True)
    return CurationSettings(
        predictions=folder / "output.csv",
        features=folder / "output.npz",
        real_predictions=folder / "real.csv",
        real_features=folder / "real.npz",
    )


def curate(output: Path, settings: CurationSettings) -> list[JudgedImage]:
    """Score and judge, as the command does."""

    def bar(items: Sequence[object], title: str) -> Iterator[object]:
        return iter(tqdm(items, desc=title))

    with Manifest(output, create=True) as manifest:
        curator = Curator(output, manifest, settings)
        curator.score_missing(bar)
        return curator.judge(bar)


def report(judged: Sequence[JudgedImage], cases: Mapping[str, Case], *, with_opinion: bool) -> None:
    """The tables: recall by case, false rejects by filter."""
    by_case: dict[Case, list[JudgedImage]] = defaultdict(list)
    for one in judged:
        by_case[cases[one.file]].append(one)
    print("| planted | should say | images | says so | rejected at all | other reasons |\n|---|---|---|---|---|---|")
    accepted = {(one.class_name, one.source) for one in by_case[RETAKEN] if one.is_accepted}
    for case, images in by_case.items():
        if not case.reasons or (case.name in (WRONG, NORMAL) and not with_opinion):
            continue
        # Nothing is a duplicate of what was itself rejected.
        found = [one for one in images if case.name != DUPLICATE or (one.class_name, one.source) in accepted]
        right = sum(bool(set(one.reasons) & set(case.reasons)) for one in found)
        # A real image stands for one of the wrong class, as its own base; that it is alike says nothing.
        counted = [_unreal(one) if case.name in (WRONG, NORMAL) else list(one.reasons) for one in found]
        others = _counts(word for words in counted for word in words if word not in case.reasons)
        print(
            f"| {case.name} | {', '.join(case.reasons)} | {len(found)} | {share(right, len(found))} "
            f"| {share(sum(map(bool, counted)), len(found))} | {others} |"
        )
    print("\n| good | images | rejected as unreal | of these | rejected as too alike |\n|---|---|---|---|---|")
    for case, found in by_case.items():
        if not case.reasons:
            words = [_unreal(one) for one in found]
            alike = "-" if case.name == HELD_OUT else share(sum(one.is_too_alike for one in found), len(found))
            reasons = _counts(word for row in words for word in row)
            print(f"| {case.name} | {len(found)} | {share(sum(map(bool, words)), len(found))} | {reasons} | {alike} |")


def share(count: int, total: int) -> str:
    """A rate with its interval and counts."""
    low = stats.beta.ppf(0.025, count, total - count + 1) if count else 0.0
    high = stats.beta.ppf(0.975, count + 1, total - count) if count < total else 1.0
    return f"{count / total:.1%} ({low:.1%} to {high:.1%}; {count}/{total})"


def _unreal(one: JudgedImage) -> list[str]:
    return [word for word in one.reasons if REASONS[word].direction is Direction.UNREAL]


def _counts(words: Iterator[str]) -> str:
    found: dict[str, int] = defaultdict(int)
    for word in words:
        found[word] += 1
    return ", ".join(f"{word} {count}" for word, count in sorted(found.items(), key=lambda item: -item[1])) or "-"


if __name__ == "__main__":
    main()
