"""Thresholds chosen from validation predictions and saved with their run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from sdcore.errors import DataError
from trainer.errors import EvaluationError, PredictionsError, TooFewDefects
from trainer.evaluation.threshold_choice import choose_for_run, choose_from_file, save_choice
from trainer.messages import text
from trainer.models.decision_threshold import read_operating_point
from trainer.models.predictions import Predictions, make_predictions, read_predictions, write_predictions

CLASSES = ("Normal", "划痕")


def guess(_: Path, images: Path) -> Predictions:
    """Predictions that depend on the folder's name."""
    rng = np.random.default_rng(sum(map(ord, images.name)))
    score = rng.random(60)
    return make_predictions(
        [f"{n}.png" for n in range(60)],
        ["Normal" if n < 30 else "划痕" for n in range(60)],
        CLASSES,
        np.stack([1 - score, score], axis=1),
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    (run / "best.pt").write_bytes(b"")
    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for part in ("val", "test"):
        (tmp_path / "data" / part).mkdir(parents=True)
    return tmp_path / "data"


def test_a_run_is_asked_about_validation_images_alone(run: Path, data: Path) -> None:
    asked = []

    def predict(path: Path, images: Path) -> Predictions:
        asked.append(images)
        return guess(path, images)

    choice = choose_for_run(run, data, max_miss_rate=0.1, predict=predict)
    assert asked == [data / "val"]
    scores = sorted(1 - choice.validation.probabilities[30:, 0])
    assert (choice.point.k, choice.point.n_defects, choice.point.cut) == (3, 30, scores[2])
    assert ["best epoch" in text(note) for note in choice.notes] == [True]


def test_the_groups_of_validation_images_are_read_from_the_split(run: Path, data: Path) -> None:
    (data / "split.csv").write_text("file,split,group\nval/0.png,val,a\nval/1.png,val,a\ntest/0.png,test,b\n")
    choice = choose_for_run(run, data, max_miss_rate=0.1, predict=guess)
    assert choice.validation.groups is not None
    assert choice.validation.groups[:3] == ("a", "a", "image 2.png")


def test_a_saved_choice_is_found_with_its_run_and_can_be_checked(run: Path, data: Path) -> None:
    choice = choose_for_run(run, data, max_miss_rate=0.1, predict=guess)
    assert save_choice(run, choice) == run / "operating_point.json"
    assert read_operating_point(run) == choice.point
    file = run / "val_predictions.csv"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == choice.point.predictions_sha256
    again = choose_from_file(file, guess(run, data / "test"), max_miss_rate=0.1)
    assert again.point.cut == pytest.approx(choice.point.cut, rel=1e-8)
    assert again.point.predictions_sha256 == choice.point.predictions_sha256


@pytest.mark.parametrize(("counts", "noted"), [({"Normal": 30, "划痕": 30}, False), ({"Normal": 30, "划痕": 12}, True)])
def test_validation_images_that_the_training_did_not_have_are_noted(
    run: Path, data: Path, counts: dict[str, int], noted: bool
) -> None:
    (run / "data.json").write_text(json.dumps({"val": counts}), encoding="utf-8")
    notes = choose_for_run(run, data, max_miss_rate=0.1, predict=guess).notes
    assert any("(划痕: 12 images then, 30 now)" in text(note) for note in notes) == noted


def test_a_run_without_data_or_validation_images_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="add the folder that holds val/"):
        choose_for_run(run, None, max_miss_rate=0.1, predict=guess)
    with pytest.raises(DataError, match="val: no such folder"):
        choose_for_run(run, tmp_path, max_miss_rate=0.1, predict=guess)
    (tmp_path / "val").mkdir()
    with pytest.raises(TooFewDefects, match="from 30 defects"):
        choose_for_run(run, tmp_path, max_miss_rate=0.01, predict=guess)


def write(path: Path, predictions: Predictions, classes: tuple[str, ...] = CLASSES) -> Predictions:
    write_predictions(path, predictions.images, predictions.labels, classes, predictions.probabilities.tolist())
    return read_predictions(path)


def test_a_cut_is_not_chosen_on_the_test_images(tmp_path: Path) -> None:
    test = write(tmp_path / "test.csv", guess(tmp_path, Path("test")))
    with pytest.raises(EvaluationError, match="holds the very predictions that are to be judged"):
        choose_from_file(tmp_path / "test.csv", test, max_miss_rate=0.1)
    lines = (tmp_path / "test.csv").read_text(encoding="utf-8-sig").splitlines()
    (tmp_path / "turned.csv").write_text("\n".join([lines[0], *lines[:0:-1]]), encoding="utf-8")
    with pytest.raises(EvaluationError, match="the very predictions"):
        choose_from_file(tmp_path / "turned.csv", test, max_miss_rate=0.1)


def test_a_validation_file_must_be_there_and_of_the_same_classes(tmp_path: Path) -> None:
    test = guess(tmp_path, Path("test"))
    with pytest.raises(PredictionsError, match=r"val\.csv: no such file; expected a predictions file of validation"):
        choose_from_file(tmp_path / "val.csv", test, max_miss_rate=0.1)
    (tmp_path / "val.csv").write_text("image,label,predicted,p_Normal,p_dirt\n1,dirt,dirt,0,1\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match="has the classes Normal, dirt, the test predictions Normal, 划痕"):
        choose_from_file(tmp_path / "val.csv", test, max_miss_rate=0.1)


def test_a_training_that_starts_anew_forgets_the_cut_of_the_one_before(run: Path, data: Path) -> None:
    from trainer.training.run_folder import clear_run

    save_choice(run, choose_for_run(run, data, max_miss_rate=0.1, predict=guess))
    clear_run(run)
    assert read_operating_point(run) is None
    assert list(run.iterdir()) == []
