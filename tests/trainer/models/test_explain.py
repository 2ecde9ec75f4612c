"""Heat maps, boxes and explanations."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sdcore.errors import DataError, SettingsError
from trainer.config import TrainingJob, make_config
from trainer.data.transforms import read_rgb
from trainer.errors import CheckpointError
from trainer.models.explain import (
    ANY_DEFECT,
    ExplainOptions,
    Explanation,
    HeatBox,
    explain,
    find_hot_box,
    fuse_maps,
    gradients_and_activations,
    heat_maps,
    scale_box,
    score_against,
    write_explanations,
)
from trainer.models.predict import PredictOptions, predict_folder
from trainer.models.yolov5 import build_classifier
from trainer.training.train import train

SPOT_PX = 9


def draw_spot(path: Path, size: tuple[int, int], spot: tuple[int, int] | None, seed: int) -> None:
    """Grey noise, with a bright spot whose top left corner is at `spot`, of sides in proportion to the image's."""
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
    # The spot with its margin is 5 % of the image: by chance 1 of 24.
    assert hits >= 16


@pytest.mark.parametrize("turned", [False, True])
def test_a_spot_in_a_squashed_or_turned_image_is_mapped_back(spotted: Path, tmp_path: Path, turned: bool) -> None:
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


def test_what_cannot_be_explained_is_reported_before_anything_is_computed(spotted: Path, tmp_path: Path) -> None:
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
    with pytest.raises(DataError, match=r"b\.png: cannot be read as an image"):
        found_in(spotted, tmp_path)
    with pytest.raises(DataError, match=r"b\.png: cannot be read as an image"):
        read_rgb(tmp_path / "b.png")


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


@pytest.fixture(scope="module")
def network() -> Iterator[nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield build_classifier("yolov5n-cls", 4).eval()


def test_the_score_of_all_defects_is_the_logit_of_not_being_normal() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0]], dtype=torch.float64)
    p = logits.softmax(dim=1)[:, 0]
    expected = torch.log((1 - p) / p)
    assert torch.allclose(score_against(logits, [1, 2], [0]), expected)
    assert torch.allclose(score_against(logits, [2], [0]), logits[:, 2] - logits[:, 0])


def test_at_the_last_map_gradient_times_activation_is_the_exact_class_activation_map(network: nn.Module) -> None:
    pixels = torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    head = network.model[9]  # type: ignore[index]
    seen: list[torch.Tensor] = []
    handle = head.conv.register_forward_hook(lambda _module, _given, out: seen.append(out.detach()))
    with torch.no_grad():
        logits = network(pixels)
    handle.remove()
    ((gradient, activation),) = gradients_and_activations(network, [head.conv], pixels, [2], [0])
    weight = head.linear.weight.detach()
    maps = torch.einsum("c,nchw->nhw", weight[2] - weight[0], seen[0])
    assert maps.shape[1:] == (3, 3)
    assert torch.allclose((gradient * activation).sum(dim=1) * 9, maps, atol=1e-5)
    bias = head.linear.bias.detach()
    assert torch.allclose(maps.mean(dim=(1, 2)) + bias[2] - bias[0], logits[:, 2] - logits[:, 0], atol=1e-5)


def test_the_heat_is_layer_cam_of_three_layers_multiplied(network: nn.Module) -> None:
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    seen: dict[int, torch.Tensor] = {}

    def keep(index: int):  # type: ignore[no-untyped-def]
        def hook(_module: nn.Module, _given: object, out: torch.Tensor) -> None:
            out.retain_grad()
            seen[index] = out

        return hook

    handles = [network.model[k].register_forward_hook(keep(k)) for k in (2, 4, 6)]  # type: ignore[index]
    logits = network(pixels)
    for handle in handles:
        handle.remove()
    (torch.log(logits[:, [1, 3]].exp().sum(dim=1)) - logits[:, 0]).sum().backward()
    evidence = [(seen[k].grad.clamp(min=0) * seen[k].detach()).sum(dim=1) for k in (2, 4, 6)]  # type: ignore[union-attr]
    assert [tuple(one.shape[1:]) for one in evidence] == [(16, 16), (8, 8), (4, 4)]
    found = heat_maps(network, pixels, [1, 3], [0])
    assert found.shape == (2, 64, 64)
    assert np.allclose(found, fuse_maps(evidence, (64, 64)), atol=1e-4)


def test_explaining_leaves_no_gradients_or_hooks_behind(network: nn.Module) -> None:
    network.zero_grad(set_to_none=True)
    heat_maps(network, torch.zeros(1, 3, 32, 32), [1], [0])
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())
    assert not network.training


