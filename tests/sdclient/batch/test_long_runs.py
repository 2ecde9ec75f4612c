"""What weeks of running rest on: memory that stays flat, work done once a source, a disk that really fills up."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sdclient.batch import BatchRunner, requests
from sdclient.batch.dispatcher import PlannedJobs
from sdclient.batch.jobs import JobQueue, pack_jobs
from sdclient.client import WebUI
from sdclient.errors import SourceError
from sdclient.manifest import Manifest
from sdclient.models import Img2ImgRequest
from sdclient.serve.app import EmbeddedServerOptions, running_server
from sdclient.sources import discover
from tests.support.batch_runs import image_hashes, invoke, recorded, settings
from tests.support.fake_webui import FakeWebUI
from tests.support.planned_jobs import planned, source

WARM, LATER, LAST = 150, 300, 600
MOST_GROWTH_BYTES = 40
"""An image: less than one text or number kept for each."""
IN_FLIGHT_BYTES = 60_000
"""What is on its way differs from one moment to the next, whatever the number of images."""


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebUI]:
    """A client whose server answers from memory, with the source itself."""

    def answer(method: str, path: str, *, json: Any = None, **_: Any) -> Any:
        if path.endswith("/options"):
            return {"samples_format": "png", "sd_model_checkpoint": "model.safetensors"}
        if path.endswith("/samplers"):
            return [{"name": "Euler"}]
        if path.endswith("/schedulers"):
            return [{"name": "karras", "label": "Karras"}]
        assert (method, path) == ("POST", "/sdapi/v1/img2img")
        count = json["batch_size"]
        info = {
            **{name: json[name] for name in ("sampler_name", "steps", "cfg_scale", "denoising_strength")},
            "all_seeds": [json["seed"] + i for i in range(count)],
            "infotexts": [f"Steps: 20, Seed: {json['seed'] + i}" for i in range(count)],
        }
        return {"images": json["init_images"] * count, "parameters": {}, "info": dumps(info)}

    with WebUI("http://127.0.0.1:9") as webui:
        monkeypatch.setattr(webui._connection, "send", answer)
        yield webui


def test_memory_does_not_grow_with_the_images_made(instant: WebUI, sources_folder: Path, tmp_path: Path) -> None:
    runner = BatchRunner(instant, sources_folder, tmp_path / "out", settings(sampler="Euler", batch_size=4))
    kept: dict[int, int] = {}
    owed = [(one, -(-LAST // 3)) for one in discover(sources_folder)]
    try:
        for number, _ in enumerate(runner.run(owed), 1):
            if number == WARM:
                tracemalloc.start()
            if number in (LATER, LAST):
                gc.collect()
                kept[number] = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept[LAST] - kept[LATER] < (LAST - LATER) * MOST_GROWTH_BYTES + IN_FLIGHT_BYTES


def test_a_planned_image_is_small() -> None:
    count = 2000
    tracemalloc.start()
    try:
        images = planned(source(), "a" * 64, count)
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert size / count < 400
    assert len({id(image.parameters) for image in images}) == 1
    assert not hasattr(images[0], "__dict__")


def test_a_source_is_read_and_encoded_once_for_all_its_jobs(
    instant: WebUI, sources_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, Any]] = []
    for name in ("image_size", "read_photo", "encode_source"):
        real = getattr(requests, name)

        def counted(what: Any, name: str = name, real: Any = real) -> Any:
            done.append((name, what if isinstance(what, Path) else "image"))
            return real(what)

        monkeypatch.setattr(requests, name, counted)
    runner = BatchRunner(instant, sources_folder, tmp_path / "out", settings(sampler="Euler", batch_size=1))
    assert len(list(runner.run([(one, 5) for one in discover(sources_folder)]))) == 15
    counts = Counter(name for name, _ in done)
    assert counts == {"image_size": 3, "read_photo": 3, "encode_source": 2}  # one source's own file is what is sent


def test_a_source_that_changes_while_the_run_goes_on_stops_it(
    instant: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    def change(_: Any) -> None:
        Image.new("RGB", (64, 64), "red").save(sources_folder / "焊盘" / "10.png")

    runner = BatchRunner(instant, sources_folder, tmp_path / "out", settings(sampler="Euler"))
    with pytest.raises(SourceError, match=r"10\.png: changed during the run"):
        list(runner.run([(one, 4) for one in discover(sources_folder)], on_start=change))
    assert not [name for name in recorded(tmp_path / "out") if name.startswith("焊盘/10_")]


def test_a_job_whose_size_is_unknown_is_handed_out_all_the_same() -> None:
    def unreadable(_: Any) -> int:
        raise SourceError("3.png: damaged")

    queue = JobQueue(PlannedJobs(pack_jobs(planned(source(), "a", 4), 4)).next_job, unreadable)
    job = queue.take()
    assert job is not None
    assert len(job.images) == 4
    assert queue.fits(job)


def test_a_job_that_no_longer_fits_comes_back_in_parts() -> None:
    most = [4]
    queue = JobQueue(PlannedJobs(pack_jobs(planned(source(), "a", 4), 4)).next_job, lambda _: most[0])
    job = queue.take()
    assert job is not None
    assert queue.fits(job)
    most[0] = 3
    assert not queue.fits(job)
    queue.finish(job)
    parts = [queue.take(), queue.take()]
    assert [len(part.images) for part in parts if part is not None] == [3, 1]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system can be mounted by root on Linux only")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("options", [(), ("--durable",)])
def test_a_disk_that_fills_up_stops_the_run_in_words_and_more_room_finishes_it(
    fake: FakeWebUI, tmp_path: Path, small_disk: Path, options: tuple[str, ...]
) -> None:
    sources = tmp_path / "sources"
    (sources / "dirt").mkdir(parents=True)
    for number in (1, 2):
        Image.effect_noise((128, 128), 60).save(sources / "dirt" / f"{number}.png")
    output = small_disk / "out"
    arguments = (str(sources), str(output), "--per-source", "30", *options)
    stopped = invoke(fake, *arguments)
    assert stopped.exit_code == 1
    assert "full" in stopped.stderr
    assert "Traceback" not in stopped.output
    kept = recorded(output)
    assert 0 < len(kept) < 60
    assert kept.items() <= image_hashes(output).items()  # no row without its whole file
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    assert invoke(fake, *arguments).exit_code == 0
    assert set(image_hashes(output)) == {f"dirt/{number}_{k}.png" for number in (1, 2) for k in range(1, 31)}
    assert image_hashes(output) == recorded(output)
    assert kept.items() <= recorded(output).items()


class _Jobs:
    """Tells which jobs have begun, and when the first begins and ends."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.began = threading.Event()
        self.ended = threading.Event()

    def job_began(self, task: str) -> None:
        self.names.append(task)
        self.began.set()

    def job_ended(self, task: str) -> None:
        self.ended.set()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
