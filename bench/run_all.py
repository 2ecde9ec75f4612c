"""Run the benchmarks one after the other, short: their tables, then every goal and whether it holds.

    python bench/run_all.py [--only client --only servers] [-o bench-results]

Each benchmark is a command of its own, started with the arguments below, that saves JSON in the folder of results; it
can be run alone for longer. What it needs besides the project and cannot find (a peer that is not installed) makes it
end with words, and the others run all the same. The exit status is 1 where one failed; a goal that does not hold is
told, and is no failure of the command.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
QUICK: dict[str, tuple[str, ...]] = {
    "client": ("client.py", "--rounds", "1", "--seconds", "3.5", "--cpu-images", "160"),
    "servers": ("servers.py", "--rounds", "2", "--seconds", "3.5"),
    "ddp": ("ddp.py", "--rounds", "1", "--images", "320", "--epochs", "3"),
    "check": ("check_speed.py", "--cleanvision", "2000", "--rounds", "1"),
    "predict": (
        "predict_speed.py",
        "--rounds",
        "1",
        "--images",
        "4000",
        "800",
        "--upstream",
        "600",
        "200",
        "--without",
        "upstream, saving",
    ),
    "diffusion": ("diffusion_speed.py", "--rounds", "3", "--packings", "4", "--samplers"),
    "curation": ("curation_speed.py", "--pictures", "8", "--images", "200", "--rounds", "2"),
    "near-duplicates": ("near_duplicates.py", "--rounds", "1"),
    "training-limit": ("training_limit.py", "--rounds", "3"),
    "million": ("million.py", "--rounds", "2"),
    "ray": ("ray_cluster.py", "--rounds", "2", "--images", "150", "--curated", "400"),
}
"""name -> script and the arguments that keep it short."""


def main() -> None:
    """Run what was asked for and sum it up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(QUICK), help="default: all")
    parser.add_argument("-o", "--output", type=Path, default=Path("bench-results"), help="folder for the JSON files")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    taken = {name: run(name, asked.output) for name in asked.only or QUICK}
    goals = [(name, goal) for name in taken for goal in goals_of(asked.output / f"{name}.json")]
    print(f"\n# All goals\n\n| benchmark | goal | asked | found | holds |\n|{'---|' * 5}")
    for name, goal in goals:
        print(f"| {name} | {goal['what']} | {goal['goal']} | {goal['found']} | {'yes' if goal['holds'] else 'NO'} |")
    failed = [name for name, seconds in taken.items() if seconds is None]
    kept = sum(goal["holds"] for _, goal in goals)
    print(f"\n{kept} of {len(goals)} goals hold; {(time.monotonic() - begun) / 60:.1f} minutes; JSON in {asked.output}")
    print(", ".join(f"{name} {seconds:.0f} s" for name, seconds in taken.items() if seconds is not None))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; what they said stands above")


def run(name: str, output: Path) -> float | None:
    """Seconds that a benchmark took; None where it failed."""
    script, *arguments = QUICK[name]
    saved = (output / f"{name}.json").resolve()
    saved.unlink(missing_ok=True)  # an old result must not stand for this run
    print(flush=True)
    begun = time.monotonic()
    command = [sys.executable, str(HERE / script), *arguments, "--json", str(saved)]
    if subprocess.run(command, check=False).returncode:
        return None
    return time.monotonic() - begun


def goals_of(saved: Path) -> list[dict[str, Any]]:
    """What a benchmark was asked to reach; none where it saved nothing or has no goals."""
    if not saved.is_file():
        return []
    return list(json.loads(saved.read_text(encoding="utf-8")).get("goals", []))


if __name__ == "__main__":
    main()
