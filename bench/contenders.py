"""One run of one contender in this process, for `client.py` and `servers.py`: prints what it gave as JSON.

    python bench/contenders.py runner|webuiapi|bytes '{"urls": [...], "sources": ..., "output": ..., ...}'

A process of its own, so that its memory and its CPU time are its own. Only what the contender needs is imported.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def run_sdclient(asked: dict[str, Any]) -> Callable[[], Iterator[object]]:
    """`sdclient`'s runner as `sdclient generate` uses it."""
    from sdclient.batch import BatchRunner, GenerateOptions, GenerationSettings, Server
    from sdclient.client import WebUI
    from sdclient.sources import discover

    settings = GenerationSettings(sampler="Euler", native_px=asked["px"], batch_size=asked["batch"])
    options: dict[str, Any] = {} if asked["check"] else {"check": None}
    if asked["max_in_flight"] is not None:
        options["max_in_flight"] = asked["max_in_flight"]

    def run() -> Iterator[object]:
        sources = Path(asked["sources"])
        servers = [Server(url, WebUI(url)) for url in asked["urls"]]
        runner = BatchRunner(servers, sources, Path(asked["output"]), settings, GenerateOptions(**options))
        yield from runner.run([(source, asked["each"]) for source in discover(sources)[: asked["n_sources"]]])

    return run


def run_webuiapi(asked: dict[str, Any]) -> Callable[[], Iterator[object]]:
    """A plain loop over webuiapi: one image a call, saved as its examples do."""
    from urllib.parse import urlsplit

    import webuiapi
    from PIL import Image

    def run() -> Iterator[object]:
        address = urlsplit(asked["urls"][0])
        api = webuiapi.WebUIApi(host=address.hostname, port=address.port, sampler="Euler", steps=20)
        api.session.trust_env = False  # as ours: no look for a proxy before each call to this machine
        output = Path(asked["output"])
        output.mkdir(parents=True)
        paths = sorted((Path(asked["sources"]) / "spot").glob("*.png"), key=lambda path: int(path.stem))
        for path in paths[: asked["n_sources"]]:
            with Image.open(path) as source:
                for k in range(asked["each"]):
                    reply = api.img2img(
                        images=[source],
                        seed=1000 * int(path.stem) + k,
                        denoising_strength=0.25,
                        width=asked["px"],
                        height=asked["px"],
                    )
                    reply.image.save(output / f"{path.stem}_{k + 1}.png")
                    yield reply

    return run


def run_bytes(asked: dict[str, Any]) -> Callable[[], Iterator[object]]:
    """The least that must be done: decode base64, verify by decoding the picture, and write the bytes atomically."""
    from PIL import Image

    from sdcore.files import write_bytes_atomically

    files = sorted(Path(asked["images"]).glob("*/*.png"))
    texts = [base64.b64encode(path.read_bytes()).decode("ascii") for path in files]

    def run() -> Iterator[object]:
        for path, text in zip(files, texts, strict=True):
            data = base64.b64decode(text)
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()
            write_bytes_atomically(Path(asked["output"]) / path.name, data)
            yield path

    return run


CONTENDERS: dict[str, Callable[[dict[str, Any]], Callable[[], Iterator[object]]]] = {
    "runner": run_sdclient,
    "webuiapi": run_webuiapi,
    "bytes": run_bytes,
}


def main() -> None:
    """Run one contender once."""
    run = CONTENDERS[sys.argv[1]](json.loads(sys.argv[2]))
    before_mib = peak_mib()
    begun, cpu = time.perf_counter(), time.process_time()
    came_s = [time.perf_counter() - begun for _ in run()]
    wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    told = {
        "images": len(came_s),
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "peak_mib": peak_mib(),
        "before_mib": before_mib,
        "middle_images_per_s": middle_rate(came_s),
    }
    print(json.dumps(told))


def middle_rate(came_s: list[float]) -> float:
    """Images/s from a tenth to nine tenths of the images: begin and end of a run do not grow with it."""
    first, last = len(came_s) // 10, len(came_s) * 9 // 10
    return (last - first) / (came_s[last] - came_s[first])


def peak_mib() -> float | None:
    """Most memory this process has had resident; None on a system that does not tell."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
