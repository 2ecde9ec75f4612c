"""How far an output is: the same from the indexes as from every row, and the rows are not read for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sdclient.manifest import Manifest, progress
from sdclient.manifest.database import DONE, FAILED, PLANNED, RUNNING, PlannedRow
from sdclient.manifest.progress import (
    NEW,
    STATE_BYTES,
    count_by_class,
    count_failures,
    enter,
    key_of,
    mask_of,
    states_of_source,
)
from tests.support.manifest import RECORD

STATUS_OF = {1: DONE, 2: PLANNED, 3: RUNNING, 4: FAILED, 10: DONE}
"""Of the images of pad/3."""


def row(file: str, sha256: str = "a" * 64) -> PlannedRow:
    class_name, _, name = file.partition("/")
    number, _, k = name.removesuffix(".png").partition("_")
    return PlannedRow(file, class_name, f"{class_name}/{number}.png", sha256, int(k), int(k), f"key of {file}")


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[Manifest]:
    with Manifest(tmp_path, create=True) as manifest:
        for k, status in STATUS_OF.items():
            one = row(f"pad/3_{k}.png")
            if status == DONE:
                manifest.add([replace(RECORD, **vars(one), mask=f"_masks/{one.file}" if k == 1 else "")])
            else:
                manifest.start([one])
                manifest.mark([one.file], status, reason="black" if status == FAILED else "", failures=1)
        manifest.start([row("pad/3_5.png", "other bytes"), row("pad/33_1.png"), row("漏铜 2/3_1.png")])
        yield manifest


def test_the_states_of_a_source_are_those_of_its_rows(manifest: Manifest) -> None:
    states = states_of_source(manifest, "pad/3_", "a" * 64, 10)
    assert list(states) == [STATE_BYTES[STATUS_OF[k]] if k in STATUS_OF else NEW for k in range(1, 11)]
    assert list(states_of_source(manifest, "pad/3_", "a" * 64, 4)) == list(states[:4])
    assert list(states_of_source(manifest, "pad/3_", "other bytes", 5)) == [NEW] * 4 + [STATE_BYTES[RUNNING]]
    assert list(states_of_source(manifest, "漏铜 2/3_", "a" * 64, 1)) == [STATE_BYTES[RUNNING]]
    assert list(states_of_source(manifest, "nothing/3_", "a" * 64, 2)) == [NEW, NEW]


def test_counts_are_those_of_the_rows_one_by_one(manifest: Manifest, tmp_path: Path) -> None:
    expected: dict[str, Counter[str]] = {}
    for state in manifest.states():
        expected.setdefault(state.class_name, Counter())[state.status] += 1
    assert {name: +counts for name, counts in count_by_class(manifest).items()} == expected
    assert count_failures(manifest) == {("pad", "black"): 1}
    assert manifest.files() == {"pad/3_1.png", "pad/3_10.png"}
    for wanted in ((PLANNED,), (FAILED, RUNNING)):
        assert list(manifest.states(*wanted)) == [one for one in manifest.states() if one.status in wanted]
    (tmp_path / "empty").mkdir()
    with Manifest(tmp_path / "empty", create=True) as empty:
        assert count_by_class(empty) == count_failures(empty) == {}


def test_keys_and_masks_are_found_by_file_name(manifest: Manifest) -> None:
    assert key_of(manifest, "pad/3_2.png") == "key of pad/3_2.png"
    assert key_of(manifest, "pad/3_6.png") is None
    assert mask_of(manifest, "pad/3_1.png") == "_masks/pad/3_1.png"
    assert mask_of(manifest, "pad/3_10.png") == ""
    assert mask_of(manifest, "pad/3_2.png") is None


@pytest.mark.parametrize("name", ["_COUNT", "_NUMBERS", "_UNFINISHED", "_ALL_BY_CLASS", "_UNFINISHED_BY_CLASS"])
def test_no_row_is_read_where_an_index_is_enough(manifest: Manifest, name: str) -> None:
    sql = getattr(progress, name)
    steps = [str(step[3]) for step in manifest.query(f"EXPLAIN QUERY PLAN {sql}", ("",) * sql.count("?"))]
    assert "USING COVERING INDEX" in steps[0]


def test_images_with_a_row_are_not_entered_again(manifest: Manifest) -> None:
    rows = [("pad/3_4.png", "pad", "pad/3.png", "s", 4, 4, "k"), ("pad/3_7.png", "pad", "pad/3.png", "s", 7, 7, "k")]
    with manifest.transaction() as database:
        assert enter(database, iter(rows)) == 1
    states = {state.file: state for state in manifest.states()}
    assert states["pad/3_4.png"].status == FAILED
    assert states["pad/3_7.png"].status == PLANNED


@pytest.mark.parametrize("count", [0, 49, 50, 51, 120])
def test_any_number_of_rows_is_entered_completely(manifest: Manifest, count: int) -> None:
    rows = [(f"new/1_{k}.png", "new", "new/1.png", "s", k, k + 7, f"key {k}") for k in range(1, count + 1)]
    with manifest.transaction() as database:
        assert enter(database, rows) == count
        assert enter(database, rows) == 0
    columns = "file, class_name, source, source_sha256, k, seed, key"
    assert list(manifest.query(f"SELECT {columns} FROM images WHERE class_name = 'new' ORDER BY k")) == rows


def test_an_image_that_starts_keeps_its_number_of_failed_tries(manifest: Manifest) -> None:
    manifest.start([row("pad/3_2.png"), row("pad/3_8.png")])
    states = {state.file: state for state in manifest.states(RUNNING)}
    assert states["pad/3_2.png"].attempts == 1
    assert states["pad/3_8.png"].attempts == 0
