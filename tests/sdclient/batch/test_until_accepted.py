"""Images are made until enough are accepted; what is learnt is kept, and a killed run goes on where it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from sdclient.batch import BatchRunner, GenerateOptions, GenerationSettings, RunSpec
from sdclient.batch.acceptance import LEARNED_KEY
from sdclient.batch.strength import AdaptiveStrength
from sdclient.batch.until_accepted import AcceptanceLoop
from sdclient.errors import OutputError
from sdclient.manifest import Manifest
from sdclient.manifest.database import DONE, FAILED
from sdclient.masks.mask import Unmasked, mask_path, write_mask
from sdclient.sources import discover
from sdclient.testing import WebUIServer
from tests.support.acceptance import Limits

MakeLoop = Callable[..., AcceptanceLoop]


@pytest.fixture
def sources_folder(tmp_path: Path) -> Path:
    """Class 焊盘 with two sources, pit with one."""
    folder = tmp_path / "sources"
    for name in ("焊盘/1", "焊盘/2", "pit/7"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 64), 40).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def make_loop(webui_server: WebUIServer, sources_folder: Path, tmp_path: Path) -> Iterator[MakeLoop]:
    """Makes a loop over all sources into `tmp_path / "out"`."""

    def make(
        limits: Limits,
        *,
        per_source: int = 2,
        budget: float = 6,
        masks: Path | None = None,
        unmasked: Unmasked = "refuse",
        **settings: object,
    ) -> AcceptanceLoop:
        spec = RunSpec.from_settings(
            GenerationSettings.checked({"native_px": 64, "batch_size": 2, "steps": 4, **settings})
        )
        found = discover(sources_folder)
        output = tmp_path / "out"
        webui = clients.enter_context(webui_server.client())
        runner = BatchRunner(
            webui, sources_folder, output, spec, GenerateOptions(check=None, tries=2, masks=masks, unmasked=unmasked)
        )
        return AcceptanceLoop(
            runner,
            output,
            spec,
            [(source, per_source) for source in found],
            AdaptiveStrength(spec, found, low=0.15, high=0.45),
            parameters={"strength_range": [0.15, 0.45]},
            budget=budget,
            open_judge=limits.open,
        )

    with ExitStack() as clients:
        yield make


def counts(loop: object) -> dict[str, tuple[int, int]]:
    """Class -> accepted, made."""
    return {one.class_name: (one.accepted, one.made) for one in loop.outcomes()}  # type: ignore[attr-defined]


def strengths(output: Path, source: str) -> list[float]:
    with Manifest(output) as manifest:
        found = sorted((r.k, r.asked["denoising_strength"]) for r in manifest.images() if r.source == source)
    return [strength for _, strength in found]


def test_no_superfluous_image_is_made_where_all_are_accepted(make_loop: MakeLoop) -> None:
    loop = make_loop(Limits())
    assert len(list(loop.run())) == 6
    assert counts(loop) == {"pit": (2, 2), "焊盘": (4, 4)}


def test_rejected_images_are_made_again_with_another_strength(make_loop: MakeLoop, tmp_path: Path) -> None:
    loop = make_loop(Limits(by_source={"pit/7.png": (0.33, 1.0), "焊盘/1.png": (0.0, 0.2)}))
    list(loop.run())
    assert all(one.is_complete for one in loop.outcomes())
    pit, pad = strengths(tmp_path / "out", "pit/7.png"), strengths(tmp_path / "out", "焊盘/1.png")
    assert pit[0] == pad[0] == 0.25
    assert pit[-1] >= 0.33
    assert pad[-1] <= 0.2
    assert strengths(tmp_path / "out", "焊盘/2.png") != pad


def test_the_outcome_is_stored_in_the_manifest(make_loop: MakeLoop, tmp_path: Path) -> None:
    loop = make_loop(Limits(alike_below=0.3))
    list(loop.run())
    with Manifest(tmp_path / "out") as manifest:
        kept = {one["class_name"]: one for one in manifest.run()[LEARNED_KEY]}
        made = [record for record in manifest.images() if record.class_name == "pit"]
    accepted = [record for record in made if record.asked["denoising_strength"] >= 0.3]
    assert (kept["pit"]["accepted"], kept["pit"]["made"]) == (len(accepted), len(made)) == (2, len(made))
    assert kept["pit"]["is_complete"] is True
    (source,) = kept["pit"]["sources"]
    assert source["source"] == "7.png"
    assert source["strength"] > 0.25


def test_a_class_ends_with_its_budget(make_loop: MakeLoop) -> None:
    loop = make_loop(Limits(alike_below=0.9), budget=3)
    list(loop.run())
    assert counts(loop) == {"pit": (0, 6), "焊盘": (0, 12)}
    assert not any(one.is_complete for one in loop.outcomes())


def test_an_exhausted_sources_images_come_from_another_of_its_class(make_loop: MakeLoop) -> None:
    loop = make_loop(Limits(by_source={"焊盘/1.png": (0.9, 1.0)}), budget=8)
    list(loop.run())
    pad = next(one for one in loop.outcomes() if one.class_name == "焊盘")
    one, two = pad.sources
    assert pad.is_complete
    assert (one.accepted, one.is_exhausted, two.accepted) == (0, True, 4)


def test_a_second_run_makes_nothing(make_loop: MakeLoop, webui_server: WebUIServer) -> None:
    list(make_loop(Limits(alike_below=0.3)).run())
    jobs = len(webui_server.jobs)
    again = make_loop(Limits(alike_below=0.3))
    assert list(again.run()) == []
    assert len(webui_server.jobs) == jobs
    assert all(one.is_complete for one in again.outcomes())


def test_a_larger_plan_continues_with_what_was_learnt(make_loop: MakeLoop, tmp_path: Path) -> None:
    list(make_loop(Limits(alike_below=0.3)).run())
    before = len(strengths(tmp_path / "out", "pit/7.png"))
    list(make_loop(Limits(alike_below=0.3), per_source=4).run())
    assert all(strength >= 0.3 for strength in strengths(tmp_path / "out", "pit/7.png")[before:])


def test_a_run_that_was_stopped_continues_and_makes_nothing_twice(make_loop: MakeLoop, tmp_path: Path) -> None:
    list(islice(make_loop(Limits(alike_below=0.3)).run(), 2))
    loop = make_loop(Limits(alike_below=0.3))
    list(loop.run())
    with Manifest(tmp_path / "out") as manifest:
        rows = list(manifest.images())
        assert {state.status for state in manifest.states()} == {DONE}
    on_disk = {
        path.relative_to(tmp_path / "out").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (tmp_path / "out").glob("*/*.png")
    }
    assert on_disk == {row.file: row.sha256 for row in rows}
    assert len({(row.source, row.seed) for row in rows}) == len(rows)
    assert all(one.is_complete for one in loop.outcomes())


def test_unfinished_images_of_a_killed_run_are_removed(make_loop: MakeLoop, tmp_path: Path) -> None:
    list(make_loop(Limits()).run())
    with Manifest(tmp_path / "out", create=True) as manifest:
        record = next(record for record in manifest.images() if record.source == "pit/7.png")
        manifest.forget([record.file])
        manifest.start([record])  # its file is in place, its row does not say so yet
    loop = make_loop(Limits())
    made = list(loop.run())
    assert len(made) == 1
    with Manifest(tmp_path / "out") as manifest:
        assert manifest.files() == {
            path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").glob("*/*.png")
        }


def test_images_that_fail_count_against_the_budget(
    make_loop: MakeLoop, webui_server: WebUIServer, tmp_path: Path
) -> None:
    webui_server.faults.status(500, 4)
    loop = make_loop(Limits(), per_source=1)
    list(loop.run())
    with Manifest(tmp_path / "out") as manifest:
        failed = [state for state in manifest.states() if state.status == FAILED]
    assert sum(one.failed for one in loop.outcomes()) == len(failed) >= 1
    assert all(one.is_complete for one in loop.outcomes())


def test_an_output_with_other_ranges_is_refused(make_loop: MakeLoop) -> None:
    list(make_loop(Limits(), per_source=1).run())
    loop = make_loop(Limits(), per_source=1, denoising_strength=0.3)
    with pytest.raises(OutputError, match=r"denoising_strength was 0\.25, now 0\.3"):
        list(loop.run())


def test_images_are_repainted_inside_masks(make_loop: MakeLoop, sources_folder: Path, tmp_path: Path) -> None:
    for source in discover(sources_folder):
        mask = Image.new("L", (64, 64))
        mask.paste(255, (20, 20, 40, 40))
        write_mask(mask_path(tmp_path / "masks", source), mask)
    list(make_loop(Limits(alike_below=0.3), masks=tmp_path / "masks").run())
    with Manifest(tmp_path / "out") as manifest:
        records = list(manifest.images())
    assert len({record.asked["denoising_strength"] for record in records}) > 1
    for record in records:
        with Image.open(sources_folder / record.source) as source, Image.open(tmp_path / "out" / record.file) as made:
            left, top, right, bottom = ImageChops.difference(source, made).getbbox() or (0, 0, 0, 0)
        assert min(left, top) >= 18
        assert max(right, bottom) <= 42
        assert (tmp_path / "out" / record.mask).is_file()


def test_sources_without_a_mask_can_be_skipped(make_loop: MakeLoop, sources_folder: Path, tmp_path: Path) -> None:
    for source in discover(sources_folder)[:2]:
        write_mask(mask_path(tmp_path / "masks", source), Image.new("L", (64, 64), 255))
    loop = make_loop(Limits(), masks=tmp_path / "masks", unmasked="skip")
    list(loop.run())
    assert sum(one.planned for one in loop.outcomes()) == sum(one.accepted for one in loop.outcomes()) == 4


def test_accepted_images_are_counted_up_to_the_planned_number(make_loop: MakeLoop) -> None:
    loop = make_loop(Limits(alike_below=0.3))
    counted = [loop.accepted for _ in loop.run()]
    assert loop.planned == sum(one.planned for one in loop.outcomes()) == 6
    assert counted[-1] == loop.accepted == sum(min(one.accepted, one.planned) for one in loop.outcomes()) == 6
