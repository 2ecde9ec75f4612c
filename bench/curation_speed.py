"""How long each score takes, how long 10,000 hashes are compared, and whether worker processes pay.

    python bench/curation_speed.py PHOTOS [--sides 96,512] [--pictures 20] [--images 400]

PHOTOS is a folder of class folders. Pictures are enlarged or shrunk to each side. Needs the extras `curate`, `serve`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from planted_faults import sibling

from sdclient.batch.spoiled import examine_sibling
from sdclient.curate import Curator
from sdclient.curate.faces import face_score
from sdclient.curate.fingerprints import BITS, close_pairs, hash_of
from sdclient.curate.knowledge import RealKnowledge
from sdclient.curate.learnt import Learnt
from sdclient.curate.likeness import comparable, likeness, likeness_of_retakes, pair_likeness
from sdclient.curate.pixels import grey_of
from sdclient.curate.real import measure_pictures
from sdclient.curate.score import Base, score_image
from sdclient.curate.scorer import ScoreJob
from sdclient.curate.scoring import scoring
from sdclient.curate.settings import CurationSettings
from sdclient.curate.sharpness import grain, sharpness, texture
from sdclient.curate.tone import look_of
from sdclient.curate.twins import HASH_RADIUS, MOST_TWINS
from sdclient.manifest import ImageRecord, Manifest
from sdclient.manifest_curation import Curation
from sdclient.manifest_fingerprints import Fingerprint, Fingerprints
from sdclient.photos import read_photo, sha256_of
from sdclient.sizing import to_rgb

Pair = tuple[Image.Image, Image.Image]


def main() -> None:
    """Print three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--sides", default="96,512")
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--images", type=int, default=400, help="images scored to compare worker processes")
    arguments = parser.parse_args()
    paths = sorted(path for folder in sorted(arguments.photos.iterdir()) for path in sorted(folder.iterdir()))
    step = max(1, len(paths) // arguments.pictures)
    photos = [read_photo(path) for path in paths[::step][: arguments.pictures]]
    for side in map(int, arguments.sides.split(",")):
        sources = [photo.resize((side, side), Image.Resampling.BICUBIC) for photo in photos]
        print_scores(side, [(sibling(one, 0.25, number), one) for number, one in enumerate(sources)])
    print_hashes(10_000)
    print_judging(10_000, photos)
    print_workers(arguments.images, photos)


def print_scores(side: int, pairs: list[Pair]) -> None:
    """Milliseconds of processor time an image of each score: what else runs on the machine does not count."""
    learnt = Learnt({"all": measure_pictures([source for _, source in pairs])})
    bases = [Base(source) for _, source in pairs]
    for base in bases:
        _ = base.likeness_of_retakes, base.hash, base.rgb
    look = look_of(pairs[0][0])
    cases: dict[str, Callable[[int], object]] = {
        "likeness to the base": lambda k: likeness(*pairs[k]),
        "likeness of the base taken again (once a source)": lambda k: likeness_of_retakes(pairs[k][1]),
        "noise and colour noise": lambda k: examine_sibling(to_rgb(pairs[k][0]), bases[k].rgb),
        "perceptual hash": lambda k: hash_of(pairs[k][0]),
        "sharpness": lambda k: sharpness(grey_of(pairs[k][0])),
        "texture": lambda k: texture(grey_of(pairs[k][0])),
        "grain": lambda k: grain(grey_of(pairs[k][0])),
        "distributions of tone and colour": lambda k: look_of(pairs[k][0]),
        "their distances to real images": lambda k: (
            learnt.tone_distance("all", look),
            learnt.colour_distance("all", look),
        ),
        "face": lambda k: face_score(pairs[k][0]),
        "one near duplicate compared": lambda k: pair_likeness(comparable(pairs[k][0]), comparable(pairs[k][1])),
        "measures of a real image (once)": lambda k: measure_pictures([pairs[k][1]]),
        "all scores of an image, its source known": lambda k: score_image(pairs[k][0], bases[k], "all", learnt),
    }
    print(f"\n| score, {side} px | CPU ms | images/s |\n|---|---|---|")
    for name, case in cases.items():
        case(0)
        begin = time.process_time()
        for k in range(len(pairs)):
            case(k)
        seconds = (time.process_time() - begin) / len(pairs)
        print(f"| {name} | {1000 * seconds:.2f} | {1 / seconds:.0f} |")


def print_hashes(count: int) -> None:
    """Seconds of processor time for so many hashes against one another, and for 100 new ones against them."""
    rng = np.random.default_rng(0)
    hashes = [rng.bytes(BITS // 8).hex() for _ in range(count + 100)]
    print(f"\n| {count} hashes of one class | CPU s |\n|---|---|")
    for name, known, first in (("all new", hashes[:count], 0), ("100 new ones beside them", hashes, count)):
        begin = time.process_time()
        close_pairs(known, radius=HASH_RADIUS, most=MOST_TWINS, first_new=first)
        print(f"| {name} | {time.process_time() - begin:.2f} |")


def print_judging(count: int, photos: list[Image.Image]) -> None:
    """Seconds of processor time that a loop pays at each call when nothing is new, with so many images."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        root, output = Path(folder), Path(folder, "output")
        (root / "sources" / "all").mkdir(parents=True)
        output.mkdir()
        for number, photo in enumerate(photos, 1):
            photo.save(root / "sources" / "all" / f"{number}.png")
        source = sha256_of(root / "sources" / "all" / "1.png")
        files = [f"all/1_{k}.png" for k in range(count)]
        with Manifest(output, create=True) as manifest:
            manifest.set_run({"sources": str(root / "sources")})
            manifest.add(record(file, k, source) for k, file in enumerate(files))
            knowledge = RealKnowledge(output, manifest.run(), CurationSettings(), is_dry_run=False)
            scores = score_image(photos[0], Base(photos[0]), "all", Learnt(knowledge.measures())).scores
            Curation(manifest).set_scores((file, file, scores) for file in files)
            hashes = (rng.bytes(BITS // 8).hex() for _ in files)
            Fingerprints(manifest).keep(
                Fingerprint(file, file, knowledge.basis, digits, ()) for file, digits in zip(files, hashes, strict=True)
            )
            curator = Curator(output, manifest)
            print(f"\n| nothing new, {count} images of one class | CPU s |\n|---|---|")
            for name in ("first call", "next call"):
                begin = time.process_time()
                curator.score_missing()
                curator.judge()
                print(f"| {name} | {time.process_time() - begin:.2f} |")


def record(file: str, k: int, source_sha256: str) -> ImageRecord:
    """A row whose image has the file's name for its bytes."""
    return ImageRecord(
        file=file,
        class_name="all",
        source="all/1.png",
        source_sha256=source_sha256,
        k=k,
        seed=k,
        key=file,
        sha256=file,
        width=96,
        height=96,
        server="",
        model="",
        engine="",
        asked={},
        used={},
        infotext="",
        created_at="2026-01-01T00:00:00+00:00",
    )


def print_workers(count: int, photos: list[Image.Image]) -> None:
    """Seconds to score so many image files with one process and with two, starting them included."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        jobs = []
        for number in range(count):
            base, image = root / f"{number % len(photos)}.png", root / f"image_{number}.png"
            if not base.is_file():
                photos[number % len(photos)].save(base)
            sibling(photos[number % len(photos)], 0.25, number).save(image)
            jobs.append(ScoreJob(image.name, sha256_of(image), "all", str(base), sha256_of(base), ""))
        jobs.sort(key=lambda job: job.base)
        real = {"all": measure_pictures(photos)}
        print(f"\n| processes, {count} images of {photos[0].width} px | s | images/s |\n|---|---|---|")
        for workers in (1, 2):
            begin = time.perf_counter()
            with scoring(root, real, with_faces=True, images=count, workers=workers) as pool:
                done = sum(len(chunk) for chunk in pool.score(jobs))
            seconds = time.perf_counter() - begin
            print(f"| {workers} | {seconds:.1f} | {done / seconds:.0f} |")


if __name__ == "__main__":
    sys.exit(main())
