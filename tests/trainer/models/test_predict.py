"""Predictions of many images."""

from __future__ import annotations

import csv
import io
import os
import shutil
import threading
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from sdcore.errors import DataError, SettingsError
from trainer.cli import cli
from trainer.data.transforms import decode, decode_rows
from trainer.errors import CheckpointError, PredictionsError
from trainer.models.checkpoints import load_classifier
from trainer.models.decision_threshold import DecisionThreshold, write_operating_point
from trainer.models.image_list import list_files, list_named_images, read_paths
from trainer.models.predict import (
    PredictOptions,
    default_batch_size,
    default_threads,
    predict,
    predict_folder,
    write_stream,
)
from trainer.models.predictions import open_predictions, read_predictions

Trained = tuple[Path, Path]


def test_every_image_is_predicted_in_natural_order_with_its_folder_as_label(trained_run: Trained) -> None:
    run, data = trained_run
    found = predict_folder(run, data / "test", progress=False)
    assert found.images == tuple(f"{label}/{k}.png" for label in ("Normal", "划痕") for k in range(3))
    assert found.labels == ("Normal",) * 3 + ("划痕",) * 3
    assert found.classes == ("Normal", "划痕")
    assert np.allclose(found.probabilities.sum(axis=1), 1, atol=1e-12)


def test_probabilities_are_those_of_the_network(trained_run: Trained) -> None:
    run, data = trained_run
    found = predict_folder(run / "best.pt", data / "test", PredictOptions(batch_size=4), progress=False)
    network, checkpoint = load_classifier(run / "best.pt")
    for image, row in zip(found.images, found.probabilities, strict=True):
        pixels = torch.from_numpy(decode(data / "test" / image, checkpoint.imgsz))[None] / 255
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (checkpoint.mean, checkpoint.std))
        with torch.inference_mode():
            expected = network((pixels - mean) / std).softmax(1)[0].numpy()
        assert row == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_the_batch_size_does_not_matter(trained_run: Trained, batch_size: int) -> None:
    run, data = trained_run
    one = predict_folder(run, data / "test", progress=False)
    other = predict_folder(run, data / "test", PredictOptions(batch_size=batch_size), progress=False)
    assert np.allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_images_without_a_folder_have_no_label_and_any_folder_name_is_one(trained_run: Trained, tmp_path: Path) -> None:
    run, data = trained_run
    source = data / "test" / "Normal" / "0.png"
    for name in ("10.png", "9.png", "Abnormal/x.png", "Abnormal/deep/y.png"):
        (tmp_path / "图" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tmp_path / "图" / name)
    found = predict_folder(run, tmp_path / "图", progress=False)
    assert dict(zip(found.images, found.labels, strict=True)) == {
        "9.png": "",
        "10.png": "",
        "Abnormal/x.png": "Abnormal",
        "Abnormal/deep/y.png": "Abnormal",
    }
    assert found.images[:2] == ("9.png", "10.png")


def test_what_cannot_be_predicted_is_reported(trained_run: Trained, tmp_path: Path) -> None:
    run, data = trained_run
    with pytest.raises(CheckpointError, match="no such folder or file"):
        predict_folder(tmp_path / "nowhere", data / "test", progress=False)
    with pytest.raises(DataError, match="no such folder"):
        predict_folder(run, tmp_path / "nowhere", progress=False)
    with pytest.raises(DataError, match="no images in this folder"):
        predict_folder(run, tmp_path, progress=False)
    with pytest.raises(SettingsError, match="batch_size: found 0"):
        predict_folder(run, data / "test", PredictOptions(batch_size=0), progress=False)
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"b\.png: cannot be read as an image"):
        predict_folder(run, tmp_path, progress=False)


def test_threads_are_given_back(trained_run: Trained) -> None:
    run, data = trained_run
    before = torch.get_num_threads()
    predict_folder(run, data / "test", PredictOptions(threads=2 if before == 1 else 1), progress=False)
    assert torch.get_num_threads() == before


