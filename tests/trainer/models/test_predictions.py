"""The predictions file and the features archive."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from trainer.errors import PredictionsError
from trainer.models.predictions import make_predictions, read_predictions, write_predictions

HEADER = "image,label,predicted,p_Normal,p_open\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "predictions.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "结果" / "predictions.csv"
    table = np.array([[0.25, 0.75], [1 / 3, 2 / 3], [1.0, 0.0]], dtype=np.float32)
    write_predictions(path, ["焊盘/1.png", "a, b.png", "c.png"], ["焊盘", "", "Normal"], ["Normal", "焊盘"], table)

    read = read_predictions(path)

    assert read.images == ("焊盘/1.png", "a, b.png", "c.png")
    assert read.labels == ("焊盘", "", "Normal")
    assert read.classes == ("Normal", "焊盘")
    assert read.predicted == ("焊盘", "焊盘", "Normal")
    assert np.array_equal(read.probabilities.astype(np.float32), table)
    assert read.groups is None
    assert read.lines == (2, 3, 4)


def test_the_file_opens_in_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, ["1.png"], ["焊盘"], ["Normal", "焊盘"], [[0.5, 0.5]])
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert list(tmp_path.iterdir()) == [path]


def test_the_first_class_of_a_tie_is_predicted() -> None:
    assert make_predictions(["1.png"], [""], ["b", "a"], [[0.5, 0.5]]).predicted == ("b",)


def test_a_tie_may_be_broken_either_way_in_a_foreign_file(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "1.png,open,Normal,0.5,0.5\n2.png,open,open,0.5,0.5\n")
    assert read_predictions(path).predicted == ("Normal", "open")


def test_columns_may_stand_in_any_order_and_others_are_passed_over(tmp_path: Path) -> None:
    text = "p_open,decision,image,predicted,group,p_Normal,label\n0.9,x,1.png,open,board 1,0.1,open\n"
    read = read_predictions(write(tmp_path, text))
    assert read.classes == ("open", "Normal")
    assert read.groups == ("board 1",)
    assert read.probabilities.tolist() == [[0.9, 0.1]]


def test_rounded_probabilities_are_taken(tmp_path: Path) -> None:
    path = write(tmp_path, "image,label,predicted,p_a,p_b,p_c\n1.png,a,a,0.334,0.333,0.333\n")
    assert read_predictions(path).predicted == ("a",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (HEADER, "no rows"),
        ("image,predicted,p_a,p_b\n1.png,a,1,0\n", r"line 1: no column 'label'"),
        ("image,label,predicted,p_a\n1.png,a,a,1\n", r"line 1: 1 probability column"),
        ("image,label,predicted,p_a,p_a\n1.png,a,a,1,0\n", r"line 1: column 'p_a' is there twice"),
        (HEADER + "1.png,open,open,nan,1\n", r"line 2: p_Normal is nan"),
        (HEADER + "1.png,open,open,,1\n", r"line 2: p_Normal is ''"),
        (HEADER + "1.png,open,open,-0.1,1.1\n", r"line 2: p_Normal is -0.1"),
        (HEADER + "1.png,open,open,0,1.01\n", r"line 2: p_open is 1.01"),
        (HEADER + "1.png,open,open,0,inf\n", r"line 2: p_open is inf"),
        (HEADER + "1.png,open,open,0.1,0.8\n", r"line 2: the probabilities add up to 0.9000"),
        (HEADER + "1.png,open,open,0,1\n2.png,open,shut,0,1\n", r"line 3: predicted 'shut' is not a class"),
        (HEADER + "1.png,open,Normal,0.4,0.6\n", r"line 2: predicted 'Normal' has 0.4, but 'open' has 0.6"),
        (HEADER + "1.png,open,open,0,1\n\n1.png,open,open,0,1\n", r"line 4: image '1.png' is on line 2"),
        (HEADER + ",open,open,0,1\n", r"line 2: the column 'image' is empty"),
        (HEADER + "1.png,open,open,0\n", r"line 2: 4 cells; expected 5"),
        (HEADER + '1.png,open,open,0,"1\n', r"line 2: not readable as CSV"),
        ("image,label,predicted,p_a,p_b,group\n1.png,a,a,1,0,x\n2.png,a,a,1,0,\n", r"line 3: the column 'group'"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(PredictionsError, match=words) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match=r"none\.csv: no such file"):
        read_predictions(tmp_path / "none.csv")


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_bytes((HEADER + "焊盘.png,open,open,0,1\n").encode("gb18030"))
    with pytest.raises(PredictionsError, match="not UTF-8"):
        read_predictions(path)


@pytest.mark.parametrize(
    ("images", "labels", "classes", "table", "words"),
    [
        (["1.png"], [""], ["a", "b"], [[0.5, 0.4]], "add up to 0.9"),
        (["1.png"], [""], ["a", "b"], [[np.nan, 1.0]], "a probability is nan"),
        (["1.png"], [""], ["a", "b"], [[0.5, 0.5], [0.5, 0.5]], "do not fit"),
        (["1.png"], ["", ""], ["a", "b"], [[0.5, 0.5]], "do not fit"),
        (["1.png", "1.png"], ["", ""], ["a", "b"], [[0.5, 0.5], [0.5, 0.5]], "'1.png' is listed twice"),
        (["1.png"], [""], ["a", "a"], [[0.5, 0.5]], "class 'a' is named twice"),
    ],
)
def test_arguments_that_do_not_fit_write_nothing(tmp_path, images, labels, classes, table, words) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "predictions.csv"
    with pytest.raises(PredictionsError, match=words):
        write_predictions(path, images, labels, classes, table)
    assert not path.exists()


def test_no_images_are_an_empty_table(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, [], [], ["a", "b"], np.zeros((0, 2)))
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [["image", "label", "predicted", "p_a", "p_b"]]


@given(
    st.lists(st.floats(min_value=1e-6, max_value=1.0), min_size=2, max_size=6),
    st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1),
)
def test_any_distribution_and_any_name_come_back(tmp_path_factory, weights: list[float], name: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("predictions") / "predictions.csv"
    table = np.array([weights]) / np.sum(weights)
    classes = [f"{name}{k}" for k in range(len(weights))]
    write_predictions(path, [name], [classes[0]], classes, table)
    read = read_predictions(path)
    assert read.images == (name,)
    assert read.labels == (classes[0],)
    assert np.allclose(read.probabilities, table, atol=1e-8)
