"""Class counts -> what each source owes."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from sdclient.errors import PlanError
from sdclient.plan import Plan, assign_plan, make_plan, read_plan, spread, write_plan
from sdclient.sources import Source

PADS = {
    "movable foreign matter": 38,
    "foreign matter": 62,
    "discoloration": 111,
    "damage": 567,
    "oxidation": 357,
    "exposed copper": 80,
    "pad bumps": 78,
    "dirt": 506,
}


def sources_of(counts: dict[str, int]) -> dict[str, list[str]]:
    return {name: [f"{n}.png" for n in range(1, count + 1)] for name, count in counts.items()}


def generated(plan: Plan) -> dict[str, int]:
    return {row.class_name: row.to_generate for row in plan.rows}


def test_the_worked_example_of_the_pads() -> None:
    plan = make_plan(sources_of(PADS), target=300)
    assert [row.to_generate for row in plan.rows] == [262, 238, 189, 0, 0, 220, 222, 0]
    assert [row.total for row in plan.rows] == [300, 300, 300, 567, 357, 300, 300, 506]
    # Worked out by hand to four places from 262/300, 238/300, 189/300, 220/300, 222/300.
    shares = [Decimal(str(row.generated_share)).quantize(Decimal("0.0001")) for row in plan.rows]
    assert shares == [Decimal(x) for x in ("0.8733", "0.7933", "0.6300", "0", "0", "0.7333", "0.7400", "0")]
    whole = plan.all_classes
    assert (whole.original, whole.to_generate, whole.total) == (1799, 1131, 2930)
    assert whole.generated_share == pytest.approx(0.3860, abs=5e-5)
    assert plan.planned_classes.total == whole.total
    assert plan.target == plan.target_asked == 300


def test_a_target_already_met_owes_nothing() -> None:
    plan = make_plan(sources_of({"a": 5, "b": 9}), target=5)
    assert plan.counts == ()
    assert generated(plan) == {"a": 0, "b": 0}


def test_normal_is_left_out_where_there_is_one_but_need_not_be() -> None:
    plan = make_plan(sources_of({"Normal": 3, "dirt": 2}), target=10)
    assert [(row.class_name, row.planned, row.to_generate) for row in plan.rows] == [
        ("Normal", False, 0),
        ("dirt", True, 8),
    ]
    assert plan.all_classes.original == 5
    assert plan.planned_classes.original == 2
    assert generated(make_plan(sources_of({"dirt": 2}), target=10)) == {"dirt": 8}


def test_named_exclusions_replace_the_usual_one_and_must_exist() -> None:
    counts = sources_of({"Normal": 3, "dirt": 2})
    assert generated(make_plan(counts, target=10, exclude=["dirt"])) == {"Normal": 7, "dirt": 0}
    assert generated(make_plan(counts, target=10, exclude=[])) == {"Normal": 7, "dirt": 8}
    with pytest.raises(PlanError, match=r"'Dirt' is not among the sources; expected one of Normal, dirt"):
        make_plan(counts, target=10, exclude=["Normal", "Dirt"])


def test_nothing_left_to_plan_is_an_error() -> None:
    with pytest.raises(PlanError, match="every class is excluded"):
        make_plan(sources_of({"Normal": 3}), target=10)
    with pytest.raises(PlanError):
        make_plan({}, target=10)


def test_every_source_owes_the_same_number() -> None:
    plan = make_plan(sources_of({"Normal": 2, "dirt": 3}), per_source=4)
    assert [(c.class_name, c.source, c.count) for c in plan.counts] == [
        ("dirt", "1.png", 4),
        ("dirt", "2.png", 4),
        ("dirt", "3.png", 4),
    ]
    assert plan.target is None
    assert plan.short_rows == ()


def test_a_cap_leaves_classes_short_and_says_by_how_much() -> None:
    plan = make_plan(sources_of({"a": 10, "b": 50}), target=60, max_per_source=2)
    assert generated(plan) == {"a": 20, "b": 10}
    assert [(row.class_name, row.short_of_target) for row in plan.short_rows] == [("a", 30)]


def test_a_float_share_means_the_decimal_it_prints_as() -> None:
    # 1 of 5 is exactly a fifth; the binary 0.2 lies a little above it and would ask for one more.
    assert generated(make_plan(sources_of({"a": 4}), min_share=0.2)) == {"a": 1}
    assert make_plan(sources_of({"a": 4}), min_share=Fraction(1, 5)).target == 5


def test_a_share_of_the_worked_example_raises_the_target() -> None:
    plan = make_plan(sources_of(PADS), target=300, min_share=0.5)
    assert plan.target == 421
    assert plan.target_asked == 300
    assert plan.planned_classes.to_generate >= 1799
    assert make_plan(sources_of(PADS), target=300, min_share=0.2).target == 300


def test_the_share_is_that_of_the_planned_classes_alone() -> None:
    plan = make_plan(sources_of({"Normal": 1000, "dirt": 4}), target=1, min_share=0.5)
    assert generated(plan) == {"Normal": 0, "dirt": 4}


def test_a_share_out_of_reach_of_the_cap_is_refused_with_the_best_possible() -> None:
    with pytest.raises(PlanError, match=r"90\.00% is out of reach with at most 3 .*at best 75\.00%"):
        make_plan(sources_of({"a": 4, "b": 9}), min_share=0.9, max_per_source=3)
    reached = make_plan(sources_of({"a": 4, "b": 9}), min_share=0.75, max_per_source=3)
    assert generated(reached) == {"a": 12, "b": 27}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "no aim given"),
        ({"max_per_source": 3}, "no aim given"),
        ({"per_source": 3, "target": 9}, "per_source sets the number alone"),
        ({"per_source": 3, "min_share": 0.2}, "per_source sets the number alone"),
        ({"per_source": 3, "max_per_source": 4}, "per_source sets the number alone"),
        ({"target": 0}, "target is 0; expected 1 or more"),
        ({"per_source": -1}, "per_source is -1"),
        ({"target": 5, "max_per_source": 0}, "max_per_source is 0"),
        ({"min_share": 1.0}, r"min_share is 1\.0; expected at least 0 and below 1"),
        ({"min_share": -0.1}, "min_share"),
        ({"min_share": float("nan")}, "min_share is nan"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        make_plan(sources_of({"a": 3}), **options)  # type: ignore[arg-type]


@settings(deadline=None)
@given(images=st.integers(0, 500), sources=st.integers(1, 60))
def test_spreading_is_even_whole_and_only_grows(images: int, sources: int) -> None:
    parts = spread(images, sources)
    assert sum(parts) == images
    assert len(parts) == sources
    assert max(parts) - min(parts) <= 1
    assert all(more >= less for more, less in zip(spread(images + 1, sources), parts, strict=True))


def test_spreading_over_nothing_gives_nothing() -> None:
    assert spread(0, 0) == []


class_counts = st.dictionaries(st.sampled_from(["Normal", "a", "b", "c", "脏污"]), st.integers(1, 12), min_size=1)


@settings(deadline=None)
@given(counts=class_counts, target=st.integers(1, 20), cap=st.none() | st.integers(1, 4))
def test_a_target_is_filled_exactly_or_to_the_cap(counts: dict[str, int], target: int, cap: int | None) -> None:
    counts["a"] = counts.get("a", 3)
    plan = make_plan(sources_of(counts), target=target, max_per_source=cap)
    for row in plan.rows:
        owed = [c.count for c in plan.counts if c.class_name == row.class_name]
        assert sum(owed) == row.to_generate
        if row.class_name == "Normal":
            assert not row.planned
            assert owed == []
            continue
        owed += [0] * (row.original - len(owed))
        assert max(owed) - min(owed) <= 1
        assert row.total + row.short_of_target == max(target, row.original)
        assert row.short_of_target == 0 or set(owed) == {cap}


@settings(deadline=None)
@given(
    counts=class_counts,
    target=st.none() | st.integers(1, 15),
    cap=st.none() | st.integers(1, 5),
    share=st.fractions(0, Fraction(9, 10), max_denominator=20),
)
def test_the_raised_target_is_the_smallest_that_reaches_the_share(
    counts: dict[str, int], target: int | None, cap: int | None, share: Fraction
) -> None:
    counts["b"] = counts.get("b", 2)
    originals = [count for name, count in counts.items() if name != "Normal"]

    def reached(aim: int) -> bool:
        made = 0
        for count in originals:
            per_class = max(0, aim - count)
            made += per_class if cap is None else min(per_class, cap * count)
        return Fraction(made, made + sum(originals)) >= share

    brute = next((aim for aim in range(target or 0, 700) if reached(aim)), None)
    if brute is None:
        with pytest.raises(PlanError, match="out of reach"):
            make_plan(sources_of(counts), target=target, max_per_source=cap, min_share=share)
    else:
        assert make_plan(sources_of(counts), target=target, max_per_source=cap, min_share=share).target == brute


HEAD = "class,source,count\n"


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    plan = make_plan({"脏污, 旧": ["1.png", "2.jpg"], "b": ["1.png"]}, target=4)
    write_plan(tmp_path / "plan.csv", plan)
    assert (tmp_path / "plan.csv").read_bytes() == (
        "\ufeffclass,source,count\r\n" + '"脏污, 旧",1.png,1\r\n"脏污, 旧",2.jpg,1\r\nb,1.png,3\r\n'
    ).encode()
    assert read_plan(tmp_path / "plan.csv") == {("脏污, 旧", "1.png"): 1, ("脏污, 旧", "2.jpg"): 1, ("b", "1.png"): 3}


def test_a_plan_that_owes_nothing_is_read_as_an_empty_one(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan.csv", make_plan({"a": ["1.png"]}, target=1))
    assert read_plan(tmp_path / "plan.csv") == {}


@pytest.mark.parametrize(
    "text",
    [
        "class,source,count\na,1.png,2\nb,3.png,0\n",
        "class;source;count\r\na;1.png;2\r\nb;3.png;0\r\n;;\r\n",
        "class\tsource\tcount\na\t1.png\t2\nb\t3.png\t0",
        "\ufeffclass,source,count\n\na,1.png, 2\nb,3.png,0\n\n",
    ],
)
def test_what_a_spreadsheet_saves_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.csv").write_text(text, encoding="utf-8")
    assert read_plan(tmp_path / "plan.csv") == {("a", "1.png"): 2, ("b", "3.png"): 0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: columns are missing; expected class, source, count"),
        ("class,file,count\na,1.png,2\n", "line 1: columns are class, file, count"),
        (HEAD + "a,1.png,2\na,2.png,-1\n", "line 3: count is '-1'"),
        (HEAD + "a,1.png,2.0\n", "line 2: count is '2.0'"),
        (HEAD + "a,1.png,\n", "line 2: count is ''"),
        (HEAD + "a,1.png,²\n", "line 2: count is"),
        (HEAD + "a,1.png\n", "line 2: found"),
        (HEAD + "a,1.png,2,3\n", "line 2: found"),
        (HEAD + ",1.png,2\n", "line 2: found"),
        (HEAD + "a,1.png,2\n\na,1.png,2\n", "line 4: a/1.png stands here twice"),
        (HEAD + 'a,"1.png,2\n', "not a CSV file"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "plan.csv").write_text(text, encoding="utf-8")
    with pytest.raises(PlanError) as caught:
        read_plan(tmp_path / "plan.csv")
    assert f"plan.csv: {words}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_in_another_encoding_tells_how_to_save_it(tmp_path: Path) -> None:
    (tmp_path / "plan.csv").write_bytes((HEAD + "脏污,1.png,2\n").encode("gbk"))
    with pytest.raises(PlanError, match="CSV UTF-8"):
        read_plan(tmp_path / "plan.csv")


def test_a_missing_plan_tells_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"cannot be read: .*sdclient plan"):
        read_plan(tmp_path / "plan.csv")


def test_sources_that_owe_images_come_in_the_order_of_the_sources() -> None:
    sources = [Source("a", n, Path(f"a/{n}.png")) for n in (2, 9, 10)]
    owed = {("a", "10.png"): 1, ("a", "2.png"): 3, ("a", "9.png"): 0}
    assert assign_plan(owed, sources) == [(sources[0], 3), (sources[2], 1)]


def test_a_plan_of_other_sources_is_refused() -> None:
    with pytest.raises(PlanError, match=r"names a/3\.png, which is not among the sources"):
        assign_plan({("a", "3.png"): 1}, [Source("a", 2, Path("a/2.png"))])


def test_a_source_may_be_named_by_its_number_but_not_twice() -> None:
    sources = [Source("a", n, Path(f"a/{n}.jpg")) for n in (2, 10)]
    assert assign_plan({("a", "10"): 1, ("a", "2.jpg"): 3}, sources) == [(sources[0], 3), (sources[1], 1)]
    with pytest.raises(PlanError, match=r"names a/2\.jpg twice"):
        assign_plan({("a", "2"): 1, ("a", "2.jpg"): 1}, sources)