def test_the_file_says_what_the_collected_form_says(trained_run: Trained, tmp_path: Path) -> None:
    run, data = trained_run
    collected = predict_folder(run, data / "test", progress=False)
    assert write_stream(predict(run, data / "test", PredictOptions(batch_size=4)), tmp_path / "结果" / "p.csv") == 6
    read = read_predictions(tmp_path / "结果" / "p.csv")
    assert (read.images, read.labels, read.classes) == (collected.images, collected.labels, collected.classes)
    assert read.predicted == collected.predicted
    assert np.allclose(read.probabilities, collected.probabilities, atol=1e-6)
    assert (tmp_path / "结果" / "p.csv").read_bytes().startswith(b"\xef\xbb\xbfimage,label,predicted,p_Normal,")
    assert [path.name for path in (tmp_path / "结果").iterdir()] == ["p.csv"]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_order_is_as_listed_however_many_threads_read(trained_run: Trained, workers: int) -> None:
    run, data = trained_run
    files = [str(data / "test" / label / f"{k}.png") for k in (2, 0, 1) for label in ("划痕", "Normal")]
    found = list(predict(run, list_files(files, labels="parent"), PredictOptions(batch_size=2, workers=workers)))
    assert [row.file for row in found] == files
    assert [row.label for row in found] == ["划痕", "Normal"] * 3
    network, checkpoint = load_classifier(run / "best.pt")
    pixels = torch.from_numpy(np.stack([decode(Path(file), checkpoint.imgsz) for file in files])) / 255
    with torch.inference_mode():
        expected = network((pixels - 0.5) / 0.25).softmax(1).numpy()
    assert np.allclose([row.probabilities for row in found], expected, atol=1e-5)


def test_only_a_few_images_are_read_ahead(
    trained_run: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = trained_run
    read: list[Path] = []
    monkeypatch.setattr(
        "trainer.models.predict.decode_rows", lambda path, px: (read.append(path), decode_rows(path, px))[1]
    )
    for number in range(60):
        shutil.copy(data / "test" / "Normal" / "0.png", tmp_path / f"{number}.png")
    stream = predict(run, tmp_path, PredictOptions(batch_size=2, workers=2))
    next(iter(stream))
    assert len(read) <= 8
    stream.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("predict")]


def test_reading_in_threads_leaves_the_warning_filters(trained_run: Trained) -> None:
    run, data = trained_run
    before = list(warnings.filters)
    list(predict(run, data / "train", PredictOptions(workers=4, batch_size=3)))
    assert warnings.filters == before


def test_threads_change_no_bit_and_leave_torch_as_it_was(trained_run: Trained) -> None:
    run, data = trained_run
    before = torch.get_num_threads()
    alone, together = (
        list(predict(run, data / "train", PredictOptions(workers=workers, batch_size=2, with_features=True)))
        for workers in (0, 3)
    )
    assert torch.get_num_threads() == before
    assert [row.image for row in together] == [row.image for row in alone]
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one.probabilities, other.probabilities)
        assert np.array_equal(one.features, other.features)


def test_by_default_batches_shrink_with_the_size_of_the_images_on_a_cpu_alone() -> None:
    sizes = (32, 64, 128, 224, 640, 1280)
    assert [default_batch_size(size, torch.device("cpu")) for size in sizes] == [64, 64, 49, 16, 1, 1]
    assert {default_batch_size(size, torch.device("cuda")) for size in sizes} == {64}


def test_by_default_threads_and_workers_together_fill_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, threads, lanes in ((1, 1, 1), (2, 1, 2), (6, 2, 3), (2, 4, 1), (64, 1, 8)):
        monkeypatch.setattr("trainer.models.predict.usable_cores", lambda cores=cores: cores)
        assert default_threads(threads) == lanes


