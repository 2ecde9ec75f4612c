from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sdcore.errors import DataError, SettingsError
from trainer.config import TrainingJob, make_config
from trainer.errors import CheckpointError
from trainer.models.explain import ANY_DEFECT, ExplainOptions, Explanation, explain, read_upright, write_explanations
from trainer.models.predict import PredictOptions, predict_folder
from trainer.training.train import train

SPOT_PX = 9


def draw_spot(path: Path, size: tuple[int, int], spot: tuple[int, int] | None, seed: int) -> None:
    """Grey noise, with a bright spot whose top left corner is at `spot`, of sides in proportion to the picture's."""
    rng = np.random.default_rng(seed)
    width, height = size
    pixels = rng.integers(90, 130, (height, width)).astype(np.uint8)
    if spot is not None:
        x, y = spot
        pixels[y : y + SPOT_PX * height // 64, x : x + SPOT_PX * width // 64] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def spotted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that knows a bright spot, anywhere, from plain noise."""
    root = tmp_path_factory.mktemp("spots")
    rng = np.random.default_rng(0)
    for part, count, first in (("train", 64, 0), ("val", 16, 500)):
        for number in range(count):
            spot = (int(rng.integers(64 - SPOT_PX)), int(rng.integers(64 - SPOT_PX)))
            draw_spot(root / "data" / part / "Normal" / f"{number}.png", (64, 64), None, first + number)
            draw_spot(root / "data" / part / "亮点" / f"{number}.png", (64, 64), spot, 1000 + first + number)
    config = make_config(epochs=8, imgsz=64, batch_size=16, seed=0, device="cpu", ema_decay=0.9, lr=2e-3)
    train(TrainingJob(root / "data", root / "run", config), progress=False)
    return root / "run"


def found_in(run: Path, images: Path, **settings: object) -> list[Explanation]:
    return list(explain(run, images, ExplainOptions(device="cpu", **settings), progress=False))  # type: ignore[arg-type]


def test_the_spot_is_found_wherever_it_is(spotted: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    spots = [(int(rng.integers(64 - SPOT_PX)), int(rng.integers(64 - SPOT_PX))) for _ in range(24)]
    for number, spot in enumerate(spots):
        draw_spot(tmp_path / f"{number}.png", (64, 64), spot, 5000 + number)
    hits = 0
    for found, (x, y) in zip(found_in(spotted, tmp_path, even_normal=True), spots, strict=True):
        assert found.explained == ANY_DEFECT
        if found.box is not None:
            hits += x - 3 <= found.box.peak_x < x + SPOT_PX + 3 and y - 3 <= found.box.peak_y < y + SPOT_PX + 3
    # The spot with its margin is 5 % of the picture: by chance 1 of 24.
    assert hits >= 16


@pytest.mark.parametrize("turned", [False, True])
def test_a_spot_in_a_squashed_or_turned_picture_is_mapped_back(spotted: Path, tmp_path: Path, turned: bool) -> None:
    # 192 x 96 upright; the decoder scales its sides apart.
    draw_spot(tmp_path / "a.png", (192, 96), (135, 18), 7)
    if turned:
        with Image.open(tmp_path / "a.png") as upright:
            exif = Image.Exif()
            exif[0x0112] = 6  # shown after a quarter turn clockwise
            upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    (found,) = found_in(spotted, tmp_path, even_normal=True)
    assert found.size == (192, 96)
    assert found.box is not None
    # The spot covers columns 135-161 and rows 18-30; a cell of the coarse maps is 24 x 12 here.
    assert 130 <= found.box.peak_x <= 167
    assert 14 <= found.box.peak_y <= 35
    assert found.box.x0 <= found.box.peak_x < found.box.x1 <= 192
    assert found.box.y0 <= found.box.peak_y < found.box.y1 <= 96
    assert found.box.x0 < 161
    assert found.box.x1 > 135


def test_predictions_are_those_of_trainer_predict(spotted: Path) -> None:
    images = spotted.parent / "data" / "val"
    expected = predict_folder(spotted, images, PredictOptions(device="cpu"), progress=False)
    found = found_in(spotted, images, batch_size=7)
    assert [one.image for one in found] == list(expected.images)
    assert [one.predicted for one in found] == list(expected.predicted)
    assert [one.probability for one in found] == pytest.approx(expected.probabilities.max(axis=1), abs=1e-6)
    for one in found:
        if one.predicted == "Normal":
            assert (one.box, one.heat, one.explained) == (None, None, "")
            assert one.note == "predicted to be without a defect"
        else:
            assert one.explained_probability == pytest.approx(one.probability, abs=1e-9)
            assert one.heat is not None
            assert one.heat.max() == 1.0
    assert {one.predicted for one in found} == {"Normal", "亮点"}


def test_the_batch_size_does_not_move_the_heat(spotted: Path) -> None:
    images = spotted.parent / "data" / "val" / "亮点"
    one, other = (found_in(spotted, images, batch_size=size, limit=5, even_normal=True) for size in (1, 5))
    assert len(one) == 5
    for first, second in zip(one, other, strict=True):
        assert first.heat is not None
        assert second.heat is not None
        assert np.allclose(first.heat, second.heat, atol=1e-3)


def test_a_named_class_is_explained_in_every_image(spotted: Path) -> None:
    images = spotted.parent / "data" / "val"
    for name in ("亮点", "Normal"):
        found = found_in(spotted, images, class_name=name, limit=3)
        assert [one.explained for one in found] == [name] * 3
        assert all(one.heat is not None for one in found)
    against_all = found_in(spotted, images, normal="good", limit=3)
    assert [one.explained for one in against_all] == [one.predicted for one in against_all]


def test_one_image_alone_is_enough(spotted: Path) -> None:
    image = spotted.parent / "data" / "val" / "亮点" / "3.png"
    (found,) = found_in(spotted, image)
    assert (found.path, found.image) == (image, "3.png")


def test_what_cannot_be_explained_is_said_before_anything_is_computed(spotted: Path, tmp_path: Path) -> None:
    images = spotted.parent / "data" / "val"
    with pytest.raises(
        SettingsError, match=r"'scratch' is not among the trained classes; expected one of Normal, 亮点"
    ):
        explain(spotted, images, ExplainOptions(class_name="scratch"))
    with pytest.raises(SettingsError, match="limit: found 0"):
        explain(spotted, images, ExplainOptions(limit=0))
    with pytest.raises(SettingsError, match="batch_size: found 0"):
        explain(spotted, images, ExplainOptions(batch_size=0))
    with pytest.raises(CheckpointError, match="no such folder or file"):
        explain(tmp_path / "nowhere", images)
    with pytest.raises(DataError, match="no such folder"):
        explain(spotted, tmp_path / "nowhere")
    with pytest.raises(DataError, match="no images in this folder"):
        explain(spotted, tmp_path)
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"b\.png: cannot be read as a picture"):
        found_in(spotted, tmp_path)
    with pytest.raises(DataError, match=r"b\.png: cannot be read as a picture"):
        read_upright(tmp_path / "b.png")


def test_the_table_has_a_row_an_image_and_empty_cells_where_there_is_no_box(spotted: Path, tmp_path: Path) -> None:
    found = found_in(spotted, spotted.parent / "data" / "val")
    write_explanations(tmp_path / "t.csv", found)
    with (tmp_path / "t.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [one.image for one in found]
    for row, one in zip(rows, found, strict=True):
        assert row["predicted"] == one.predicted
        assert row["x0"] == (str(one.box.x0) if one.box else "")
        assert row["peak_y"] == (str(one.box.peak_y) if one.box else "")
        assert (row["width"], row["height"]) == ("64", "64")


def test_threads_are_given_back_between_images(spotted: Path) -> None:
    before = torch.get_num_threads()
    wanted = 2 if before == 1 else 1
    walk = explain(spotted, spotted.parent / "data" / "val", ExplainOptions(threads=wanted), progress=False)
    next(walk)
    assert torch.get_num_threads() == before
