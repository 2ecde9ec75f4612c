"""Draws by seed: the same for ever, evenly spread, unrelated from seed to seed and name to name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from scipy import stats

from sdclient.batch.jobs import GenerationPlan, pack_jobs
from sdclient.batch.settings import ImageParameters, Inpainting
from sdclient.errors import OutputError
from sdclient.manifest import MANIFEST_NAME, ImageRecord, Manifest
from sdclient.manifest.database import DONE, FAILED, PLANNED, RUNNING, RowState
from sdclient.output.planned_images import DRAWN_DIGITS, Choice, Range, draw_index, draw_number, image_keys, seed_base
from sdclient.output.store import OutputStore, open_store
from sdclient.sources import Source

SEEDS = range(seed_base(0, "焊盘", 3), seed_base(0, "焊盘", 3) + 20_000)
"""As one source's images have them: consecutive."""
IMPROBABLE = 1e-3
"""The seeds are fixed, so a test at this level passes always or never."""

thousandths = st.integers(0, 1000).map(lambda step: step / 1000)


def test_draws_stay_what_they_are() -> None:
    """Golden values: if these change, no output folder with drawn settings made before can be resumed."""
    assert [draw_index(seed, "denoising_strength", 1000) for seed in (0, 1, 2, 2**32 - 1)] == [215, 851, 859, 964]
    strength = Range(0.2, 0.3)
    assert [draw_number(strength, seed, "denoising_strength") for seed in (0, 1, 2, 2**32 - 1)] == [
        0.239,
        0.233,
        0.284,
        0.226,
    ]
    assert [draw_number(Choice((5, 7, 9)), seed, "cfg_scale") for seed in (0, 1, 2, 2**32 - 1)] == [5, 9, 7, 5]


@pytest.mark.parametrize("count", [2, 3, 101])
def test_each_item_is_drawn_with_the_same_probability(count: int) -> None:
    drawn = Counter(draw_index(seed, "denoising_strength", count) for seed in SEEDS)
    assert stats.chisquare([drawn[place] for place in range(count)]).pvalue > IMPROBABLE


def test_both_ends_of_a_range_are_drawn_as_often_as_its_middle() -> None:
    drawn = Counter(draw_number(Range(0.2, 0.21), seed, "denoising_strength") for seed in SEEDS)
    assert sorted(drawn) == [0.2, 0.201, 0.202, 0.203, 0.204, 0.205, 0.206, 0.207, 0.208, 0.209, 0.21]
    assert stats.chisquare(list(drawn.values())).pvalue > IMPROBABLE


def test_a_number_that_is_listed_twice_is_drawn_twice_as_often() -> None:
    drawn = Counter(draw_number(Choice((0.2, 0.3, 0.2)), seed, "denoising_strength") for seed in SEEDS)
    expected = [len(SEEDS) * 2 / 3, len(SEEDS) / 3]
    assert stats.chisquare([drawn[0.2], drawn[0.3]], expected).pvalue > IMPROBABLE


@pytest.mark.parametrize(
    "pairs",
    [
        [(draw_index(seed, "cfg_scale", 4), draw_index(seed, "denoising_strength", 4)) for seed in SEEDS],
        [(draw_index(seed, "cfg_scale", 4), draw_index(seed + 1, "cfg_scale", 4)) for seed in SEEDS],
    ],
    ids=["two names of one seed", "two neighbouring seeds"],
)
def test_draws_are_independent(pairs: list[tuple[int, int]]) -> None:
    counted = Counter(pairs)
    table = [[counted[row, column] for column in range(4)] for row in range(4)]
    assert stats.chi2_contingency(table).pvalue > IMPROBABLE


@given(st.integers(0, 2**64), st.text(), st.integers(1, 10**6))
def test_a_draw_stays_within_its_bounds(seed: int, name: str, count: int) -> None:
    assert 0 <= draw_index(seed, name, count) < count
    assert draw_index(seed, name, count) == draw_index(seed, name, count)


@given(thousandths, thousandths, st.integers(0, 2**32 - 1))
def test_a_number_from_a_range_is_within_it_and_its_text_is_exact(one: float, other: float, seed: int) -> None:
    low, high = sorted((one, other))
    drawn = draw_number(Range(low, high), seed, "denoising_strength")
    assert low <= drawn <= high
    assert drawn == float(f"{drawn:.{DRAWN_DIGITS}f}")


def test_a_range_of_one_number_gives_that_number() -> None:
    assert {draw_number(Range(0.25, 0.25), seed, "denoising_strength") for seed in range(50)} == {0.25}