def test_features_are_what_the_last_layer_sees(trained_run: Trained, tmp_path: Path) -> None:
    run, data = trained_run
    stream = predict(run, data / "test", PredictOptions(batch_size=4, with_features=True))
    write_stream(stream, tmp_path / "p.csv", features=tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz", allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    network, checkpoint = load_classifier(run / "best.pt")
    pooled: list[torch.Tensor] = []
    network.model[-1].pool.register_forward_hook(lambda _, __, out: pooled.append(out.flatten(1)))
    files = [data / "test" / name for name in found["images"].tolist()]
    pixels = torch.from_numpy(np.stack([decode(file, checkpoint.imgsz) for file in files])) / 255
    with torch.inference_mode():
        logits = network((pixels - 0.5) / 0.25)
    assert found["features"].dtype == np.float32
    assert np.allclose(found["features"], pooled[0].numpy(), atol=1e-4)
    head = network.model[-1].linear
    again = torch.from_numpy(found["features"]) @ head.weight.T + head.bias
    assert torch.allclose(again, logits, atol=1e-3)
    assert found["classes"].tolist() == ["Normal", "划痕"]
    assert tuple(found["images"]) == read_predictions(tmp_path / "p.csv").images
    assert tuple(found["labels"]) == read_predictions(tmp_path / "p.csv").labels
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.npz", "p.csv"]


def test_features_of_a_stream_without_are_refused(trained_run: Trained, tmp_path: Path) -> None:
    run, data = trained_run
    with pytest.raises(SettingsError, match="made without features"):
        write_stream(predict(run, data / "test"), tmp_path / "p.csv", features=tmp_path / "f.npz")
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_image_stops_all_and_leaves_no_file(trained_run: Trained, tmp_path: Path) -> None:
    run, data = trained_run
    shutil.copytree(data / "test", tmp_path / "in")
    (tmp_path / "in" / "划痕" / "9.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"9\.png: cannot be read as an image"):
        write_stream(predict(run, tmp_path / "in"), tmp_path / "p.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_unreadable_images_can_be_passed_over_and_are_named(trained_run: Trained, tmp_path: Path) -> None:
    run, data = trained_run
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"broken")
    good = data / "test" / "Normal" / "0.png"
    names = f"{broken}\n{good}\n{tmp_path / 'nowhere.png'}\n{good}\n"
    arguments = ["predict", str(run), "-", "-o", str(tmp_path / "p.csv"), "--skip-unreadable"]
    done = CliRunner().invoke(cli, arguments, input=names.encode())
    assert done.exit_code == 1
    assert "broken.png: cannot be read as an image" in done.stderr
    assert "nowhere.png: no such file" in done.stderr
    assert "2 of 3 images were passed over" in done.stderr
    assert "1 named more than once" in done.stderr
    assert read_predictions(tmp_path / "p.csv").images == (good.as_posix(),)
    done = CliRunner().invoke(
        cli, ["predict", str(run), str(broken), "-o", str(tmp_path / "q.csv"), "--skip-unreadable"]
    )
    assert done.exit_code == 1
    assert "none of 1 images could be read" in done.stderr
    assert not (tmp_path / "q.csv").exists()


def test_an_operating_point_decides_and_the_table_stays_readable(trained_run: Trained, tmp_path: Path) -> None:
    run, data = trained_run
    own = tmp_path / "run"
    own.mkdir()
    shutil.copy(run / "best.pt", own / "best.pt")
    shutil.copy(run / "best.pt", own / "last.pt")
    scores = sorted(1 - row.probabilities[0] for row in predict(own, data / "test"))
    write_operating_point(own, DecisionThreshold("Normal", float(scores[2] + scores[3]) / 2))
    write_stream(predict(own, data / "test"), tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    cut = (scores[2] + scores[3]) / 2
    assert [row["decision"] for row in rows] == ["NG" if 1 - float(row["p_Normal"]) >= cut else "OK" for row in rows]
    assert sorted(row["decision"] for row in rows) == ["NG"] * 3 + ["OK"] * 3
    assert len(read_predictions(tmp_path / "p.csv").images) == 6
    assert {row.decision for row in predict(own / "last.pt", data / "test")} == {""}
    write_operating_point(own, DecisionThreshold("other", 0.5))
    with pytest.raises(SettingsError, match="calls 'other' normal"):
        predict(own, data / "test")


@pytest.mark.parametrize(("setting", "words"), [("workers", "workers: found -1"), ("threads", "threads: found -1")])
def test_settings_that_cannot_be_are_refused(trained_run: Trained, setting: str, words: str) -> None:
    run, data = trained_run
    with pytest.raises(SettingsError, match=words):
        predict(run, data / "test", PredictOptions(**{setting: -1}))


def write_two(path: Path, *rows: tuple[str, list[float]]) -> None:
    with open_predictions(path, ["x", "y"]) as table:
        for image, row in rows:
            table.write(image, "", row)


def test_a_row_that_is_wrong_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("former", encoding="utf-8")
    wrong = [
        ("a.png", [0.5, 0.4], "add up"),
        ("a.png", [1.0], "1 probabilities; expected 2"),
        ("b", [0.0, 1.0], "twice"),
    ]
    for image, row, words in [*wrong, ("\udcff.png", [0.0, 1.0], "not UTF-8")]:
        with pytest.raises(PredictionsError, match=words):
            write_two(path, ("b", [1.0, 0.0]), (image, row))
    assert path.read_text(encoding="utf-8") == "former"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_of_one_image_is_enough(trained_run: Trained, tmp_path: Path) -> None:
    run, _ = trained_run
    Image.new("L", (50, 20), 7).save(tmp_path / "一.png")
    (row,) = predict(run, tmp_path)
    assert (row.image, row.label, row.decision) == ("一.png", "", "")
    assert row.probabilities.sum() == pytest.approx(1)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty files, since listing reads none, in the working folder."""
    for name in ("线/a/10.png", "线/a/9.png", "线/b/深/1.BMP", "线/notes.txt", "线/._x.png", "线/0.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "空").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(listed: object) -> list[tuple[str, str]]:
    return [(image.name, image.label) for image in listed.images]  # type: ignore[attr-defined]


def test_a_single_folder_gives_relative_names_and_its_folders_as_labels(images: Path) -> None:
    assert rows(list_named_images([images / "线"])) == [
        ("0.png", ""),
        ("a/9.png", "a"),
        ("a/10.png", "a"),
        ("b/深/1.BMP", "b"),
    ]


@pytest.mark.parametrize(
    ("labels", "expected"), [("parent", ["线", "a", "a", "深"]), ("none", [""] * 4), ("auto", ["", "a", "a", "b"])]
)
def test_labels_come_from_the_chosen_place(images: Path, labels: str, expected: list[str]) -> None:
    assert [label for _, label in rows(list_named_images(["线"], labels=labels))] == expected  # type: ignore[arg-type]


def test_a_pattern_goes_to_any_depth_and_takes_images_alone(images: Path) -> None:
    assert rows(list_named_images(["线/**/*"])) == [
        ("线/0.png", ""),
        ("线/a/9.png", ""),
        ("线/a/10.png", ""),
        ("线/b/深/1.BMP", ""),
    ]
    assert [name for name, _ in rows(list_named_images(["线/[0-9].png"]))] == ["线/0.png"]


def test_several_things_are_named_as_written_and_each_image_once(images: Path) -> None:
    listed = list_named_images(["线/a/10.png", "线/a", "./线/a/*.png", str(images / "线/0.png")], labels="parent")
    assert rows(listed) == [("线/a/10.png", "a"), ("线/a/9.png", "a"), ((images / "线/0.png").as_posix(), "线")]
    assert listed.repeats == 3


def test_a_file_that_is_really_called_like_a_pattern_is_that_file(images: Path) -> None:
    (images / "x[1].png").write_bytes(b"")
    (images / "x1.png").write_bytes(b"")
    assert rows(list_named_images(["x[1].png"])) == [("x[1].png", "")]
    assert rows(list_files(["x[1].png", "x*.png"])) == [("x[1].png", ""), ("x*.png", "")]


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ([], "no images named"),
        (["空"], "空: no images in this folder"),
        (["空", "线"], "空: no images in this folder"),
        (["线/**/*.tif"], r"\*\.tif: this pattern finds no image"),
        (["线/1.png"], r"1\.png: no such file or folder; expected"),
        (["线", "x.png", "y.png"], r"x\.png: no such file or folder \(and 1 more of the 3 named"),
    ],
)
def test_what_names_no_image_is_refused(images: Path, named: list[str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        list_named_images(named)


def test_an_empty_list_and_an_unknown_word_are_refused(images: Path) -> None:
    with pytest.raises(DataError, match="standard input: no paths in it"):
        list_files([], source="standard input")
    for listing in (list_named_images, list_files):
        with pytest.raises(SettingsError, match="labels: found 'top'"):
            listing(["线"], labels="top")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        ("a.png\r\n\n图/b.png".encode("utf-8-sig"), ["a.png", "图/b.png"]),
        ("a\nb.png\0图.png\0".encode(), ["a\nb.png", "图.png"]),
        (b" a.png \n", [" a.png "]),
    ],
)
def test_a_list_is_one_path_a_line_or_ended_by_nul(content: bytes, expected: list[str]) -> None:
    assert read_paths(io.BytesIO(content)) == expected


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16"])
def test_a_list_in_another_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(DataError, match="not UTF-8"):
        read_paths(io.BytesIO("好.png\n图片.png\n".encode(encoding)))


def test_an_image_in_a_long_list_takes_little_memory() -> None:
    paths = [f"folder{os.sep}{number}.png" for number in range(5000)]
    tracemalloc.start()
    try:
        listed = list_files(paths)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(listed.images) == 5000
    assert used < 5000 * 1000