def test_a_second_ctrl_c_interrupts_our_jobs_and_keeps_nothing_unfinished(sources_folder: Path, tmp_path: Path) -> None:
    jobs, output = _Jobs(), tmp_path / "out"
    with running_server(EmbeddedServerOptions(with_page=True, job_ms=600_000, watcher=jobs)) as server:
        command = [sys.executable, "-m", "sdclient", "generate", str(sources_folder), str(output), "--url", server.url]
        command += ["--native-size", "64", "--per-source", "20", "--batch-size", "2", "--max-in-flight", "2"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert jobs.began.wait(30)
            for _ in range(100):  # two that come at once are one
                process.send_signal(signal.SIGINT)
                if jobs.ended.wait(0.3):
                    break
            _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "images or fewer are left" in stderr
    assert "Traceback" not in stderr
    assert len(jobs.names) == 2  # the one at work and the one that waited behind it
    # An interrupted batch comes with all its images, at the step they had reached.
    assert recorded(output) == image_hashes(output) == {}
    with Manifest(output) as manifest:
        assert len(list(manifest.states())) == 60


def test_other_peoples_jobs_are_not_interrupted(sources_folder: Path, tmp_path: Path) -> None:
    """Ours waits behind it; what is stopped is ours alone, once it is its turn."""
    jobs = _Jobs()
    with (
        running_server(EmbeddedServerOptions(with_page=True, job_ms=1500, watcher=jobs)) as server,
        WebUI(server.url) as webui,
    ):
        theirs: list[Any] = []
        request = Img2ImgRequest(
            init_images=[sources_folder / "焊盘" / "10.png"], n_iter=2, width=64, height=64, force_task_id="theirs"
        )
        stranger = threading.Thread(target=lambda: theirs.append(webui.img2img(request)))
        stranger.start()
        assert jobs.began.wait(20)
        with WebUI(server.url) as ours:
            runner = BatchRunner(ours, sources_folder, tmp_path / "out", settings(sampler="Euler"))
            made: list[Any] = []
            working = threading.Thread(target=lambda: made.extend(runner.run([(discover(sources_folder)[0], 2)])))
            working.start()
            assert any(webui.call("GET", "/internal/pending-tasks")["size"] for _ in range(10_000))
            runner.stop()
            runner.interrupt_jobs()
            working.join(20)
        stranger.join(20)
    assert len(theirs[0].images) == 2  # an interrupted one would lack its second batch
    assert jobs.names[0] == "theirs"
    assert made == []