@given(st.lists(st.floats(0, 1), min_size=1), st.integers(0, 2**32 - 1))
def test_a_number_from_a_list_is_exactly_one_of_them(values: list[float], seed: int) -> None:
    assert draw_number(Choice(tuple(values)), seed, "denoising_strength") in values


ALIKE = ImageParameters(0.25, "Euler", None, 20, 7.0, "", "", None)
RUN = {"parameters": {"seed": 7}}
MASKED = Inpainting("original", "masked", 32, 2, "m1")


def plan_of(
    number: int, count: int, *, class_name: str = "焊盘", sha256: str = "", inpainting: Inpainting | None = None
) -> GenerationPlan:
    source = Source(class_name, number, Path("sources") / class_name / f"{number}.png")
    parameters = dataclasses.replace(ALIKE, inpainting=inpainting)
    return GenerationPlan(
        source,
        sha256 or hashlib.sha256(f"{class_name} {number}".encode()).hexdigest(),
        count,
        7,
        lambda *_: parameters,
        dataclasses.asdict,
        None if inpainting is None else inpainting.mask_sha256,
    )


@contextmanager
def opened(output: Path) -> Any:
    with open_store(output, RUN) as store:
        yield store


def finish(
    store: OutputStore, output: Path, plan: GenerationPlan, ks: Iterable[int], *, with_file: bool = True
) -> None:
    """Make images: a row that says done, and a file."""
    for image in plan.images(ks):
        row = {name: getattr(image, name) for name in ("file", "source_sha256", "k", "seed", "key")}
        store.manifest.add(
            [
                ImageRecord(
                    **row,
                    class_name=image.source.class_name,
                    source=image.source.relative,
                    sha256="f" * 64,
                    width=8,
                    height=8,
                    server="http://127.0.0.1:1",
                    model="m",
                    engine="e",
                    asked={"prompt": "x" * 300},
                    used={},
                    infotext="x" * 300,
                    created_at="2026-11-25T00:00:00+00:00",
                )
            ]
        )
        if with_file:
            put(output / image.file)


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"an image")


def rows(output: Path) -> dict[str, RowState]:
    with Manifest(output) as manifest:
        return {state.file: state for state in manifest.states()}


@pytest.mark.parametrize("count", [0, 1, 12])
def test_a_new_plan_is_missing_in_its_own_order(tmp_path: Path, count: int) -> None:
    plans = [plan_of(10, count), plan_of(2, 2 * count), plan_of(1, count, class_name="dirt")]
    with opened(tmp_path / "out") as store:
        missing = store.enter_plan(plans)
        expected = [image for plan in plans for image in plan.images(range(1, plan.count + 1))]
        assert list(missing) == expected
        assert list(missing) == expected  # as often as it is asked for
        assert len(missing) == 4 * count
    assert {file: (state.key, state.status) for file, state in rows(tmp_path / "out").items()} == {
        image.file: (image.key, PLANNED) for image in expected
    }


def test_missing_images_are_packed_like_a_whole_plan(tmp_path: Path) -> None:
    plans = [plan_of(10, 12), plan_of(1, 5)]
    with opened(tmp_path / "out") as store:
        store.enter_plan(plans)
        finish(store, tmp_path / "out", plans[0], (3, 9, 10))
        jobs = [[image.k for image in job.images] for job in pack_jobs(store.enter_plan(plans), 4)]
    assert jobs == [[1, 2], [4, 5, 6, 7], [8], [11, 12], [1, 2, 3, 4], [5]]


STATE = st.sampled_from(["no row", "done", "done, file gone", PLANNED, RUNNING, FAILED, "planned, file there"])


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STATE, min_size=1, max_size=14), st.lists(STATE, max_size=12), st.integers(0, 3))
def test_a_start_finds_each_image_as_it_was_left(
    tmp_path_factory: pytest.TempPathFactory, ones: list[str], twelves: list[str], more: int
) -> None:
    """Sources 1 and 12 of one class, whose names begin alike, and rows beyond the plan."""
    output = tmp_path_factory.mktemp("left") / "out"
    left = {plan_of(1, len(ones)): ones, plan_of(12, len(twelves)): twelves}
    with opened(output) as store:
        for plan, states in left.items():
            for k, state in enumerate(states, 1):
                leave(store, output, plan, k, state)
        before = rows(output)
        plans = [dataclasses.replace(plan, count=plan.count + more) for plan in left]
        missing = [image.file for image in store.enter_plan(plans)]
    made = {"done", FAILED}
    assert missing == [
        plan.file_of(k)
        for plan, states in zip(plans, left.values(), strict=True)
        for k in range(1, plan.count + 1)
        if k > len(states) or states[k - 1] not in made
    ]
    after = rows(output)
    assert after.keys() == {plan.file_of(k) for plan in plans for k in range(1, plan.count + 1)}
    for plan, states in left.items():
        for k, state in enumerate(states, 1):
            file = plan.file_of(k)
            if state in {"done", FAILED, PLANNED, "planned, file there"}:
                assert after[file] == before[file]
            else:
                assert (after[file].status, after[file].attempts, after[file].reason) == (PLANNED, 0, "")