def test_fused_maps_are_1_where_all_agree_and_0_where_one_is_silent() -> None:
    coarse, fine = torch.zeros(2, 2, 2), torch.zeros(2, 16, 16)
    coarse[0, 1, 0] = 5.0
    fine[0, 14, 1] = fine[0, 1, 14] = 0.01
    fine[1] = -1.0
    found = fuse_maps([fine, coarse], (32, 32))
    row, column = np.unravel_index(found[0].argmax(), (32, 32))
    assert 27 <= row <= 30
    assert 1 <= column <= 4
    assert found[0].max() == 1.0
    assert found[0, 2, 29] < 1e-9
    assert not found[1].any()


def test_the_box_holds_the_region_around_the_peak_and_nothing_apart_from_it() -> None:
    heat = np.zeros((8, 10))
    heat[2:5, 3:7] = 0.6
    heat[3, 5] = 1.0
    heat[7, 9] = 0.9  # as hot, but elsewhere
    found = find_hot_box(heat, level=0.5)
    assert found == HeatBox(peak_x=5, peak_y=3, x0=3, y0=2, x1=7, y1=5, share=pytest.approx(7.6 / 8.5))


def test_regions_that_touch_at_a_corner_are_one() -> None:
    found = find_hot_box(np.diag([1.0, 0.8, 0.8, 0.0]), level=0.5)
    assert found is not None
    assert (found.x0, found.y0, found.x1, found.y1) == (0, 0, 3, 3)


def test_the_level_is_reached_by_equality_and_missed_below() -> None:
    heat = np.array([[1.0, 0.5, 0.4999, 0.0]])
    found = find_hot_box(heat, level=0.5)
    assert found is not None
    assert (found.x0, found.x1) == (0, 2)


def test_the_peak_of_a_plateau_is_its_middle_even_of_a_ring() -> None:
    heat = np.zeros((9, 9))
    heat[2:7, 1:6] = 2.0
    found = find_hot_box(heat)
    assert found is not None
    assert (found.peak_x, found.peak_y) == (3, 4)
    heat[4, 3] = 1.0  # the middle itself is no longer hottest: a neighbour of it is
    ring = find_hot_box(heat)
    assert ring is not None
    assert heat[ring.peak_y, ring.peak_x] == 2.0
    assert abs(ring.peak_x - 3) + abs(ring.peak_y - 4) == 1


def test_of_two_equal_peaks_the_first_by_rows_counts() -> None:
    heat = np.zeros((6, 6))
    heat[1, 4] = heat[4, 1] = 3.0
    found = find_hot_box(heat)
    assert found == HeatBox(4, 1, 4, 1, 5, 2, share=0.5)


@pytest.mark.parametrize("value", [0.0, -2.0, 0.7])
def test_a_flat_map_points_nowhere(value: float) -> None:
    assert find_hot_box(np.full((4, 5), value)) is None


def test_a_map_without_heat_above_0_points_nowhere() -> None:
    assert find_hot_box([[-3.0, -1.0], [0.0, -2.0]]) is None


def test_negative_heat_counts_as_none() -> None:
    found = find_hot_box([[2.0, -50.0, 0.0, 2.0 - 1e-9]])
    assert found is not None
    assert (found.x0, found.x1) == (0, 1)
    assert found.share == pytest.approx(0.5)


@pytest.mark.parametrize("factor", [1e-300, 1e300])
def test_the_unit_of_heat_does_not_matter(factor: float) -> None:
    heat = np.random.default_rng(0).random((6, 7))
    one, other = find_hot_box(heat), find_hot_box(heat * factor)
    assert one is not None
    assert other is not None
    assert other.share == pytest.approx(one.share)
    assert (other.peak_x, other.x0, other.y1) == (one.peak_x, one.x0, one.y1)


@pytest.mark.parametrize(
    ("heat", "level", "words"),
    [
        ([[0.0, np.nan]], 0.5, "not finite"),
        ([[0.0, np.inf]], 0.5, "not finite"),
        ([1.0, 2.0], 0.5, r"shape \(2,\)"),
        (np.zeros((0, 3)), 0.5, r"shape \(0, 3\)"),
        ([[0.0, 1.0]], 0.0, "level: 0"),
        ([[0.0, 1.0]], 1.5, "level: 1.5"),
    ],
)
def test_what_is_no_map_is_refused(heat: object, level: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        find_hot_box(heat, level=level)  # type: ignore[arg-type]


def test_a_box_is_scaled_side_by_side_and_rounded_outwards() -> None:
    box = HeatBox(peak_x=1, peak_y=2, x0=1, y0=1, x1=2, y1=3, share=0.4)
    assert scale_box(box, size=(4, 4), to=(8, 4)) == HeatBox(3, 2, 2, 1, 4, 3, 0.4)
    small = scale_box(box, size=(4, 4), to=(3, 1))
    assert (small.x0, small.y0, small.x1, small.y1) == (0, 0, 2, 1)
    whole = scale_box(HeatBox(63, 63, 0, 0, 64, 64, 1.0), size=(64, 64), to=(101, 37))
    assert (whole.x0, whole.y0, whole.x1, whole.y1) == (0, 0, 101, 37)
    assert whole.peak_x < 101
    assert whole.peak_y < 37
