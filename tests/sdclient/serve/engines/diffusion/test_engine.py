from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sdclient.serve.diffusion_engine import DiffusionEngine, load_engine
from sdclient.serve.engine import Engine, ImageSeed, ImageTask
from sdclient.sources.source import guess_native_px
from sdcore.errors import SettingsError
from tests.support.engines import CPU, SIZE_PX, KnownNetwork, Watched, drawn, known_model, picture, recipe

SAMPLERS = ["DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "Euler a", "Euler"]


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def distance(one: Image.Image, two: Image.Image) -> float:
    return float(np.abs(array(one) - array(two)).mean())


def test_it_is_a_painter_and_says_what_it_is(engine: DiffusionEngine) -> None:
    assert isinstance(engine, Engine)
    assert engine.name == "diffusion model 'boards' of own pictures, not Stable Diffusion"
    assert engine.notice.startswith("This is NOT Stable Diffusion: a diffusion model trained on 12 of your own colour")
    assert "Normal, open, 裂纹" in engine.notice
    assert engine.model.title.startswith("boards-32px-not-stable-diffusion [")
    assert guess_native_px(engine.model.title) == SIZE_PX


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_batch_gives_what_each_would_give_alone(engine: DiffusionEngine, sampler: str) -> None:
    asked = recipe(sampler=sampler, schedule="Karras", cfg_scale=3.0)
    pictures = [picture(seed, drawn("open", seed)) for seed in (1, 2, 3)]
    together = list(engine.paint(pictures, asked, Watched()))
    for one, image in zip(pictures, together, strict=True):
        (alone,) = engine.paint([one], asked, Watched())
        assert np.abs(array(alone) - array(image)).max() <= 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_gives_its_picture_again_and_another_seed_another(engine: DiffusionEngine, sampler: str) -> None:
    asked = recipe(sampler=sampler)
    first, again, other = (
        next(iter(engine.paint([picture(seed, drawn("open", 1))], asked, Watched()))) for seed in (5, 5, 6)
    )
    assert np.array_equal(array(first), array(again))
    assert distance(first, other) > 2


def test_the_distance_grows_with_the_strength() -> None:
    engine = DiffusionEngine(known_model(), device=CPU, threads=1)
    start = Image.fromarray(np.random.default_rng(0).normal(128, 16, (16, 16, 3)).clip(0, 255).astype(np.uint8))
    grey = start.convert("L").convert("RGB")
    distances = []
    for steps in (1, 4, 8, 14, 20):
        asked = recipe(size=(16, 16), steps=steps, schedule_steps=20, schedule="Karras", prompt="low")
        (image,) = engine.paint([picture(start=grey)], asked, Watched())
        distances.append(distance(image, grey))
    assert distances == sorted(distances)
    assert distances[0] < 2


def test_the_class_of_the_prompt_is_made_and_that_of_the_negative_prompt_avoided() -> None:
    engine = DiffusionEngine(known_model(), device=CPU, threads=1)
    full = {"size": (16, 16), "strength": 1.0, "steps": 12, "schedule_steps": 12}
    means = {}
    for prompt, negative, guidance in (
        ("a board, low", "", 1.0),
        ("high", "", 1.0),
        ("something else", "", 1.0),
        ("something else", "high", 1.5),
        ("high", "", 2.0),
    ):
        asked = recipe(**full, prompt=prompt, negative_prompt=negative, cfg_scale=guidance)
        (image,) = engine.paint([picture()], asked, Watched())
        means[prompt, negative, guidance] = (array(image).mean() / 255 - 0.5) / 0.125
    assert means["a board, low", "", 1.0] == pytest.approx(-1, abs=0.15)
    assert means["high", "", 1.0] == pytest.approx(1, abs=0.15)
    assert means["something else", "", 1.0] == pytest.approx(0, abs=0.15)
    assert means["something else", "high", 1.5] == pytest.approx(-0.5, abs=0.2)
    assert means["high", "", 2.0] == pytest.approx(2, abs=0.2)


def test_it_tells_how_the_prompts_were_understood(engine: DiffusionEngine) -> None:
    told = engine.told(recipe(prompt="photo, 裂纹", negative_prompt="normal"))
    assert (told["Class"], told["Negative class"]) == ("裂纹", "Normal")
    assert len(told["Trained on"]) == 10
    assert engine.told(recipe(prompt="a cat"))["Class"] == "none"


def test_where_the_mask_is_black_the_picture_stays_and_where_it_is_white_it_changes() -> None:
    engine = DiffusionEngine(known_model(), device=CPU, threads=1)
    start = Image.new("RGB", (32, 32), (128,) * 3)
    where = Image.new("L", (32, 32), 0)
    where.paste(255, (16, 0, 32, 32))
    asked = recipe(size=(32, 32), strength=0.9, steps=19, schedule_steps=20, prompt="high")
    (image,) = engine.paint([picture(start=start, where=where)], asked, Watched())
    change = np.abs(array(image) - 128).max(axis=2)
    assert change[:, :16].max() <= 1
    assert change[:, 16:].mean() > 15


def test_batches_may_mix_pictures_with_and_without_a_mask(engine: DiffusionEngine) -> None:
    start, black = drawn("open", 1), Image.new("L", (SIZE_PX, SIZE_PX), 0)
    kept, free = engine.paint([picture(1, start, black), picture(1, start)], recipe(), Watched())
    assert np.abs(array(kept) - array(start)).max() <= 1
    assert distance(free, start) > 2


@pytest.mark.parametrize("size", [(16, 16), (8, 40), (32, 32), (48, 32), (72, 104), (40, 24)])
@pytest.mark.parametrize("from_nothing", [True, False])
def test_every_size_comes_back_as_asked(engine: DiffusionEngine, size: tuple[int, int], from_nothing: bool) -> None:
    start = None if from_nothing else drawn("open", 1).resize(size)
    (image,) = engine.paint([picture(start=start)], recipe(size=size, steps=2, schedule_steps=2), Watched())
    assert (image.size, image.mode) == (size, "RGB")


def test_a_large_picture_has_no_seams() -> None:
    """All tiles agree on data without structure, so that its statistics must be the same everywhere."""
    engine = DiffusionEngine(known_model(), device=CPU, threads=1)
    asked = recipe(size=(96, 96), strength=1.0, steps=20, schedule_steps=20, prompt="high")
    (image,) = engine.paint([picture()], asked, Watched())
    values = (array(image)[..., 0] / 255 - 0.5) / 0.125
    blocks = values.reshape(6, 16, 6, 16).transpose(0, 2, 1, 3).reshape(36, -1)
    assert blocks.mean(axis=1) == pytest.approx(np.ones(36), abs=0.15)
    assert blocks.std(axis=1) == pytest.approx(np.full(36, 0.5), abs=0.1)


def test_a_grey_model_answers_in_rgb_without_colour(grey_engine: DiffusionEngine) -> None:
    assert "of your own grey pictures" in grey_engine.notice
    (image,) = grey_engine.paint([picture(start=drawn("open", 1))], recipe(), Watched())
    assert image.mode == "RGB"
    assert np.ptp(array(image), axis=2).max() == 0


def test_told_to_stop_it_ends_at_that_step_with_the_pictures_as_they_are() -> None:
    model = known_model()
    assert isinstance(model.network, KnownNetwork)
    engine, walk = DiffusionEngine(model, device=CPU, threads=1), Watched(stop_after=3)
    asked = recipe(size=(16, 16), strength=1.0, steps=20, schedule_steps=20, prompt="high")
    (image,) = engine.paint([picture()], asked, walk)
    assert walk.steps == [1, 2, 3]
    assert len(model.network.calls) == 3
    assert array(image).mean() / 255 == pytest.approx(0.5 + 0.125, abs=0.05)  # the mean of its class already


def test_a_variation_lies_between_the_pictures_of_its_two_seeds(engine: DiffusionEngine) -> None:
    start = drawn("open", 1)

    def made(seed: ImageSeed) -> Image.Image:
        return next(iter(engine.paint([ImageTask(start, seed)], recipe(), Watched())))

    one, other = made(ImageSeed(3)), made(ImageSeed(9))
    near, far = made(ImageSeed(3, 9, 0.1)), made(ImageSeed(3, 9, 0.6))
    assert 0 < distance(one, near) < distance(one, far) < 1.05 * distance(one, other)
    assert np.abs(array(made(ImageSeed(3, 9, 1.0))) - array(other)).max() <= 1
    assert distance(made(ImageSeed(3, is_second_pass=True)), one) > 1


def test_not_a_number_is_said_in_the_words_clients_know() -> None:
    model = known_model(means=(float("nan"),) * 3)
    engine = DiffusionEngine(model, device=CPU, threads=1)
    with pytest.raises(RuntimeError, match="NaNs was produced in Unet"):
        list(engine.paint([picture()], recipe(size=(16, 16)), Watched()))


def test_torch_keeps_its_threads(engine: DiffusionEngine) -> None:
    torch.set_num_threads(2)
    try:
        list(engine.paint([picture()], recipe(steps=1), Watched()))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_device_that_is_not_there_is_refused(model_folder: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(SettingsError, match="--device cuda"):
        load_engine(model_folder, device="cuda")
