"""Arms: loaded, aligned, grouped and summarised over seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcore.errors import DataError
from trainer.errors import EvaluationError, PredictionsError
from trainer.evaluation.arms import load_arm, name_arms, read_groups
from trainer.models.predictions import Predictions, make_predictions, write_predictions
from trainer.run_files import find_runs

IMAGES = ["Normal/1.png", "焊盘/2.png"]


def make_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "best.pt").write_bytes(b"")
    return folder


def predict(run: Path, images: Path) -> Predictions:
    assert images.name == "test"
    return make_predictions(IMAGES, ["Normal", "焊盘"], ["Normal", "焊盘"], [[1, 0], [0, 1]])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data" / "test").mkdir(parents=True)
    return tmp_path / "data"


def test_a_run_is_an_arm_of_one_seed(tmp_path: Path, data: Path) -> None:
    run = make_run(tmp_path / "run")
    arm = load_arm(run, data, name="基线", predict=predict)
    assert [(one.seed, one.run) for one in arm.seeds] == [("run", run)]
    assert arm.seeds[0].predictions.groups is None


def test_a_folder_of_seeds_is_walked_in_number_order(tmp_path: Path, data: Path) -> None:
    for seed in (10, 2, 0):
        make_run(tmp_path / "arm" / f"seed-{seed}")
    arm = load_arm(tmp_path / "arm", data, name="arm", predict=predict)
    assert [one.seed for one in arm.seeds] == ["seed-0", "seed-2", "seed-10"]


def test_a_predictions_file_needs_no_data(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, IMAGES, ["Normal", "焊盘"], ["Normal", "焊盘"], [[1, 0], [0, 1]])
    arm = load_arm(path, None, name="a", predict=predict)
    assert arm.seeds[0].run is None
    assert arm.seeds[0].predictions.images == tuple(IMAGES)


def test_groups_come_from_the_split_and_an_unknown_image_stands_alone(tmp_path: Path, data: Path) -> None:
    (data / "split.csv").write_text(
        "file,class,split,group,source,sha256\n"
        "train/Normal/1.png,Normal,train,board 9,x,0\n"
        "test/Normal/1.png,Normal,test,board 1,x,0\n",
        encoding="utf-8-sig",
    )
    arm = load_arm(make_run(tmp_path / "run"), data, name="a", predict=predict)
    assert arm.seeds[0].predictions.groups == ("board 1", "image 焊盘/2.png")


def test_a_split_of_other_images_gives_no_groups(tmp_path: Path, data: Path) -> None:
    (data / "split.csv").write_text("file,split,group\ntest/x.png,test,g\n", encoding="utf-8")
    arm = load_arm(make_run(tmp_path / "run"), data, name="a", predict=predict)
    assert arm.seeds[0].predictions.groups is None


def test_a_split_without_groups_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("file,split\na,test\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"split\.csv: columns file, split; expected 'file' and 'group'"):
        read_groups(path)


def test_a_run_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no DATA to judge it on"):
        load_arm(make_run(tmp_path / "run"), None, name="a", predict=predict)


def test_data_without_test_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder; expected DATA to hold"):
        load_arm(make_run(tmp_path / "run"), tmp_path / "data", name="a", predict=predict)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"neither a run \(best\.pt\)"):
        find_runs(tmp_path)


def test_a_seed_that_has_not_finished_is_named(tmp_path: Path) -> None:
    make_run(tmp_path / "seed-0")
    (tmp_path / "seed-1").mkdir()
    with pytest.raises(EvaluationError, match=r"seed-1: no best\.pt here"):
        find_runs(tmp_path)


def test_an_unfinished_training_is_refused_alone_and_among_seeds(tmp_path: Path) -> None:
    make_run(tmp_path / "arm" / "seed-0")
    run = make_run(tmp_path / "arm" / "seed-1")
    (run / "resume.pt").write_bytes(b"")
    for path in (run, run.parent):
        with pytest.raises(EvaluationError, match=r"seed-1: this training was interrupted.*trainer train"):
            find_runs(path)


def test_a_missing_predictions_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match="no such file"):
        load_arm(tmp_path / "none.csv", None, name="a", predict=predict)


def test_names_are_short_and_all_different() -> None:
    assert name_arms([Path("runs/baseline"), Path("runs/v1.5")]) == ["baseline", "v1.5"]
    assert name_arms([Path("a/predictions.csv"), Path("b/other.csv")]) == ["a", "other"]
    assert name_arms([Path("x/run"), Path("y/run")]) == ["x/run", "y/run"]
