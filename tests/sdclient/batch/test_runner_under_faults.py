"""Failures that belong to an image, to a server's memory, or to a server; and one runner an output."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from PIL import Image
from werkzeug import Response

from sdclient.batch import BatchRunner, GenerateOptions, GenerationSettings, Server, load_servers
from sdclient.client import RetryPolicy, WebUI
from sdclient.errors import ManifestError, SettingSubstituted
from sdclient.manifest import Manifest
from sdclient.manifest.database import DONE, FAILED, PLANNED, RUNNING
from sdclient.masks.mask import mask_path, write_mask
from sdclient.output.planned_images import seed_base
from sdclient.serve.app import running_server
from sdclient.sources import discover
from sdclient.testing import WebUIServer, serve_webui
from sdcore.errors import FolderInUse, SettingsError
from sdcore.files import LOCK_NAME
from tests.support.batch_runs import PLANNED as PLANNED_FILES, image_hashes, invoke, recorded, settings
from tests.support.fake_webui import FakeWebUI
from tests.support.masked_runs import check_masks


def runner(webui: WebUI, sources: Path, output: Path, **options: Any) -> BatchRunner:
    return BatchRunner(webui, sources, output, settings(), GenerateOptions(**options))


def owed(sources: Path) -> list[Any]:
    return [(source, 3) for source in discover(sources)]


def states(output: Path) -> dict[str, tuple[str, int, str]]:
    with Manifest(output) as manifest:
        return {state.file: (state.status, state.attempts, state.reason) for state in manifest.states()}


def fail_for_wide(fake: FakeWebUI, body: dict[str, Any]) -> None:
    """Every request for an image of 焊盘/2, the wide source, fails."""
    base = seed_base(0, "焊盘", 2)

    def answer(number: int) -> Response | None:
        wrong = base <= fake.requests[number - 1]["seed"] < base + 3
        return Response(json.dumps(body), status=500, content_type="application/json") if wrong else None

    fake.before_answer = answer


NAN = {"error": "NansException", "detail": "", "errors": "A tensor with all NaNs was produced in Unet."}


def test_an_image_that_always_fails_is_given_up_with_its_reason_and_the_run_goes_on(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    first = fake.before_answer
    list(runner(webui, sources_folder, tmp_path / "out").run([(discover(sources_folder)[0], 1)]))
    fail_for_wide(fake, NAN)
    run = runner(webui, sources_folder, tmp_path / "out")
    rest = [record.file for record in run.run(owed(sources_folder))]
    wide = {name for name in PLANNED_FILES if name.startswith("焊盘/2_")}
    assert set(run.failed) == wide
    assert set(recorded(tmp_path / "out")) == PLANNED_FILES - wide == set(image_hashes(tmp_path / "out"))
    assert {status for status, _, _ in states(tmp_path / "out").values()} == {DONE, FAILED}
    assert all(
        (attempts, "NansException" in reason) == (3, True)
        for status, attempts, reason in states(tmp_path / "out").values()
        if status == FAILED
    )
    assert rest
    fake.before_answer = first
    assert list(runner(webui, sources_folder, tmp_path / "out").run(owed(sources_folder))) == []  # not asked for again


def test_what_fails_for_every_image_stops_the_run(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    fake.info = {"sampler_name": "Euler"}
    with pytest.raises(SettingSubstituted):
        list(runner(webui, sources_folder, tmp_path / "out").run(owed(sources_folder)))
    assert len(fake.requests) < 3 * len(PLANNED_FILES)
    assert image_hashes(tmp_path / "out") == {}


def test_out_of_memory_halves_the_batch_of_that_size_and_is_remembered(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    def too_large(number: int) -> Response | None:
        if fake.requests[number - 1]["batch_size"] > 1:
            return Response(json.dumps({"error": "OutOfMemoryError", "errors": "CUDA out of memory."}), status=500)
        return None

    fake.before_answer = too_large
    run = BatchRunner(webui, sources_folder, tmp_path / "out", settings(batch_size=3), GenerateOptions(max_in_flight=1))
    assert len(list(run.run(owed(sources_folder)))) == len(PLANNED_FILES)
    assert run.failed == {}
    sizes = [(request["width"], request["height"], request["batch_size"]) for request in fake.requests]
    assert len([size for size in sizes if size[2] > 1]) <= 2 * len({size[:2] for size in sizes})
    fake.requests.clear()
    larger = [(source, 5) for source in discover(sources_folder)]
    again = BatchRunner(
        webui, sources_folder, tmp_path / "out", settings(batch_size=3), GenerateOptions(max_in_flight=1)
    )
    assert len(list(again.run(larger))) == 6
    assert {request["batch_size"] for request in fake.requests} == {1}


def test_spoiled_images_are_tried_again_and_then_given_up(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []

    def check(image: Image.Image, source: Image.Image, changed: object) -> str | None:
        assert image.size == source.size
        assert changed is None
        seen.append(image.size)
        return "rainbow noise" if image.width > image.height else None

    run = BatchRunner(webui, sources_folder, tmp_path / "out", settings(native_px=128), GenerateOptions(check=check))
    list(run.run(owed(sources_folder)))
    assert set(run.failed.values()) == {"rainbow noise"}
    assert len([size for size in seen if size[0] > size[1]]) == 3 * 3
    assert set(image_hashes(tmp_path / "out")) == PLANNED_FILES - set(run.failed)


def test_a_plan_that_was_not_met_is_summed_up_and_exits_1(
    fake: FakeWebUI, sources_folder: Path, tmp_path: Path
) -> None:
    fail_for_wide(fake, NAN)
    output = str(tmp_path / "out")
    arguments = (str(sources_folder), output, "--per-source", "3", "--max-in-flight", "1", "--batch-size", "1")
    result = invoke(fake, *arguments)
    assert result.exit_code == 1
    assert "NansException" in result.stdout
    assert "6 images made, 0 were there already, 9 planned, 3 failed" in result.stdout
    again = invoke(fake, *arguments, "--json")
    summary = json.loads(again.stdout)
    assert again.exit_code == 1
    assert (summary["made"], summary["already_there"], summary["failed"]) == (0, 6, 3)
    assert [(row["class"], row["images"]) for row in summary["failures"]] == [("焊盘", 3)]


def test_a_second_runner_is_refused_with_the_name_of_the_first(
    webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    running = runner(webui, sources_folder, output).run(owed(sources_folder))
    next(running)
    with pytest.raises(FolderInUse, match=r"another run is at work there \(pid \d+ on "):
        next(runner(webui, sources_folder, output).run(owed(sources_folder)))
    running.close()
    list(runner(webui, sources_folder, output).run(owed(sources_folder)))
    assert set(image_hashes(output)) == PLANNED_FILES


def test_a_lock_of_a_killed_process_does_not_count(webui: WebUI, sources_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    code = (
        "import sys; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire();"
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out" / LOCK_NAME)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FolderInUse, match="its owner is unknown"):
            next(runner(webui, sources_folder, tmp_path / "out").run(owed(sources_folder)))
        holder.kill()
    assert len(list(runner(webui, sources_folder, tmp_path / "out").run(owed(sources_folder)))) == len(PLANNED_FILES)
    assert not FileLock(tmp_path / "out" / LOCK_NAME).is_locked


def test_the_manifest_knows_which_images_are_running(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    seen: set[str] = set()

    def look(number: int) -> None:
        """Hold the first answer until its images are recorded as running."""
        for _ in range(500 if number == 1 else 0):
            if (tmp_path / "out" / "manifest.sqlite").exists():
                seen.update(status for status, _, _ in states(tmp_path / "out").values())
            if RUNNING in seen:
                return
            threading.Event().wait(0.01)

    fake.before_answer = look
    running = runner(webui, sources_folder, tmp_path / "out", max_in_flight=1).run(owed(sources_folder))
    first = next(running)
    assert {PLANNED, RUNNING} <= seen
    assert states(tmp_path / "out")[first.file][0] == DONE
    list(running)
    assert {status for status, _, _ in states(tmp_path / "out").values()} == {DONE}


def test_a_durable_run_makes_the_same_files(webui: WebUI, sources_folder: Path, tmp_path: Path) -> None:
    list(runner(webui, sources_folder, tmp_path / "out", durable=True).run(owed(sources_folder)))
    assert image_hashes(tmp_path / "out") == recorded(tmp_path / "out")


def test_two_servers_share_the_work_and_a_dead_ones_part_is_done_elsewhere(
    fake: FakeWebUI, second: FakeWebUI, sources_folder: Path, tmp_path: Path
) -> None:
    second.before_answer = lambda number: Response("{}", status=503) if number > 1 else None
    with WebUI(fake.url) as one, WebUI(second.url) as two:
        run = BatchRunner(
            [Server("one", one), Server("two", two)], sources_folder, tmp_path / "out", settings(batch_size=1)
        )
        records = list(run.run(owed(sources_folder)))
    assert {record.file for record in records} == PLANNED_FILES
    assert image_hashes(tmp_path / "out") == recorded(tmp_path / "out")
    assert {record.server for record in records} <= {one.url, two.url}
    table = {status.name: status for status in run.statuses()}
    assert table["one"].made + table["two"].made == len(PLANNED_FILES)
    assert table["two"].errors >= 1


def test_a_server_that_comes_back_works_again(
    fake: FakeWebUI, webui: WebUI, sources_folder: Path, tmp_path: Path
) -> None:
    fake.before_answer = lambda number: Response("{}", status=503) if 3 <= number <= 8 else None
    records = list(runner(webui, sources_folder, tmp_path / "out").run(owed(sources_folder)))
    assert {record.file for record in records} == PLANNED_FILES


def test_servers_with_different_models_are_refused_unless_allowed(
    fake: FakeWebUI, second: FakeWebUI, sources_folder: Path, tmp_path: Path
) -> None:
    second.checkpoint = "other.safetensors"
    with WebUI(fake.url) as one, WebUI(second.url) as two:
        servers = [Server("one", one), Server("two", two)]
        with pytest.raises(SettingsError, match=r"two has model 'other', one has 'model'.*--allow-mixed"):
            list(BatchRunner(servers, sources_folder, tmp_path / "out", settings()).run(owed(sources_folder)))
        mixed = BatchRunner(servers, sources_folder, tmp_path / "out", settings(), GenerateOptions(allow_mixed=True))
        assert len(list(mixed.run(owed(sources_folder)))) == len(PLANNED_FILES)


def test_the_command_takes_several_addresses_and_shows_each_server(
    fake: FakeWebUI, second: FakeWebUI, sources_folder: Path, tmp_path: Path
) -> None:
    result = invoke(fake, str(sources_folder), str(tmp_path / "out"), "--per-source", "3", "--url", second.url)
    assert result.exit_code == 0, result.output
    assert fake.url.rstrip("/") in result.stdout
    assert second.url.rstrip("/") in result.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "one \\[\\[server\\]\\] table"),
        ("server = 3", "one \\[\\[server\\]\\] table"),
        ("[[server]]\nname = 'a'", "server 1: url"),
        ("[[server]]\nurl = 'h'\nspeed = 3", "server 1: speed"),
        ("[[server]]\nurl = 'h'\nweight = 0", "server 1: weight"),
        ("[[server]]\nurl = 'h'\n[[server]]\nurl = 'http://h'", "two servers are called"),
        ("[[server", "not TOML"),
    ],
)
def test_an_invalid_servers_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "servers.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=words):
        load_servers(path)
    with pytest.raises(SettingsError, match="missing"):
        load_servers(tmp_path / "missing.toml")


def test_a_servers_file_names_servers_and_keeps_their_passwords(tmp_path: Path) -> None:
    path = tmp_path / "servers.toml"
    path.write_text(
        "[[server]]\nurl = 'gpu-1:7860'\nname = '一号'\nweight = 2\nuser = 'u'\npassword = 's3cret'\n"
        "[[server]]\nurl = 'gpu-2'\n",
        encoding="utf-8",
    )
    first, second = load_servers(path)
    assert (first.name, first.weight, first.webui.url) == ("一号", 2.0, "http://gpu-1:7860")
    assert second.name == "http://gpu-2"
    assert "s3cret" not in repr(first)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_finishes_the_jobs_in_hand_and_exits_130(fake: FakeWebUI, sources_folder: Path, tmp_path: Path) -> None:
    third, interrupted = threading.Event(), threading.Event()

    def hold(number: int) -> None:
        if number == 3:
            third.set()
            interrupted.wait(10)

    fake.before_answer = hold
    output = tmp_path / "out"
    command = [sys.executable, "-m", "sdclient", "generate", str(sources_folder), str(output), "--per-source", "200"]
    command += ["--native-size", "64", "--batch-size", "1", "--url", fake.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert third.wait(30)
        process.send_signal(signal.SIGINT)
        threading.Event().wait(0.5)  # the signal is on its way
        interrupted.set()
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "press Ctrl-C again" in stderr
    assert "what was made is kept" in stderr
    assert "Traceback" not in stderr
    asked = len(fake.requests)
    assert len(recorded(output)) == asked < 600
    assert recorded(output) == image_hashes(output)


def test_nothing_of_a_run_stays_behind(webui: WebUI, sources_folder: Path, tmp_path: Path) -> None:
    before = threading.active_count()
    list(runner(webui, sources_folder, tmp_path / "out").run(owed(sources_folder)))
    assert threading.active_count() <= before + 1  # the test's own server may have one at work
    assert GenerationSettings().batch_size == 4


SOURCES, EACH = 20, 10
KILLS = 60
KILLS_WITH_MASKS = 20


@pytest.fixture
def many_sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    for number in range(1, SOURCES + 1):
        path = folder / ("焊盘" if number % 2 else "dirt") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 64), 30 + number).save(path)
    return folder


def planned(sources: Path) -> set[str]:
    return {f"{source.class_name}/{source.number}_{k}.png" for source in discover(sources) for k in range(1, EACH + 1)}


def masks_of(sources: Path) -> Path:
    """A folder with a mask of every source."""
    masks = sources.parent / "masks"
    for source in discover(sources):
        mask = Image.new("L", (64, 64))
        mask.paste(255, (10, source.number, 40, 50))
        write_mask(mask_path(masks, source), mask)
    return masks


def masks_in(output: Path) -> set[str]:
    return {path.relative_to(output).as_posix() for path in (output / "_masks").glob("*/*.png")}


def is_begun(output: Path) -> bool:
    """Whether the manifest has its tables; a kill may come between making the file and making those."""
    try:
        Manifest(output).close()
    except ManifestError as error:
        if "no manifest.sqlite" not in str(error) and "schema version 0" not in str(error):
            raise
        return False
    return True


def check_whole(output: Path, expected: set[str]) -> None:
    assert set(image_hashes(output)) == expected
    assert image_hashes(output) == recorded(output)
    for name in expected:
        with Image.open(output / name) as image:
            image.load()
    with Manifest(output) as manifest:
        keys = Counter(record.key for record in manifest.images())
    assert set(keys.values()) == {1}


@pytest.mark.parametrize(("masked", "least_kills"), [(False, KILLS), (True, KILLS_WITH_MASKS)])
def test_kills_at_random_instants_lose_and_double_nothing(
    many_sources: Path, tmp_path: Path, masked: bool, least_kills: int
) -> None:
    output = tmp_path / "out"
    rng = random.Random(20261123)
    expected = planned(many_sources)
    with running_server() as server:
        command = [sys.executable, "-m", "sdclient", "generate", str(many_sources), str(output)]
        command += ["--per-source", str(EACH), "--native-size", "64", "--batch-size", "4", "--url", server.url]
        if masked:
            command += ["--masks", str(masks_of(many_sources))]
        kills = starts = 0
        while kills < least_kills:
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                starts += 1
                try:
                    process.wait(rng.uniform(0.3, 1.1))
                except subprocess.TimeoutExpired:
                    process.kill()
                    kills += 1
            if is_begun(output):
                rows = recorded(output)
                assert rows.items() <= image_hashes(output).items()  # no row without its whole file
                if masked and rows:
                    assert {f"_masks/{file}" for file in rows} <= masks_in(output)
                if set(rows) == expected and kills < least_kills:
                    shutil.rmtree(output)  # nothing is left to kill: begin anew
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert starts >= least_kills
    check_whole(output, expected)
    if masked:
        check_masks(output)


@pytest.fixture
def three_servers() -> Iterator[list[WebUIServer]]:
    with ExitStack() as opened:
        yield [opened.enter_context(serve_webui()) for _ in range(3)]


def storm(server: WebUIServer, rng: random.Random, faults: int) -> None:
    """Faults of every kind, in an order drawn by chance; each meets one job."""
    kinds = [
        lambda: server.faults.refuse(1),
        lambda: server.faults.reset(1),
        lambda: server.faults.reset(1, after=True),
        lambda: server.faults.truncate(1),
        lambda: server.faults.status(503),
        lambda: server.faults.status(500),
        lambda: server.faults.status(429),
        lambda: server.faults.out_of_memory(),
        lambda: server.faults.nan(),
        lambda: server.faults.short_reply(),
        lambda: server.faults.substitute(sampler="Euler"),
        lambda: server.faults.substitute(seed=1),
    ]
    for _ in range(faults):
        rng.choice(kinds)()


def test_a_storm_of_faults_on_three_servers_loses_and_doubles_nothing(
    three_servers: list[WebUIServer], many_sources: Path, tmp_path: Path
) -> None:
    """About a third of all requests fail, and one server dies and comes back."""
    output = tmp_path / "out"
    rng = random.Random(7)
    settings = GenerationSettings.checked({"native_px": 64, "batch_size": 2, "steps": 4})
    quick = RetryPolicy(attempts=2, first_wait_s=0)
    with ExitStack() as opened:
        servers = [
            Server(f"server {n}", opened.enter_context(server.client(retries=quick)))
            for n, server in enumerate(three_servers)
        ]
        runner = BatchRunner(servers, many_sources, output, settings, GenerateOptions(tries=8))
        made: Counter[str] = Counter()
        back = threading.Event()
        with ExitStack() as away:
            for record in runner.run([(source, EACH) for source in discover(many_sources)]):
                made[record.file] += 1
                if made.total() == 1:  # the run has begun; until then a fault would rightly refuse to start it
                    for server in three_servers:
                        storm(server, rng, 12)
                if made.total() == 40:
                    away.enter_context(three_servers[2].down())
                if made.total() == 120 and not back.is_set():
                    back.set()
                    away.close()
    assert back.is_set()
    assert made == Counter(planned(many_sources))
    check_whole(output, planned(many_sources))
    for server in three_servers:
        server.assert_no_job_doubled()
    used = sum(server.faults.used for server in three_servers)
    jobs = sum(len(server.jobs) for server in three_servers)
    assert used >= 0.25 * (SOURCES * EACH / 2), f"only {used} faults were met in {jobs} jobs"
