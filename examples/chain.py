"""From a folder of training images to the report, by the two commands a user would type.

What `demo.py` and `deeppcb.py` share. Nothing here computes anything about images: each step prints a command
and runs it.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from io import TextIOWrapper
from pathlib import Path

from steps import StepFailed, as_typed, last_line, run, say, server, start, stop
from tqdm import tqdm

NORMAL = "Normal"
ARMS = ("baseline", "augmented", "control")
AT_ONCE = 2
"""Training processes at a time: small images do not gain from threads, only from processes."""

_MARKER = "chain.json"
_POLL_S = 0.25


@dataclass(frozen=True)
class Recipe:
    """Every choice of a run of the chain; an output folder keeps the one it was made with."""

    target: int
    """Training images each defect class is filled to."""
    epochs: int
    images_per_epoch: int
    """The same for all arms, so that none is trained longer than another."""
    seeds: int
    caveat: str
    """What the reader of the report must know about these pictures."""
    denoising_strength: float = 0.25
    native_size_px: int = 128
    """Side at which images are generated; small, because the engine is classical. A real WebUI wants 512."""
    imgsz: int = 64
    batch_size: int = 32
    lr: float = 2e-3
    seed: int = 0
    model: str = ""
    """Folder of a model of the diffusion engine, relative to this file; "" is the classical engine."""


def run_script(name: str, work: Callable[[], Path], closing: str) -> int:
    """Do a script's work from the command line: one line on failure, nothing left running, the time it took.

    Args:
        name: what the script is called in its messages.
        work: gives the report's path.
        closing: what is to be said below the figures.

    Returns:
        The exit code.
    """
    # A polite kill ends like Ctrl-C, so that the server in the background goes too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):  # into a pipe as the commands themselves do, whatever the code page
        if isinstance(stream, TextIOWrapper) and not stream.isatty():
            stream.reconfigure(encoding="utf-8")
    began = time.monotonic()
    try:
        report = work()
    except StepFailed as error:
        print(f"{name} stopped: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{name} stopped: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name} stopped; what was made is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    print(f"\n{closing}\nTook {minutes} min {seconds} s. Report: {report}")
    return 0


def claim(out: Path, recipe: Recipe, what: str) -> None:
    """Make `out`, or take it up again if the same recipe made it.

    Raises:
        StepFailed: the folder holds something else.
    """
    marker = out / _MARKER
    words = {"what": what, "recipe": asdict(recipe)}
    if marker.is_file():
        if json.loads(marker.read_text(encoding="utf-8")) != words:
            raise StepFailed(f"{out}: made with other settings; name another folder or delete this one")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StepFailed(f"{out}: not empty and not made by this script; name another folder")
    out.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps(words, indent=2), encoding="utf-8")


def run_chain(data: Path, out: Path, recipe: Recipe) -> Path:
    """Number, plan, generate, train three arms over several seeds, evaluate, compare.

    Taken up again, it keeps the images generated before and the trainings that were finished.

    Args:
        data: folder with `train`, `val` and `test`, one folder per class in each.
        out: folder for everything else.
        recipe: every choice.

    Returns:
        The report's path.

    Raises:
        StepFailed: a command failed; it has said why.
    """
    sources, generated, runs = out / "sources", out / "generated", out / "runs"
    plan, report = out / "plan.csv", out / "report.html"
    say("Number the training images: they alone become sources, so no generated image knows a test image")
    run("sdclient", "number", data / "train", sources)
    say("Plan how many images each source owes")
    run("sdclient", "plan", sources, "--target", recipe.target, "-o", plan)
    if recipe.model:
        say("Generate, on the embedded server: a small diffusion model of these boards, not Stable Diffusion")
    else:
        say("Generate, on the embedded server: a classical stand-in for a WebUI, not Stable Diffusion")
    with server(out / "server.log", *engine_options(recipe)) as url:
        run(*("sdclient", "generate", sources, generated, "--url", url, "--plan", plan), *generation_options(recipe))
    say(f"Train {len(ARMS)} arms, seeds {recipe.seed} to {recipe.seed + recipe.seeds - 1}, {AT_ONCE} at a time")
    print("baseline: real images; augmented: and generated ones; control: and their sources repeated", flush=True)
    train_arms(data, generated, runs, recipe)
    say("Evaluate the first seed of either arm on test images, real ones only")
    for arm in ARMS[:2]:
        run("trainer", "evaluate", runs / arm / f"seed-{recipe.seed}", data, "--normal", NORMAL)
    say("Compare all seeds, with the control beside them")
    run(
        *("trainer", "compare", runs / "baseline", runs / "augmented", data),
        *("--control", runs / "control", "--report", report, "--note", recipe.caveat),
    )
    return report


def generation_options(recipe: Recipe) -> list[object]:
    """The options of `sdclient generate` that decide what an image looks like."""
    options: list[object] = ["--denoising-strength", recipe.denoising_strength]
    options += ["--native-size", recipe.native_size_px, "--batch-size", 8, "--seed", recipe.seed]
    if recipe.model:  # the prompt tells it the class; few steps of a plain sampler, for it runs on the processor
        options += ["--prompt", "{class}", "--cfg-scale", 2, "--sampler", "DPM++ 2M Karras", "--steps", 12]
    return options


def engine_options(recipe: Recipe) -> list[object]:
    """The options of `sdclient serve` that decide what makes the pixels."""
    return ["--engine", "diffusion", "--model", Path(__file__).parent / recipe.model] if recipe.model else []


def training_options(recipe: Recipe) -> list[object]:
    """The options of `trainer train` that are the same for every arm and seed."""
    options: list[object] = ["--epochs", recipe.epochs, "--images-per-epoch", recipe.images_per_epoch]
    options += ["--imgsz", recipe.imgsz, "--batch-size", recipe.batch_size, "--lr", recipe.lr, "--threads", 1]
    return options


def train_arms(data: Path, generated: Path, runs: Path, recipe: Recipe) -> None:
    """Train every arm and seed into `runs/<arm>/seed-<n>`, one thread each, with one progress bar over all.

    A training that was finished before with the same settings and images is left as it is.

    Raises:
        StepFailed: one of them failed; the others are stopped.
    """
    extra: dict[str, tuple[object, ...]] = {
        "baseline": (),
        "augmented": ("--generated", generated),
        "control": ("--control-for", generated),
    }
    waiting: list[tuple[list[object], Path]] = []
    for seed in range(recipe.seed, recipe.seed + recipe.seeds):
        for arm in ARMS:
            run_folder = runs / arm / f"seed-{seed}"
            command = ["trainer", "train", data, *extra[arm], *training_options(recipe), "--seed", seed, "--overwrite"]
            waiting.append(([*command, "-o", run_folder], run_folder))
    folders = [folder for _, folder in waiting]
    waiting.reverse()
    running: list[tuple[subprocess.Popen[bytes], Path]] = []
    total = len(folders) * recipe.epochs
    with tqdm(total=total, unit="epoch", desc="training", smoothing=0.05, mininterval=1.0) as bar:
        try:
            while waiting or running:
                while waiting and len(running) < AT_ONCE:
                    command, folder = waiting.pop()
                    tqdm.write(f"$ {as_typed(command)}", file=sys.stdout)
                    running.append((start(command, _log_of(folder)), folder))
                time.sleep(_POLL_S)
                bar.update(sum(map(_epochs_done, folders)) - bar.n)
                for process, folder in list(running):
                    if process.poll() is None:
                        continue
                    running.remove((process, folder))
                    if process.returncode != 0:
                        raise StepFailed(f"training {folder} failed: {last_line(_log_of(folder))}")
        finally:
            for process, _ in running:
                stop(process)


def _log_of(run_folder: Path) -> Path:
    return run_folder.parent / f"{run_folder.name}.log"


def _epochs_done(run_folder: Path) -> int:
    try:
        return max(0, len((run_folder / "results.csv").read_text(encoding="utf-8-sig").splitlines()) - 1)
    except OSError:  # not there yet, or being replaced at this moment
        return 0
