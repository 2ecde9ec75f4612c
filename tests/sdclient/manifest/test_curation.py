from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sdclient.errors import ReviewConflict
from sdclient.manifest import Curation, ImageRecord, Manifest, Parent
from sdclient.manifest.curation import ACCEPTED, REJECTED, UNDECIDED, FilterVerdict

RECORD = ImageRecord(
    file="pad/1_1.png", class_name="pad", source="pad/1.png", source_sha256="s1", k=1, seed=7, key="k1", sha256="h1",
    width=8, height=8, server="http://127.0.0.1:1", model="m", engine="e", asked={}, used={}, infotext="",
    created_at="2026-11-24T00:00:00+00:00", mask="masks/pad/1_1.png", other_parents=(Parent("Normal/3.png", "s2"),),
)  # fmt: skip


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    manifest = Manifest(tmp_path, create=True)
    manifest.add([RECORD, replace(RECORD, file="pad/1_2.png", sha256="h2", key="k2")])
    return manifest


def test_mask_and_both_parents_are_kept(manifest: Manifest) -> None:
    first = next(manifest.images())
    assert first == RECORD
    assert first.parents_sha256 == ("s1", "s2")
    manifest.close()


def test_a_persons_decision_takes_precedence_over_the_filters(manifest: Manifest) -> None:
    curation = Curation(manifest)
    assert not curation.is_curated()
    curation.set_filter_verdicts(
        [FilterVerdict("pad/1_1.png", "h1", ("blurred",)), FilterVerdict("pad/1_2.png", "h2", ())]
    )
    assert curation.accepted_files() == {"pad/1_2.png"}
    revision = curation.review("pad/1_1.png", ACCEPTED, tab="a", seen_revision=0)
    assert curation.accepted_files() == {"pad/1_1.png", "pad/1_2.png"}
    first = next(curation.verdicts())
    assert (first.reasons, first.is_by_person, first.revision) == (("blurred",), True, revision)
    curation.review("pad/1_1.png", UNDECIDED, tab="a", seen_revision=revision)
    assert curation.accepted_files() == {"pad/1_2.png"}
    manifest.close()


def test_two_pages_do_not_overwrite_each_other(manifest: Manifest) -> None:
    curation = Curation(manifest)
    curation.review("pad/1_1.png", ACCEPTED, tab="a", seen_revision=0)
    with pytest.raises(ReviewConflict, match="decided elsewhere meanwhile"):
        curation.review("pad/1_1.png", REJECTED, tab="b", seen_revision=0)
    with pytest.raises(ReviewConflict, match="no such image"):
        curation.review("pad/9_9.png", REJECTED, tab="b", seen_revision=0)
    assert curation.accepted_files() == {"pad/1_1.png"}
    manifest.close()


def test_undo_takes_back_the_pages_own_last_decision(manifest: Manifest) -> None:
    curation = Curation(manifest)
    first = curation.review("pad/1_1.png", ACCEPTED, tab="a", seen_revision=0)
    curation.review("pad/1_1.png", REJECTED, tab="a", seen_revision=first)
    curation.review("pad/1_2.png", REJECTED, tab="b", seen_revision=0)
    assert curation.undo("a") == "pad/1_1.png"
    assert next(curation.verdicts()).verdict == ACCEPTED
    assert next(curation.verdicts()).revision == first
    assert curation.undo("a") == "pad/1_1.png"
    assert next(curation.verdicts()).verdict == UNDECIDED
    assert curation.undo("a") is None
    assert [one.verdict for one in curation.verdicts()] == [UNDECIDED, REJECTED]
    manifest.close()


def test_verdicts_on_other_bytes_do_not_count(manifest: Manifest) -> None:
    curation = Curation(manifest)
    curation.set_scores([("pad/1_1.png", "h1", {"sharpness": 0.5, "faces": None}), ("pad/1_2.png", "h2", {})])
    curation.set_filter_verdicts([FilterVerdict("pad/1_1.png", "h1", ())])
    curation.review("pad/1_1.png", ACCEPTED, tab="a", seen_revision=0)
    assert curation.scores()["pad/1_1.png"] == {"sharpness": 0.5, "faces": None}
    manifest.forget(["pad/1_1.png"])
    manifest.add([replace(RECORD, sha256="other")])
    assert set(curation.scores()) == {"pad/1_2.png"}
    assert curation.accepted_files() == set()
    manifest.close()
