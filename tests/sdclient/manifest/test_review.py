from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sdclient.manifest import Curation, ImageRecord, Manifest, Parent
from sdclient.manifest.curation import ACCEPTED, REJECTED, UNDECIDED, FilterVerdict
from sdclient.manifest.database import PlannedRow
from sdclient.manifest.review import ClassCounts, ReviewFilter, ReviewQueries, SeenRevision

RECORD = ImageRecord(
    file="pad/1_1.png", class_name="pad", source="pad/1.png", source_sha256="s1", k=1, seed=7, key="k1", sha256="h",
    width=8, height=8, server="http://127.0.0.1:1", model="m", engine="e", asked={"denoising_strength": 0.2}, used={},
    infotext="", created_at="2026-11-24T00:00:00+00:00", mask="_masks/pad/1_1.png",
    other_parents=(Parent("Normal/3.png", "s2"),),
)  # fmt: skip
NAMES = [("pad", 1, 1), ("pad", 2, 1), ("pad", 2, 2), ("pad", 10, 1), ("漏铜", 1, 1)]
FILES = [f"{name}/{number}_{k}.png" for name, number, k in NAMES]


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[Manifest]:
    with Manifest(tmp_path, create=True) as manifest:
        manifest.start([PlannedRow("pad/99_1.png", "pad", "pad/99.png", "s", 1, 1, "planned")])
        manifest.add(
            replace(RECORD, file=file, class_name=name, source=f"{name}/{number}.png", k=k, key=file, sha256=f"h{file}")
            for file, (name, number, k) in zip(FILES, NAMES, strict=True)
        )
        curation = Curation(manifest)
        verdicts = {FILES[0]: ("noise", "face"), FILES[1]: ("too_alike",), FILES[2]: (), FILES[4]: ("noise",)}
        curation.set_filter_verdicts(FilterVerdict(file, f"h{file}", words) for file, words in verdicts.items())
        values = {FILES[0]: 0.9, FILES[1]: 0.1, FILES[2]: None, FILES[3]: 0.5, FILES[4]: 0.7}
        curation.set_scores((file, f"h{file}", {"noise": value, 'od"d': 1.0}) for file, value in values.items())
        yield manifest


def seen(file: str, revision: int = 0) -> SeenRevision:
    return SeenRevision(file, f"h{file}", revision)


def test_a_list_goes_class_after_class_and_ten_after_nine(manifest: Manifest) -> None:
    found = ReviewQueries(manifest).find(ReviewFilter())
    assert found.files == tuple(FILES)
    assert found.starts == (("pad", 0), ("漏铜", 4))
    assert found.first_unreviewed == 0


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (ReviewFilter(class_name="漏铜"), FILES[4:]),
        (ReviewFilter(class_name="none"), []),
        (ReviewFilter(state="undecided"), [FILES[3]]),
        (ReviewFilter(state="accepted"), [FILES[2]]),
        (ReviewFilter(state="rejected"), [FILES[0], FILES[1], FILES[4]]),
        (ReviewFilter(state="reviewed"), []),
        (ReviewFilter(reason="noise"), [FILES[0], FILES[4]]),
        (ReviewFilter(reason="noise", class_name="pad"), [FILES[0]]),
        (ReviewFilter(reason=""), [FILES[0], FILES[1], FILES[4]]),
        (ReviewFilter(reason="'; DROP TABLE images; --"), []),
        (ReviewFilter(score="noise", low=0.5), [FILES[0], FILES[3], FILES[4]]),
        (ReviewFilter(score="noise", low=0.1, high=0.5), [FILES[1], FILES[3]]),
        (ReviewFilter(score="noise", order="lowest"), [FILES[1], FILES[3], FILES[0], FILES[2], FILES[4]]),
        (ReviewFilter(score="noise", order="highest"), [FILES[0], FILES[3], FILES[1], FILES[2], FILES[4]]),
        (ReviewFilter(score="none", order="lowest"), FILES),
        (ReviewFilter(score="none", low=0), []),
        (ReviewFilter(score='"]', low=0), []),
    ],
)  # fmt: skip
def test_a_filter_selects_the_images_it_names(manifest: Manifest, wanted: ReviewFilter, expected: list[str]) -> None:
    assert list(ReviewQueries(manifest).find(wanted).files) == expected


