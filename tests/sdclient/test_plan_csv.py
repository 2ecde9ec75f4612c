"""plan.csv is written for spreadsheets and read with every mistake named."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdclient.errors import PlanError
from sdclient.plan import assign_plan, make_plan, read_plan, write_plan
from sdclient.sources import Source

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
