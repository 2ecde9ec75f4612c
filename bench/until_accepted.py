"""How many images it takes until enough are accepted: strengths that follow the sources against fixed ones.

    python bench/until_accepted.py [--crops DEEPPCB] [--sources 10] [--per-source 4] [--seeds 3] [--json FILE]

Draws boards (`examples/boards.py`) as sources, adds DeepPCB's crops where they are given, and runs `generate
--until-accepted` on the embedded server's classical engine (not Stable Diffusion) with the filters of `sdclient curate`
at their usual limits: once with strengths from 0.15 to 0.45 that follow the sources, once with each of the fixed
strengths 0.2, 0.25 and 0.3, which regenerate with new seeds. Everything else is the same: plan, budget, how what an
exhausted source owes is passed on. One image a request, so that requests and images are the same number. Needs the
extras `serve` and `curate`.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import copyfile

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from boards import COUNTS, draw_boards  # type: ignore[import-not-found]

from sdclient.batch import BatchRunner, GenerateOptions, GenerationSettings, RunSpec
from sdclient.batch.strength import AdaptiveStrength, Expectation, StrengthPolicy
from sdclient.batch.until_accepted import AcceptanceLoop, open_filters
from sdclient.manifest import Manifest
from sdclient.sources import discover
from sdclient.testing import serve_webui

FIXED = (0.2, 0.25, 0.3)
LOW, HIGH = 0.15, 0.45
BUDGET = 12.0
BOARDS, CROPS, BOTH = "boards", "crops", "both"
NATIVE_PX = 96
"""Boards and crops are that large; generating at another size would blur them before any strength does."""


@dataclass(frozen=True)
class Found:
    """One run."""

    strengths: str
    seed: int
    sources: str
    """"boards", "crops" or "both"."""
    planned: int
    accepted: int
    requests: int
    """Generating jobs that the server counted."""
    too_alike: int
    unreal: int


class FixedStrength:
    """One strength for all sources, whatever the filters say: what following the sources is compared with."""

    def __init__(self, strength: float) -> None:
        self._expectation = Expectation(strength, 1.0)

    def expect(self, class_name: str, source: str) -> Expectation:
        """The one strength."""
        return self._expectation

    def observe(self, class_name: str, source: str, strength: float, *, too_alike: bool, unreal: bool) -> None:
        """Learn nothing."""


def board_sources(folder: Path, count: int) -> None:
    """Drawn boards of each defect class, numbered from 1."""
    drawn = folder.with_name("drawn")
    draw_boards(drawn, 0, counts={name: count for name in COUNTS if name != "Normal"})
    for class_folder in drawn.iterdir():
        (folder / f"{BOARDS}-{class_folder.name}").mkdir(parents=True)
        for number, path in enumerate(sorted(class_folder.iterdir()), start=1):
            copyfile(path, folder / f"{BOARDS}-{class_folder.name}" / f"{number}.png")


def crop_sources(folder: Path, crops: Path, count: int) -> None:
    """The first crops of each defect class of DeepPCB's long tail, numbered from 1."""
    with (crops / "split.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["train_longtail"] == "1" and row["class"] != "Normal"]
    for name in sorted({row["class"] for row in rows}):
        (folder / f"{CROPS}-{name}").mkdir(parents=True)
        files = [row["file"] for row in rows if row["class"] == name][:count]
        for number, file in enumerate(files, start=1):
            copyfile(crops / "images" / file, folder / f"{CROPS}-{name}" / f"{number}.png")


def run(name: str, strengths: float | None, seed: int, sources_folder: Path, per_source: int) -> list[Found]:
    """One run into a fresh output on a fresh server."""
    sources = discover(sources_folder)
    spec = RunSpec.from_settings(
        GenerationSettings(native_px=NATIVE_PX, batch_size=1, seed=seed, denoising_strength=(LOW + HIGH) / 2)
    )
    chosen: StrengthPolicy = (
        AdaptiveStrength(spec, sources, low=LOW, high=HIGH) if strengths is None else FixedStrength(strengths)
    )
    with tempfile.TemporaryDirectory() as folder, serve_webui() as server, server.client() as webui:
        output = Path(folder) / "out"
        runner = BatchRunner(webui, sources_folder, output, spec, GenerateOptions(check=None))
        loop = AcceptanceLoop(
            runner,
            output,
            spec,
            [(source, per_source) for source in sources],
            chosen,
            parameters={"strengths": name},
            budget=BUDGET,
            open_judge=open_filters,
        )
        for _ in loop.run():
            pass
        requests, classes = len(server.jobs), loop.outcomes()
        with Manifest(output, create=True) as manifest:
            judged = [one for one in open_filters(output, manifest)() if not one.is_accepted]
    if requests != sum(one.made for one in classes):
        raise SystemExit(f"{requests} requests, but {sum(one.made for one in classes)} images")
    found = []
    for kind in (BOARDS, CROPS, BOTH):
        own = [one for one in classes if kind in (BOTH, one.class_name.partition("-")[0])]
        names = {one.class_name for one in own}
        found.append(
            Found(
                name,
                seed,
                kind,
                planned=sum(one.planned for one in own),
                accepted=sum(min(one.accepted, one.planned) for one in own),
                requests=sum(one.made for one in own),
                too_alike=sum(one.is_too_alike for one in judged if one.class_name in names),
                unreal=sum(one.is_unreal for one in judged if one.class_name in names),
            )
        )
    return [one for one in found if one.planned]


def main() -> int:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--crops", type=Path, help="folder with DeepPCB's images/ and split.csv")
    parser.add_argument("--sources", type=int, default=10, help="sources of each class")
    parser.add_argument("--per-source", type=int, default=4, help="accepted images wanted of each source")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write every run to this file")
    given = parser.parse_args()
    found: list[Found] = []
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "sources"
        board_sources(sources, given.sources)
        if given.crops is not None:
            crop_sources(sources, given.crops, given.sources)
        for seed in range(given.seeds):
            for name, strength in (("following", None), *((f"fixed {one:g}", one) for one in FIXED)):
                found += run(name, strength, seed, sources, given.per_source)
                print(found[-1], file=sys.stderr, flush=True)
    print_table(found)
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(one) for one in found], indent=2), encoding="utf-8")
    return 0


def print_table(found: Sequence[Found]) -> None:
    """Means over the seeds, least to most in brackets."""
    heads = f"{'planned':>8} {'accepted':>9} {'requests':>22} {'too alike':>10} {'unreal':>7}"
    print(f"{'sources':<8} {'strengths':<12} {heads}")
    for kind, name in dict.fromkeys((one.sources, one.strengths) for one in sorted(found, key=lambda one: one.sources)):
        runs = [one for one in found if (one.sources, one.strengths) == (kind, name)]
        requests = [one.requests for one in runs]
        spread = f"{statistics.mean(requests):.1f} ({min(requests)}-{max(requests)})"
        columns = zip(*((one.accepted, one.too_alike, one.unreal) for one in runs), strict=True)
        accepted, alike, unreal = (statistics.mean(column) for column in columns)
        figures = f"{runs[0].planned:>8} {accepted:>9.1f} {spread:>22} {alike:>10.1f} {unreal:>7.1f}"
        print(f"{kind:<8} {name:<12} {figures}")


if __name__ == "__main__":
    sys.exit(main())
