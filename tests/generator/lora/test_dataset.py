"""The pure parts: captions, sizes, draws, noise levels, settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st

from generator.config import LoraSettings
from generator.lora.dataset import Captions, WeightedSampler, micro_batches, read_captions, training_size
from generator.lora.files import TrainingFolder
from generator.lora.session import add_noise, loss_weights, prediction_target
from sdcore.errors import SettingsError
from sdcore.optional_imports import import_diffusers


def test_the_text_beside_an_image_goes_before_its_class_and_that_before_the_template(tmp_path: Path) -> None:
    captions = Captions("photo, {class}", words={"漏铜": "exposed copper"}, whole={"dirt": "dust on {class}"})
    assert captions.of("漏铜", tmp_path / "1.png") == "photo, exposed copper"
    assert captions.of("dirt", tmp_path / "1.png") == "dust on dirt"
    (tmp_path / "1.txt").write_text("\ufeffa scratch\nacross  the pad\n", encoding="utf-8")
    assert captions.of("dirt", tmp_path / "1.png") == "a scratch across the pad"
    (tmp_path / "1.txt").write_text("  \n", encoding="utf-8")
    assert captions.of("dirt", tmp_path / "1.png") == "dust on dirt"
    (tmp_path / "1.txt").write_bytes("缺陷".encode("gbk"))
    with pytest.raises(SettingsError, match=r"1\.txt: the caption cannot be read"):
        captions.of("dirt", tmp_path / "1.png")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[class]\nopen = 3\n", r"\[class\] open: found 3; expected a text"),
        ("[klass]\nopen = 'x'\n", "found 'klass'; expected the sections"),
        ("[caption]\nopen = '{name}'\n", r"\[caption\] open: found \{name\}"),
        ("[class\n", "captions cannot be read"),
    ],
)
def test_a_captions_file_with_a_mistake_is_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=words):
        read_captions(tmp_path / "c.toml")


@given(st.integers(1, 6000), st.integers(1, 6000), st.sampled_from([512, 768, 1024]))
def test_sizes_are_multiples_of_64_near_the_native_area_in_the_aspect(width: int, height: int, native: int) -> None:
    size = training_size(width, height, native)
    assert all(side % 64 == 0 and side >= 64 for side in size)
    assert training_size(height, width, native) == size[::-1]
    if max(width, height) <= 3 * min(width, height):
        assert 0.7 < size[0] * size[1] / native**2 < 1.4
        assert abs(max(size) - min(size) * max(width, height) / min(width, height)) <= 32


def test_a_small_square_is_enlarged_to_the_native_square() -> None:
    assert training_size(96, 96, 512) == (512, 512)
    assert training_size(96, 48, 512) == (768, 384)
    with pytest.raises(ValueError, match="positive"):
        training_size(0, 10, 512)


def test_a_balanced_draw_takes_classes_alike_and_all_images() -> None:
    draw = WeightedSampler(["a"] * 90 + ["b"] * 10, balance=True)
    taken = draw.take(4000, torch.Generator().manual_seed(0))
    share = sum(index >= 90 for index in taken) / len(taken)
    assert 0.45 < share < 0.55
    assert set(taken) == set(range(100))
    plain = WeightedSampler(["a"] * 90 + ["b"] * 10, balance=False).take(4000, torch.Generator().manual_seed(0))
    assert 0.07 < sum(index >= 90 for index in plain) / len(plain) < 0.13


def test_only_images_of_one_size_go_through_together() -> None:
    sizes = [(64, 64), (128, 64), (64, 64), (64, 64)]
    assert list(micro_batches([0, 1, 2, 3, 0], sizes, 2)) == [[0, 2], [3, 4], [1]]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_noise_and_target_are_those_of_diffusers(prediction: Any) -> None:
    scheduler = import_diffusers().DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction
    )
    generator = torch.Generator().manual_seed(0)
    latent, noise = (torch.randn((4, 4, 8, 8), generator=generator) for _ in range(2))
    times = torch.tensor([0, 250, 700, 999])
    kept = scheduler.alphas_cumprod
    torch.testing.assert_close(add_noise(latent, noise, kept, times), scheduler.add_noise(latent, noise, times))
    expected = noise if prediction == "epsilon" else scheduler.get_velocity(latent, noise, times)
    torch.testing.assert_close(prediction_target(latent, noise, kept, times, prediction), expected)


def test_min_snr_weights_are_those_of_the_paper() -> None:
    kept = torch.tensor([0.9, 0.5, 0.1, 0.0], dtype=torch.float64)  # SNR 9, 1, 1/9, 0
    times = torch.arange(4)
    close = {"atol": 1e-6, "rtol": 1e-6}
    told = loss_weights(kept, times, "epsilon", 5.0)
    torch.testing.assert_close(told, torch.tensor([5 / 9, 1.0, 1.0, 1.0]), **close)
    told = loss_weights(kept, times, "v_prediction", 5.0)
    torch.testing.assert_close(told, torch.tensor([5 / 10, 1 / 2, 1 / 10, 0.0]), **close)
    assert loss_weights(kept, times, "epsilon", None).tolist() == [1.0] * 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rank": 0}, "--rank: found 0"),
        ({"steps": None}, "neither --steps nor --minutes"),
        ({"size_px": 500}, "--size: found 500; expected a multiple of 64"),
        ({"min_snr": -1.0}, "--min-snr: found -1.0"),
        ({"seed": -1}, "expected 0 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        LoraSettings(**changes)


def test_the_learning_rate_rises_and_stays() -> None:
    settings = LoraSettings(warmup_steps=4)
    assert [settings.learning_rate_factor(step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert LoraSettings(warmup_steps=0).learning_rate_factor(0) == 1.0


def test_the_run_file_is_one_that_generate_reads(tmp_path: Path) -> None:
    from sdclient.batch import load_run_file
    from sdclient.sources import Source

    folder = TrainingFolder(tmp_path / "defects.safetensors")
    folder.write_run_file(Captions('a "pad", {class}', words={"漏铜": "{copper}"}), ["漏铜", "dirt"])
    spec = load_run_file(folder.path / "run.toml")
    prompt = spec.parameters_for(Source("漏铜", 1, Path("1.png")), 1, 0).prompt
    assert prompt == 'a "pad", (copper) <lora:defects:0.8>'
    assert spec.loras_for([Source("dirt", 1, Path("1.png"))]) == ["defects"]
