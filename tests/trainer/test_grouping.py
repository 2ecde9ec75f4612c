from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.source_images import Numbered, Photo, PhotoTables, group_by_rule, join_equal
from trainer.errors import SplitError


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([None, "1", "2", "3", "4"])), max_size=12))
def test_joined_groups_are_the_connected_ones(rows: list[tuple[str, str | None]]) -> None:
    groups, keys = [group for group, _ in rows], [key for _, key in rows]
    joined = join_equal(groups, keys, names=[str(k) for k in range(len(rows))])
    # Independently: spread each image's reach along shared groups and keys until nothing changes.
    reach = [{k} for k in range(len(rows))]
    for _ in rows:
        for one in range(len(rows)):
            for other in range(len(rows)):
                if groups[one] == groups[other] or (keys[one] is not None and keys[one] == keys[other]):
                    reach[one] |= reach[other]
    for one in range(len(rows)):
        for other in range(len(rows)):
            assert (joined[one] == joined[other]) is (other in reach[one])
        assert joined[one] == min(groups[other] for other in reach[one])


def test_without_a_word_each_image_stands_by_itself() -> None:
    grouping = group_by_rule(["划痕/1.png", "Normal/1.png"])
    assert grouping.groups == ("划痕/1.png", "Normal/1.png")
    assert (grouping.basis, grouping.notes) == ("each image by itself", ())
    assert group_by_rule([]).groups == ()


def test_crops_of_one_photograph_are_one_group_across_classes_and_names() -> None:
    tables = PhotoTables(
        crops_path=Path("crops.csv"),
        photos={
            "划痕/a_1.png": Photo("板1.jpg", "aa"),
            "Normal/a_2.png": Photo("板1.jpg", "aa"),
            "Normal/b_1.png": Photo("copy of 板1.jpg", "aa"),
            "Normal/c_1.png": Photo("板2.jpg", "bb"),
        },
    )
    grouping = group_by_rule([*tables.photos, "Normal/other.png"], photos=tables)
    assert grouping.groups == ("copy of 板1.jpg",) * 3 + ("板2.jpg", "Normal/other.png")
    assert grouping.basis == "photograph, by crops.csv: 4 crops of 2"
    assert grouping.notes == ("1 of 5 images are not in crops.csv: each stands by itself",)


def test_a_pattern_or_a_table_wins_over_photographs_and_that_is_said(tmp_path: Path) -> None:
    tables = PhotoTables(Path("crops.csv"), photos={"d/a_1.png": Photo("p", "aa"), "d/a_2.png": Photo("p", "aa")})
    by_pattern = group_by_rule(["d/a_1.png", "d/a_2.png"], pattern="_([0-9])", photos=tables)
    assert by_pattern.groups == ("1", "2")
    assert by_pattern.notes == ("crops.csv is not used: the groups are named by a pattern",)
    (tmp_path / "g.csv").write_text("file,group\nd\\a_1.png,x\nd/a_2.png,y\n", encoding="utf-8")
    by_table = group_by_rule(["d/a_1.png", "d/a_2.png"], table=tmp_path / "g.csv", photos=tables)
    assert by_table.groups == ("x", "y")
    assert by_table.notes == ("crops.csv is not used: the groups are named by a table",)
    with pytest.raises(SplitError, match="expected one of them"):
        group_by_rule([], pattern="(.)", table=tmp_path / "g.csv")


def test_a_pattern_is_searched_in_the_names_before_numbering() -> None:
    tables = PhotoTables(None, Path("mapping.csv"), numbered={"d/1.png": Numbered("d/板7_x.png", "aa")})
    grouping = group_by_rule(["d/1.png", "d/板8_y.png"], pattern="^(板[0-9])_", photos=tables)
    assert grouping.groups == ("板7", "板8")
    assert grouping.notes == ("the pattern was searched in the names that 1 image(s) had before numbering",)
    with pytest.raises(SplitError, match=r"d/1\.png \(numbered from d/板7_x\.png\): the group pattern"):
        group_by_rule(["d/1.png"], pattern="(board)", photos=tables)