def test_a_persons_decision_moves_an_image_between_states(manifest: Manifest) -> None:
    review = ReviewQueries(manifest)
    review.decide([seen(FILES[0])], ACCEPTED, tab="a")
    assert review.find(ReviewFilter(state="accepted")).files == (FILES[0], FILES[2])
    assert review.find(ReviewFilter(state="reviewed")).files == (FILES[0],)
    assert review.find(ReviewFilter(state="unreviewed")).files == tuple(FILES[1:])
    assert review.find(ReviewFilter()).first_unreviewed == 1
    assert review.counts() == [ClassCounts("pad", 2, 1, 1, 1), ClassCounts("漏铜", 0, 1, 0, 0)]


def test_counts_agree_with_the_verdicts_that_training_reads(manifest: Manifest) -> None:
    ReviewQueries(manifest).decide([seen(FILES[3]), seen(FILES[2])], REJECTED, tab="a")
    verdicts = list(Curation(manifest).verdicts())
    for counts in ReviewQueries(manifest).counts():
        own = [one for one in verdicts if one.class_name == counts.class_name]
        assert counts.accepted == sum(one.verdict == ACCEPTED for one in own)
        assert counts.rejected == sum(one.verdict == REJECTED for one in own)
        assert counts.undecided == sum(one.verdict == UNDECIDED for one in own)
        assert counts.reviewed == sum(one.is_by_person for one in own)


def test_rows_come_in_the_order_asked_for(manifest: Manifest) -> None:
    review = ReviewQueries(manifest)
    rows = review.rows([FILES[4], "pad/77_1.png", "pad/99_1.png", FILES[0]])
    assert [row.file for row in rows] == [FILES[4], FILES[0]]
    row = rows[1]
    assert (row.sha256, row.mask, row.other_parents) == (f"h{FILES[0]}", RECORD.mask, RECORD.other_parents)
    assert (row.verdict, row.filter_verdict, row.person, row.revision) == (REJECTED, REJECTED, "", 0)
    assert row.reasons == ("noise", "face")
    assert row.scores["noise"] == 0.9
    assert row.asked == RECORD.asked
    assert review.rows([]) == []
    assert [row.file for row in review.rows(FILES * 300)] == FILES * 300


def test_reasons_and_ranges_are_those_of_images_that_are_done(manifest: Manifest) -> None:
    review = ReviewQueries(manifest)
    assert review.reasons() == {"face": 1, "noise": 2, "too_alike": 1}
    assert review.score_ranges() == {"noise": (0.1, 0.9), 'od"d': (1.0, 1.0)}


def test_a_step_is_undone_as_a_whole(manifest: Manifest) -> None:
    review = ReviewQueries(manifest)
    review.decide([seen(FILES[3])], ACCEPTED, tab="a")
    assert review.decide([seen(FILES[1]), seen(FILES[2])], REJECTED, tab="a").written == (FILES[1], FILES[2])
    assert review.undo("b") == ()
    assert review.undo("a") == (FILES[1], FILES[2])
    assert [row.person for row in review.rows(FILES)] == ["", "", "", ACCEPTED, ""]
    assert review.undo("a") == (FILES[3],)
    assert review.undo("a") == ()
    assert {row.revision for row in review.rows(FILES)} == {0}


def test_a_step_leaves_images_that_were_decided_elsewhere(manifest: Manifest) -> None:
    review = ReviewQueries(manifest)
    review.decide([seen(FILES[0])], ACCEPTED, tab="b")
    again = SeenRevision(FILES[2], "other bytes", 0)
    done = review.decide([seen(FILES[0]), seen(FILES[1]), again, seen("pad/9.png")], REJECTED, tab="a")
    assert done.written == (FILES[1],)
    assert [file for file, _ in done.conflicts] == [FILES[0], FILES[2], "pad/9.png"]
    words = " ".join(why for _, why in done.conflicts)
    assert "decided elsewhere" in words
    assert "made again" in words
    assert "no such image" in words
    assert [row.person for row in review.rows(FILES)] == [ACCEPTED, REJECTED, "", "", ""]


def test_undo_skips_images_that_another_page_changed_since(manifest: Manifest) -> None:
    review = ReviewQueries(manifest)
    review.decide([seen(FILES[0]), seen(FILES[1])], ACCEPTED, tab="a")
    now = review.rows([FILES[0]])[0].revision
    review.decide([seen(FILES[0], now)], REJECTED, tab="b")
    assert review.undo("a") == (FILES[1],)
    assert [row.person for row in review.rows(FILES[:2])] == [REJECTED, ""]