def leave(store: OutputStore, output: Path, plan: GenerationPlan, k: int, state: str) -> None:
    (image,) = plan.images([k])
    if state == "no row":
        return
    if state.startswith("done"):
        finish(store, output, plan, [k], with_file=state == "done")
        return
    store.start([image])
    store.requeue([image], "it failed", failures=1)
    if state in {RUNNING, FAILED}:
        store.manifest.mark([image.file], state)
    if state == "planned, file there":
        put(output / image.file)


@pytest.mark.parametrize(
    "name", ["01_1.png", "1_01.png", "1_1.PNG", "1_1.png.bak", "1_-1.png", "1_1", "1_.png", "1_9.png"]
)
def test_only_a_file_of_exactly_that_name_counts(tmp_path: Path, name: str) -> None:
    output, plan = tmp_path / "out", plan_of(1, 1)
    with opened(output) as store:
        finish(store, output, plan, [1], with_file=False)
        put(output / "焊盘" / name)
        if (output / "焊盘" / "1_1.png").exists():
            pytest.skip("this file system takes no notice of case")
        (output / "焊盘" / "1_2.png").mkdir()
        assert [image.k for image in store.enter_plan([plan])] == [1]


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as store:
        finish(store, tmp_path / "out", plan_of(1, 1), [1], with_file=False)
        (tmp_path / "out" / "焊盘" / "1_1.png").mkdir(parents=True)
        assert len(store.enter_plan([plan_of(1, 1)])) == 1


def test_an_image_without_its_mask_file_is_missing(tmp_path: Path) -> None:
    output, plan = tmp_path / "out", plan_of(1, 3, inpainting=MASKED)
    with opened(output) as store:
        finish(store, output, plan, [1, 2, 3])
        put(output / "_masks" / "焊盘" / "1_2.png")
        assert [image.k for image in store.enter_plan([plan])] == [1, 3]


@pytest.mark.parametrize("folder", ["焊盘", "no longer planned", "_masks/焊盘", "_masks/no longer planned", "_masks"])
def test_temporary_files_of_killed_writes_are_removed_from_every_folder(tmp_path: Path, folder: str) -> None:
    left = tmp_path / "out" / folder / ".12-34.part"
    with opened(tmp_path / "out") as store:
        put(left)
        store.enter_plan([plan_of(1, 1)])
        assert not left.exists()
        put(left)
        store.forget_unfinished()
        assert not left.exists()


@pytest.mark.parametrize("status", [DONE, PLANNED, FAILED])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_one_row_of_another_source_image_is_refused_and_nothing_is_entered(tmp_path: Path, status: str, k: int) -> None:
    output, other = tmp_path / "out", plan_of(2, 5, sha256="other")
    with opened(output) as store:
        if status == DONE:
            finish(store, output, other, [k])
        else:
            store.start(list(other.images([k])))
            store.manifest.mark([other.file_of(k)], status)
        store.enter_plan([plan_of(1, 2)])
        finish(store, output, plan_of(1, 2), [1], with_file=False)  # which a start that is not refused makes again
        before = rows(output)
        with pytest.raises(OutputError, match=rf"2_{k}\.png: was made from another picture"):
            store.enter_plan([plan_of(1, 9), plan_of(2, 5), plan_of(3, 9)])
        assert rows(output) == before


def test_another_mask_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as store:
        store.enter_plan([plan_of(1, 3, inpainting=MASKED)])
        for other in (None, dataclasses.replace(MASKED, mask_sha256="m2")):
            with pytest.raises(OutputError, match=r"1_1\.png: .* with another mask"):
                store.enter_plan([plan_of(1, 4, inpainting=other)])
        assert len(store.enter_plan([plan_of(1, 4, inpainting=MASKED)])) == 4


