from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sdcore.errors import DataError, SettingsError
from trainer.data.transforms import decode
from trainer.errors import CheckpointError
from trainer.models.checkpoints import load_classifier
from trainer.models.predict import PredictOptions, predict_folder

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


def test_what_cannot_be_predicted_is_said(trained_run: Trained, tmp_path: Path) -> None:
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
    with pytest.raises(DataError, match=r"b\.png: cannot be read as a picture"):
        predict_folder(run, tmp_path, progress=False)


def test_threads_are_given_back(trained_run: Trained) -> None:
    run, data = trained_run
    before = torch.get_num_threads()
    predict_folder(run, data / "test", PredictOptions(threads=2 if before == 1 else 1), progress=False)
    assert torch.get_num_threads() == before
