"""A film strip of what becomes of a source: its mask, images made from it, and those that were rejected.

    python examples/film_strip.py film-strip.png [--deeppcb PATH] [--work film-strip-work]

Draws a few boards (and takes a few crops of DeepPCB, where its folder is given), runs the commands a user would type,
and puts on one sheet, a row a source: the source, its mask, an image repainted inside the mask, a transplant, and two
images that 'sdclient curate' rejected, with its reasons. What is made on the embedded server comes from its classical
engine, **not** from Stable Diffusion, and the sheet says so.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from boards import SURFACES, draw_pair
from chain import run_script
from PIL import Image
from steps import StepFailed, run, say, server
from strip_sheet import Frame, Row, draw_strip

from sdclient.curate import REASONS, Direction
from sdclient.manifest import MANIFEST_NAME, Curation, ImageRecord, Manifest
from sdclient.manifest.curation import Verdict

BOARD_CLASSES = ("scratch", "foreign_fibre", "pit", "exposed_copper")
DEEPPCB_CLASSES = ("mousebite",)
NORMAL = "Normal"

HEADINGS = (
    ("Source", "a defect you have"),
    ("Mask", "white is repainted"),
    ("Generated", "repainted inside the mask"),
    ("Transplanted", "put on a good board"),
    ("Rejected", "too alike"),
    ("Rejected", "unreal"),
)
FOOTER = (
    "Generated on the embedded server: its engine is classical, not Stable Diffusion. Transplants need no generator. "
    "Verdicts and reasons are those of sdclient curate."
)


@dataclass(frozen=True)
class Kind:
    """One sort of pictures: where they lie, and how their masks are made."""

    root: Path
    title: str
    classes: tuple[str, ...]
    mask_options: tuple[object, ...]


@dataclass(frozen=True)
class Made:
    """An output folder with what was judged of it."""

    folder: Path
    records: tuple[ImageRecord, ...]
    verdicts: dict[str, Verdict]

    def of(self, source: str) -> Iterator[tuple[ImageRecord, Verdict]]:
        """Images of a source, in the order of their numbers."""
        for record in sorted(self.records, key=lambda one: one.k):
            if record.source == source:
                yield record, self.verdicts[record.file]


def draw_photos(root: Path, classes: Sequence[str], per_class: int) -> Kind:
    """Draw boards, and for each defect the same board without it, from which its mask will come."""
    for name in (NORMAL, *classes):
        for number in range(per_class):
            surface = SURFACES[number % 2]
            shown, good = draw_pair(name, surface, seed=3, number=number)
            for folder, picture in (("photos", shown), *((("good", good),) if name != NORMAL else ())):
                path = root / folder / name / f"{surface}_{number:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.save(path)
    return Kind(root, "drawn board", tuple(classes), ("--good", root / "good", "--max-shift", 1))


def take_deeppcb(path: Path, root: Path, classes: Sequence[str], per_class: int) -> Kind:
    """Copy training crops of DeepPCB, and write their boxes as YOLO files.

    Raises:
        StepFailed: no such data.
    """
    table = path / "split.csv"
    if not table.is_file():
        raise StepFailed(f"{path}: expected a DeepPCB folder with 'images' and 'split.csv' in it")
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    labels = root / "labels"
    labels.mkdir(parents=True)
    (labels / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    for name in (NORMAL, *classes):
        for row in [row for row in rows if row["class"] == name][:per_class]:
            source = path / "images" / row["file"]
            target = root / "photos" / row["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            if name != NORMAL:
                _write_box(labels / name / f"{target.stem}.txt", classes.index(name), row, target)
    return Kind(root, "DeepPCB", tuple(classes), ("--boxes", labels))


def _write_box(path: Path, number: int, row: dict[str, str], picture: Path) -> None:
    with Image.open(picture) as image:
        width, height = image.size
    left, top, right, bottom = (float(row[name]) for name in ("bx1", "by1", "bx2", "by2"))
    shares = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(" ".join([str(number), *(f"{share:.6f}" for share in shares)]) + "\n", encoding="ascii")


def make(kind: Kind) -> dict[str, Made]:
    """Number, mask, generate, transplant and curate; gives the outputs by name.

    Raises:
        StepFailed: a command failed; it has said why.
    """
    root = kind.root
    sources, masks = root / "sources", root / "masks"
    say(f"{kind.title}: sources and masks")
    run("sdclient", "number", root / "photos", sources)
    classes = [part for name in kind.classes for part in ("--class", name)]
    run("sdclient", "mask", sources, masks, *kind.mask_options, *classes)
    with server(root / "server.log") as url:
        common = ("--url", url, "--native-size", 128, "--batch-size", 4)
        say("Repaint inside the masks")
        inside = ("--masks", masks, "--unmasked", "skip", "--per-source", 4, "--denoising-strength", 0.4)
        run("sdclient", "generate", sources, root / "generated", *inside, *common)
        say("Whole pictures at strengths that are too low and too high, for the sake of what is rejected")
        wrong = ("--per-source", 4, "--set", "denoising_strength=0.03,0.8,0.95")
        run("sdclient", "generate", sources, root / "wrong", *wrong, *common)
    say("Put the defects on good boards")
    plan = _plan_of_masked(sources, masks, root / "plan.csv")
    try:
        run("sdclient", "compose", sources, sources / NORMAL, root / "moved", "--masks", masks, "--plan", plan)
    except StepFailed:
        # So it ends, too, when a few of them find no place, which is no harm here.
        if not (root / "moved" / MANIFEST_NAME).is_file():
            raise
    made = {}
    for name in ("generated", "wrong", "moved"):
        say(f"Keep the good ones of {name!r}")
        run("sdclient", "curate", root / name)
        made[name] = read(root / name)
    return made


def _plan_of_masked(sources: Path, masks: Path, path: Path) -> Path:
    """Two transplants of every source that has a mask."""
    lines = [("class", "source", "count")]
    for mask in sorted(masks.rglob("*.png")):
        (source,) = (sources / mask.parent.name).glob(f"{mask.stem}.*")
        lines.append((mask.parent.name, source.name, "2"))
    path.write_text("".join(",".join(line) + "\n" for line in lines), encoding="utf-8")
    return path


def read(output: Path) -> Made:
    """An output with its verdicts."""
    with Manifest(output) as manifest:
        verdicts = {one.file: one for one in Curation(manifest).verdicts()}
        return Made(output, tuple(manifest.images()), verdicts)


def rows_of(kind: Kind, made: dict[str, Made]) -> list[Row]:
    """A row for one source of each class: the first of which everything can be shown, else of which most can."""
    shown: set[str] = set()
    rows = []
    for name in kind.classes:
        sources = sorted({record.source for record in made["generated"].records if record.class_name == name})
        candidates = [_row(kind, made, source, shown) for source in sources]
        if not candidates:
            raise StepFailed(f"{kind.root}: nothing was generated of {name}")
        row = max(candidates, key=lambda one: sum(frame.picture is not None for frame in one.frames))
        shown.update(frame.words for frame in row.frames)
        rows.append(row)
    return rows


def _row(kind: Kind, made: dict[str, Made], source: str, shown: Iterable[str]) -> Row:
    root = kind.root
    mask = root / "masks" / Path(source).with_suffix(".png")
    frames = [Frame(_open(root / "sources" / source), ""), Frame(_open(mask), "")]
    for name in ("generated", "moved"):
        kept = next((record for record, verdict in made[name].of(source) if verdict.verdict == "accepted"), None)
        words = "accepted" if kept is not None else "none accepted"
        frames.append(Frame(_open(made[name].folder / kept.file) if kept else None, words, "kept" if kept else ""))
    frames += [_rejected(made, source, direction, shown) for direction in (Direction.TOO_ALIKE, Direction.UNREAL)]
    return Row(f"{Path(source).parts[0].replace('_', ' ')}\n{kind.title}", tuple(frames))


def _rejected(made: dict[str, Made], source: str, direction: Direction, shown: Iterable[str]) -> Frame:
    """A rejected image that fails in that direction; one with reasons that are not on the sheet yet goes first."""
    found = []
    for one in made.values():
        for record, verdict in one.of(source):
            reasons = [REASONS[word] for word in verdict.reasons if word in REASONS]
            if verdict.verdict == "rejected" and reasons and all(reason.direction is direction for reason in reasons):
                words = ", ".join(reason.english for reason in reasons)
                found.append((words in shown, Frame(_open(one.folder / record.file), words, "rejected")))
    return min(found, key=lambda pair: pair[0])[1] if found else Frame(None, "none rejected so")


def _open(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def make_strip(target: Path, work: Path, *, boards: Sequence[str], deeppcb: Path | None, per_class: int) -> Path:
    """Make everything and draw the sheet.

    Args:
        target: the PNG file.
        work: a folder that is not there yet, for all that is made on the way.
        boards: classes of drawn boards.
        deeppcb: folder of DeepPCB's crops; None leaves them out.
        per_class: sources of each class.

    Raises:
        StepFailed: a command failed, or the work folder is there already.
    """
    if work.exists():
        raise StepFailed(f"{work}: is there already; name another folder with --work, or delete it")
    kinds = [draw_photos(work / "boards", boards, per_class)]
    if deeppcb is not None:
        kinds.append(take_deeppcb(deeppcb, work / "deeppcb", DEEPPCB_CLASSES, per_class))
    rows = [row for kind in kinds for row in rows_of(kind, make(kind))]
    footer = FOOTER if deeppcb is None else f"{FOOTER} DeepPCB: crops of real boards, (c) 2018 tangsanli5201, MIT."
    draw_strip(HEADINGS, rows, footer).save(target, optimize=True)
    print(json.dumps({row.title.replace("\n", ", "): [frame.words for frame in row.frames] for row in rows}, indent=1))
    return target


def main() -> int:
    """Make the strip from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", type=Path, help="the PNG file to write")
    parser.add_argument("--deeppcb", type=Path, help="folder with DeepPCB's images/ and split.csv")
    parser.add_argument("--work", type=Path, default=Path("film-strip-work"), help="folder for all that is made")
    parser.add_argument("--classes", default=",".join(BOARD_CLASSES), help="of drawn boards, with commas")
    parser.add_argument("--per-class", type=int, default=10, help="sources of each class")
    asked = parser.parse_args()

    def work() -> Path:
        return make_strip(
            asked.target, asked.work, boards=asked.classes.split(","), deeppcb=asked.deeppcb, per_class=asked.per_class
        )

    return run_script("film_strip.py", work, "The engine is classical, not Stable Diffusion.")


if __name__ == "__main__":
    sys.exit(main())