def test_two_sources_may_have_the_same_bytes(tmp_path: Path) -> None:
    plans = [plan_of(n, 2, class_name=name, sha256="same") for n in (1, 11) for name in ("a", "b")]
    with opened(tmp_path / "out") as store:
        assert len(store.enter_plan(plans)) == 8
        finish(store, tmp_path / "out", plans[0], [1, 2])
        assert [image.file for image in store.enter_plan(plans)] == [
            "b/1_1.png",
            "b/1_2.png",
            "a/11_1.png",
            "a/11_2.png",
            "b/11_1.png",
            "b/11_2.png",
        ]


def test_a_source_may_be_planned_twice(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with opened(output) as store:
        finish(store, output, plan_of(1, 5), [1, 2], with_file=False)
        finish(store, output, plan_of(1, 5), [3])
        for counts in ((2, 5), (5, 2)):
            assert [image.k for image in store.enter_plan(plan_of(1, count) for count in counts)] == [
                k for count in counts for k in (1, 2, 4, 5) if k <= count
            ]


def test_the_log_is_short_once_a_plan_is_entered(tmp_path: Path) -> None:
    """A killed run's next start reads it through."""
    with opened(tmp_path / "out") as store:
        store.enter_plan([plan_of(1, 2000)])
        assert (tmp_path / "out" / f"{MANIFEST_NAME}-wal").stat().st_size == 0


def test_a_plan_is_entered_while_another_process_reads(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as store, Manifest(tmp_path / "out") as reader:
        store.enter_plan([plan_of(1, 2)])
        states = reader.states()
        next(states)
        assert len(store.enter_plan([plan_of(1, 2000)])) == 2000
        assert len(list(states)) == 1  # what there was when it began


IMAGES, MOST_BYTES = 50_000, 3_000_000
"""An object and a key for each image would take 16 MB."""


def test_a_long_plan_takes_no_memory(tmp_path: Path) -> None:
    plans = [plan_of(n, IMAGES // 10) for n in range(1, 11)]
    with opened(tmp_path / "out") as store:
        tracemalloc.start()
        try:
            missing = store.enter_plan(plans)
            assert sum(len(job.images) for job in pack_jobs(missing, 4)) == len(missing) == IMAGES
            entered = tracemalloc.get_traced_memory()[1]
            store.manifest.mark((plan.file_of(k) for plan in plans for k in range(1, IMAGES // 10, 2)), FAILED)
            tracemalloc.reset_peak()
            missing = store.enter_plan(plans)  # every other one: no stretch without gaps
            assert sum(len(job.images) for job in pack_jobs(missing, 4)) == len(missing) == IMAGES // 2
            resumed = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert entered < MOST_BYTES
    assert resumed < MOST_BYTES


@given(
    st.text(max_size=20),
    st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.floats(), st.text(), st.none()), max_size=4),
    st.lists(st.integers(0, 2**32), max_size=4),
)
def test_keys_computed_together_equal_those_computed_one_by_one(
    sha256: str, values: Mapping[str, Any], seeds: list[int]
) -> None:
    key = image_keys(sha256, values)
    for seed in seeds:
        text = json.dumps([sha256, values, seed], ensure_ascii=False, sort_keys=True)
        assert key(seed) == hashlib.sha256(text.encode("utf-8")).hexdigest()


class Killed(GenerationPlan):
    """Ends the process, so to say, at its third image."""

    def identities(self, ks: Iterable[int]) -> Iterator[tuple[int, int, str]]:
        for number, found in enumerate(super().identities(ks)):
            if number == 2:
                raise KeyboardInterrupt
            yield found


def test_a_start_that_is_killed_while_it_enters_a_plan_has_entered_nothing(tmp_path: Path) -> None:
    output, first, second = tmp_path / "out", plan_of(1, 5), plan_of(2, 5)
    with opened(output) as store:
        store.enter_plan([first])
        finish(store, output, first, [1, 2])
        finish(store, output, first, [3], with_file=False)
        store.start(list(first.images([4])))
        expected = [*first.images([3, 4, 5]), *second.images(range(1, 6))]
        with pytest.raises(KeyboardInterrupt):
            store.enter_plan([first, Killed(**vars(second))])
        assert not [file for file in rows(output) if file.startswith("焊盘/2_")]
        assert list(store.enter_plan([first, second])) == expected
    assert {file: state.status for file, state in rows(output).items()} == {
        image.file: DONE if image in first.images([1, 2]) else PLANNED
        for plan in (first, second)
        for image in plan.images(range(1, 6))
    }
