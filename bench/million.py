"""Starting, resuming and planning with a million images: time to the first request, and peak memory.

    python bench/million.py [--images 1000000] [--sources 1000] [--rounds 3] [--drawn] [--folder DIR] [--json FILE]

A start is the command `sdclient generate` in a process of its own, from its beginning to the moment its first request
for images reaches a server, a stub in this process; then it is killed. Fresh plans come first, with many sources and
with 20; then the same output with half of its images made, with all but one in a thousand made, and with all made and
one more wanted of each source. Whole commands are `sdclient generate` with nothing to make, `sdclient status` and
`sdclient plan`. The rows of images that are made are as wide as a WebUI's, and their files, of some bytes, are all in
their folders, where a start looks for them.

In the same run, as peers: plain `sqlite3` entering the same rows with the same indexes, and plain `sqlite3` and
`os.scandir` reading name, key and state of each row and the name of each file. Needs Linux and 3 KB of disk an image.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image
from report import Report, spread

from sdclient.manifest import MANIFEST_NAME

CLASSES = 10
FEW_SOURCES = 20
MOST_LINKS = 1000
"""Names of one file; file systems set limits."""
START_S, PLAN_S, PEAK_MIB = 5.0, 10.0, 300.0

ASKED = {
    "alwayson_scripts": {}, "batch_size": 4, "cfg_scale": 7.0, "denoising_strength": 0.25,
    "disable_extra_networks": False, "do_not_save_grid": False, "do_not_save_samples": False, "height": 512,
    "include_init_images": False, "inpaint_full_res": True, "inpaint_full_res_padding": 0, "inpainting_fill": 0,
    "negative_prompt": "", "override_settings": {}, "override_settings_restore_afterwards": True,
    "prompt": "macro photo of a circuit board pad", "sampler_name": "DPM++ SDE", "save_images": False,
    "scheduler": "Karras", "seed": 963301491, "send_images": True, "steps": 20, "width": 512,
}  # fmt: skip
INFOTEXT = (
    "macro photo of a circuit board pad\nSteps: 20, Sampler: DPM++ SDE, Schedule type: Karras, CFG scale: 7.0, Seed: "
    "963301491, Size: 512x512, Model hash: ecd00308b7, Model: v1-5-pruned-emaonly, Denoising strength: 0.25, "
    "Version: v1.10.1"
)
USED = {
    "cfg_scale": 7.0, "denoising_strength": 0.25, "extra_generation_params": {"Schedule type": "Karras"}, "height": 512,
    "sampler_name": "DPM++ SDE", "seed": 963301491, "steps": 20, "version": "v1.10.1", "width": 512,
}  # fmt: skip
MAKE = """
UPDATE images SET sha256 = key, width = 64, height = 64, server = 'http://127.0.0.1:7860', model = 'model [abc123]',
engine = 'Stable Diffusion WebUI', asked = ?, used = ?, infotext = ?, created_at = '2026-11-25T02:38:34+00:00',
status = 'done' WHERE k <= ? AND status != 'done'
"""
TELLING = """
import atexit, pathlib, runpy, sys
told = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: told.write_bytes(pathlib.Path("/proc/self/status").read_bytes()))
runpy.run_module("sdclient", run_name="__main__")
"""
"""The program, which tells at its end what it held: of one that ended, the system counts what its parent held too."""


@dataclass(frozen=True)
class Taken:
    """What one command took."""

    seconds: float
    """From the start of its process to its first request, or to its end."""
    cpu_s: float
    peak_mib: float


@dataclass(frozen=True)
class Case:
    """One way to start, measured several times."""

    what: str
    takes: list[Taken]
    most_s: float | None
    """The goal, where there is one."""
    peer_s: list[float]
    """What its peer took; empty where it has none."""


class Door(ThreadingHTTPServer):
    """Answers what a client asks before it begins; the first request for images is noted, and answered never."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = threading.Event()
        self.at = 0.0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Door
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        replies = {
            "/sdapi/v1/options": {"samples_format": "png", "sd_model_checkpoint": "model.safetensors [abc123]"},
            "/sdapi/v1/samplers": [{"name": "DPM++ SDE"}],
            "/sdapi/v1/schedulers": [{"name": "karras", "label": "Karras"}],
        }
        reply = replies.get(self.path)
        body = json.dumps(reply if reply is not None else {"detail": "Not Found"}).encode()
        self.send_response(404 if reply is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if not self.server.asked.is_set():
            self.server.at = time.perf_counter()
            self.server.asked.set()
        threading.Event().wait(60)  # until the process that asks is killed

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
        """Say nothing."""


def main() -> None:
    """Print the tables, and whether the goals hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--sources", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="of each case but the fresh plans, which are one each")
    parser.add_argument("--drawn", action="store_true", help="a fresh plan whose strength is drawn for each image too")
    parser.add_argument("--folder", type=Path, help="where to work; default the system's temporary folder")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    title = f"starting and resuming with {asked.images:,} images"
    report = Report("million", title, packages=("pydantic", "pillow"), settings=vars(asked))
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder, a_door() as door:
        cases = measure(Path(folder), door, asked.images, asked.sources, asked.rounds, drawn=asked.drawn)
    tell(report, cases)
    report.finish(asked.json, [asdict(case) for case in cases])


def measure(folder: Path, door: Door, images: int, sources: int, rounds: int, *, drawn: bool) -> list[Case]:
    """Every case, one after the other on the same output."""
    many, few = folder / "many", folder / "few"
    each = images // sources
    draw_sources(many / "sources", sources)
    draw_sources(few / "sources", FEW_SOURCES)
    few_each = images // FEW_SOURCES
    cases = []
    for what, settings in (("", ()), (", strengths drawn", ("--set", "denoising_strength=0.2:0.3")))[: 1 + drawn]:
        taken = start(door, few, few_each, *settings)
        cases.append(Case(f"fresh plan, {FEW_SOURCES} x {few_each:,}{what}", [taken], PLAN_S, []))
        shutil.rmtree(few / "out")
    taken = start(door, many, each)
    entered = enter_plainly(many / "out", folder)
    cases.append(Case(f"fresh plan, {sources:,} x {each:,}", [taken], PLAN_S, [entered]))
    for what, made in (("half are missing", each // 2), ("1 in 1,000 is missing", each - max(1, each // 1000))):
        make(many / "out", made)
        takes, peers = [], []
        for _ in range(rounds):
            takes.append(start(door, many, each))
            peers.append(go_through_plainly(many / "out"))
        cases.append(Case(what, takes, START_S, peers))
    make(many / "out", each)
    generate = generate_command(door, many, each)
    status = ["status", str(many / "out"), "--json"]
    plan = ["plan", str(many / "sources"), "--target", str(images // CLASSES), "-o", str(folder / "plan.csv")]
    takes = [whole(generate) for _ in range(rounds)]
    cases.append(Case("nothing is missing, to the command's end", takes, START_S, []))
    cases.append(Case("sdclient status", [whole(status) for _ in range(rounds)], None, []))
    cases.append(Case("sdclient plan", [whole(plan) for _ in range(rounds)], PLAN_S, []))
    # Last, for each start enters more: the plan grows by one image of each source, and none of those is made.
    takes, peers = [], []
    for more in range(1, rounds + 1):
        takes.append(start(door, many, each + more))
        peers.append(go_through_plainly(many / "out"))
    cases.append(Case("all are there, 1 more of each source is wanted", takes, START_S, peers))
    return cases


def tell(report: Report, cases: Sequence[Case]) -> None:
    """The tables, and the goals."""
    report.table(
        "Seconds to the first request (or, of whole commands, to the end), CPU seconds, peak MiB; the peer is plain "
        "sqlite3 entering the rows, or sqlite3 and os.scandir reading all of them",
        ["case", "s", "CPU s", "peak MiB", "peer s", "times the peer"],
        [
            [
                case.what,
                spread([one.seconds for one in case.takes]),
                spread([one.cpu_s for one in case.takes]),
                spread([one.peak_mib for one in case.takes], 0),
                spread(case.peer_s) if case.peer_s else "",
                spread(_ratios(case)) if case.peer_s else "",
            ]
            for case in cases
        ],
    )
    for case in cases:
        if case.most_s is not None:
            report.goal(case.what, [one.seconds for one in case.takes], at_most=case.most_s, unit="s")
    report.goal(
        "peak memory of the largest of all",
        [max(one.peak_mib for case in cases for one in case.takes)],
        at_most=PEAK_MIB,
        digits=0,
        unit="MiB",
    )


def _ratios(case: Case) -> list[float]:
    return [one.seconds / peer_s for one, peer_s in zip(case.takes, case.peer_s, strict=True)]


def draw_sources(folder: Path, sources: int) -> None:
    """Grainy grey pictures, in several classes."""
    for number in range(1, sources + 1):
        path = folder / f"class{number % CLASSES}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 64), 30).save(path)


@contextmanager
def a_door() -> Iterator[Door]:
    """A stub that is at work."""
    door = Door()
    thread = threading.Thread(target=door.serve_forever, daemon=True)
    thread.start()
    try:
        yield door
    finally:
        door.shutdown()
        door.server_close()


def generate_command(door: Door, folder: Path, each: int) -> list[str]:
    """The command, without the program."""
    command = ["generate", str(folder / "sources"), str(folder / "out"), "--per-source", str(each)]
    return [*command, "--native-size", "64", "--url", door.url]


def start(door: Door, folder: Path, each: int, *settings: str) -> Taken:
    """Start `sdclient generate`, and kill it at its first request."""
    door.asked.clear()
    command = [sys.executable, "-m", "sdclient", *generate_command(door, folder, each), *settings]
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while not door.asked.wait(0.1):
            if process.poll() is not None:
                told = process.stderr.read() if process.stderr is not None else ""
                sys.exit(f"sdclient generate ended with code {process.returncode} before its first request: {told}")
        peak_mib = _peak_mib(Path(f"/proc/{process.pid}/status").read_text(encoding="ascii"))
        process.send_signal(signal.SIGKILL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return Taken(door.at - begun, usage.ru_utime + usage.ru_stime, peak_mib)


def whole(arguments: Sequence[str]) -> Taken:
    """Run a command to its end."""
    with tempfile.NamedTemporaryFile() as told:
        command = [sys.executable, "-c", TELLING, told.name, *arguments]
        begun = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - begun
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                words = process.stderr.read() if process.stderr is not None else ""
                sys.exit(f"sdclient {arguments[0]} ended with code {process.returncode}: {words}")
        return Taken(seconds, usage.ru_utime + usage.ru_stime, _peak_mib(Path(told.name).read_text(encoding="ascii")))


def _peak_mib(status: str) -> float:
    """The most memory a process has held, from its /proc/PID/status; what it is forked from does not count here."""
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def make(output: Path, made: int) -> None:
    """Say of the first images of each source that they are done, and put a file where each of them has to be."""
    with closing(sqlite3.connect(output / MANIFEST_NAME, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous=OFF")
        missing = "SELECT file FROM images WHERE k <= ? AND status != 'done'"
        files = [str(file) for (file,) in database.execute(missing, (made,))]
        database.execute(MAKE, (json.dumps(ASKED), json.dumps(USED), INFOTEXT, made))
    here = str(output)
    for folder in {file.partition("/")[0] for file in files}:
        (output / folder).mkdir(exist_ok=True)
    original = ""
    for number, file in enumerate(files):
        if number % MOST_LINKS == 0:
            original = f"{here}/{file}"
            Path(original).write_bytes(b"the bytes of an image")
        else:
            os.link(original, f"{here}/{file}")


def enter_plainly(output: Path, folder: Path) -> float:
    """Seconds that sqlite3 takes to enter the same rows, read before, in one transaction."""
    target = folder / "plain.sqlite"
    with closing(sqlite3.connect(output / MANIFEST_NAME)) as database:
        schema = database.execute("SELECT sql FROM sqlite_master WHERE tbl_name = 'images' AND sql != ''").fetchall()
        (page_bytes,) = database.execute("PRAGMA page_size").fetchone()
        columns = "file, class_name, source, source_sha256, k, seed, key, status"
        rows = database.execute(f"SELECT {columns} FROM images ORDER BY class_name, source, k").fetchall()
    with closing(sqlite3.connect(target, isolation_level=None)) as database:
        for setting in (f"page_size={page_bytes}", "journal_mode=WAL", "synchronous=NORMAL"):
            database.execute(f"PRAGMA {setting}")
        for (sql,) in schema:
            database.execute(sql)
        begun = time.perf_counter()
        database.execute("BEGIN")
        database.executemany(f"INSERT INTO images ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        seconds = time.perf_counter() - begun
    target.unlink()
    return seconds


def go_through_plainly(output: Path) -> float:
    """Seconds to read name, key and state of every row, and the name of every file."""
    begun = time.perf_counter()
    with closing(sqlite3.connect(output / MANIFEST_NAME)) as database:
        for _ in database.execute("SELECT file, key, status FROM images"):
            pass
    for folder in output.iterdir():
        if folder.is_dir():
            with os.scandir(folder) as entries:
                for _ in entries:
                    pass
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
