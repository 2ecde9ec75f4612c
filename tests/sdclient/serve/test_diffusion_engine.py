"""The diffusion engine, alone, behind the server, and called by other clients."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
import webuiapi
from PIL import Image

from generator.diffusion.sampling import SampleOptions, sample
from sdclient.batch import BatchRunner, GenerationSettings
from sdclient.client import WebUI
from sdclient.client.dialects import Product
from sdclient.errors import ServerOutOfMemory
from sdclient.models import Txt2ImgRequest
from sdclient.serve.app import EmbeddedServerOptions, running_server
from sdclient.serve.diffusion_engine import DiffusionEngine, class_in_prompt, load_engine
from sdclient.serve.engine import Engine, ImageSeed, ImageTask
from sdclient.sources import discover
from sdclient.sources.source import guess_native_px
from sdcore.diffusion_model import load_model
from sdcore.errors import SettingsError
from sdcore.torch_runtime import MixedPrecision
from tests.support.engines import CPU, SIZE_PX, KnownNetwork, RecordedSteps, drawn, image_task, known_model, recipe

SAMPLERS = ["DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "Euler a", "Euler"]


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def distance(one: Image.Image, two: Image.Image) -> float:
    return float(np.abs(array(one) - array(two)).mean())


def test_it_is_an_engine_and_says_what_it_is(engine: DiffusionEngine) -> None:
    assert isinstance(engine, Engine)
    assert engine.name == "diffusion model 'boards' of own pictures, not Stable Diffusion"
    assert engine.notice.startswith("This is NOT Stable Diffusion: a diffusion model trained on 12 of your own colour")
    assert "Normal, open, 裂纹" in engine.notice
    assert engine.model.title.startswith("boards-32px-not-stable-diffusion [")
    assert guess_native_px(engine.model.title) == SIZE_PX


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_batch_gives_what_each_would_give_alone(engine: DiffusionEngine, sampler: str) -> None:
    requested = recipe(sampler=sampler, schedule="Karras", cfg_scale=3.0)
    tasks = [image_task(seed, drawn("open", seed)) for seed in (1, 2, 3)]
    together = list(engine.generate(tasks, requested, RecordedSteps()))
    for one, image in zip(tasks, together, strict=True):
        (alone,) = engine.generate([one], requested, RecordedSteps())
        assert np.abs(array(alone) - array(image)).max() <= 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_gives_its_image_again_and_another_seed_another(engine: DiffusionEngine, sampler: str) -> None:
    requested = recipe(sampler=sampler)
    first, again, other = (
        next(iter(engine.generate([image_task(seed, drawn("open", 1))], requested, RecordedSteps())))
        for seed in (5, 5, 6)
    )
    assert np.array_equal(array(first), array(again))
    assert distance(first, other) > 2


def test_the_distance_grows_with_the_strength() -> None:
    engine = DiffusionEngine(known_model(), device=CPU, threads=1)
    start = Image.fromarray(np.random.default_rng(0).normal(128, 16, (16, 16, 3)).clip(0, 255).astype(np.uint8))
    grey = start.convert("L").convert("RGB")
    distances = []
    for steps in (1, 4, 8, 14, 20):
        requested = recipe(size=(16, 16), steps=steps, schedule_steps=20, schedule="Karras", prompt="low")
        (image,) = engine.generate([image_task(start=grey)], requested, RecordedSteps())
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
        requested = recipe(**full, prompt=prompt, negative_prompt=negative, cfg_scale=guidance)
        (image,) = engine.generate([image_task()], requested, RecordedSteps())
        means[prompt, negative, guidance] = (array(image).mean() / 255 - 0.5) / 0.125
    assert means["a board, low", "", 1.0] == pytest.approx(-1, abs=0.15)
    assert means["high", "", 1.0] == pytest.approx(1, abs=0.15)
    assert means["something else", "", 1.0] == pytest.approx(0, abs=0.15)
    assert means["something else", "high", 1.5] == pytest.approx(-0.5, abs=0.2)
    assert means["high", "", 2.0] == pytest.approx(2, abs=0.2)


def test_it_reports_how_the_prompts_were_understood(engine: DiffusionEngine) -> None:
    parameters = engine.describe_recipe(recipe(prompt="photo, 裂纹", negative_prompt="normal"))
    assert (parameters["Class"], parameters["Negative class"]) == ("裂纹", "Normal")
    assert len(parameters["Trained on"]) == 10
    assert engine.describe_recipe(recipe(prompt="a cat"))["Class"] == "none"


def test_where_the_mask_is_black_the_image_stays_and_where_it_is_white_it_changes() -> None:
    engine = DiffusionEngine(known_model(), device=CPU, threads=1)
    start = Image.new("RGB", (32, 32), (128,) * 3)
    change_mask = Image.new("L", (32, 32), 0)
    change_mask.paste(255, (16, 0, 32, 32))
    requested = recipe(size=(32, 32), strength=0.9, steps=19, schedule_steps=20, prompt="high")
    (image,) = engine.generate([image_task(start=start, change_mask=change_mask)], requested, RecordedSteps())
    change = np.abs(array(image) - 128).max(axis=2)
    assert change[:, :16].max() <= 1
    assert change[:, 16:].mean() > 15


def test_batches_may_mix_images_with_and_without_a_mask(engine: DiffusionEngine) -> None:
    start, black = drawn("open", 1), Image.new("L", (SIZE_PX, SIZE_PX), 0)
    kept, free = engine.generate([image_task(1, start, black), image_task(1, start)], recipe(), RecordedSteps())
    assert np.abs(array(kept) - array(start)).max() <= 1
    assert distance(free, start) > 2


@pytest.mark.parametrize("size", [(16, 16), (8, 40), (32, 32), (48, 32), (72, 104), (40, 24)])
@pytest.mark.parametrize("from_nothing", [True, False])
def test_every_image_has_the_requested_size(engine: DiffusionEngine, size: tuple[int, int], from_nothing: bool) -> None:
    start = None if from_nothing else drawn("open", 1).resize(size)
    (image,) = engine.generate([image_task(start=start)], recipe(size=size, steps=2, schedule_steps=2), RecordedSteps())
    assert (image.size, image.mode) == (size, "RGB")


def test_a_large_image_has_no_seams() -> None:
    """On data without structure all tiles agree, so its statistics must be the same everywhere."""
    engine = DiffusionEngine(known_model(), device=CPU, threads=1)
    requested = recipe(size=(96, 96), strength=1.0, steps=20, schedule_steps=20, prompt="high")
    (image,) = engine.generate([image_task()], requested, RecordedSteps())
    values = (array(image)[..., 0] / 255 - 0.5) / 0.125
    blocks = values.reshape(6, 16, 6, 16).transpose(0, 2, 1, 3).reshape(36, -1)
    assert blocks.mean(axis=1) == pytest.approx(np.ones(36), abs=0.15)
    assert blocks.std(axis=1) == pytest.approx(np.full(36, 0.5), abs=0.1)


def test_a_grey_model_answers_in_rgb_without_colour(grey_engine: DiffusionEngine) -> None:
    assert "of your own grey pictures" in grey_engine.notice
    (image,) = grey_engine.generate([image_task(start=drawn("open", 1))], recipe(), RecordedSteps())
    assert image.mode == "RGB"
    assert np.ptp(array(image), axis=2).max() == 0


def test_when_stopped_it_ends_at_that_step_with_the_images_as_they_are() -> None:
    model = known_model()
    assert isinstance(model.network, KnownNetwork)
    engine, steps = DiffusionEngine(model, device=CPU, threads=1), RecordedSteps(stop_after=3)
    requested = recipe(size=(16, 16), strength=1.0, steps=20, schedule_steps=20, prompt="high")
    (image,) = engine.generate([image_task()], requested, steps)
    assert steps.steps == [1, 2, 3]
    assert len(model.network.calls) == 3
    assert array(image).mean() / 255 == pytest.approx(0.5 + 0.125, abs=0.05)  # the mean of its class already


def test_a_variation_lies_between_the_images_of_its_two_seeds(engine: DiffusionEngine) -> None:
    start = drawn("open", 1)

    def made(seed: ImageSeed) -> Image.Image:
        return next(iter(engine.generate([ImageTask(start, seed)], recipe(), RecordedSteps())))

    one, other = made(ImageSeed(3)), made(ImageSeed(9))
    near, far = made(ImageSeed(3, 9, 0.1)), made(ImageSeed(3, 9, 0.6))
    assert 0 < distance(one, near) < distance(one, far) < 1.05 * distance(one, other)
    assert np.abs(array(made(ImageSeed(3, 9, 1.0))) - array(other)).max() <= 1
    assert distance(made(ImageSeed(3, is_second_pass=True)), one) > 1


def test_nan_is_reported_with_the_webuis_message() -> None:
    model = known_model(means=(float("nan"),) * 3)
    engine = DiffusionEngine(model, device=CPU, threads=1)
    with pytest.raises(RuntimeError, match="NaNs was produced in Unet"):
        list(engine.generate([image_task()], recipe(size=(16, 16)), RecordedSteps()))


def test_torch_keeps_its_threads(engine: DiffusionEngine) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        list(engine.generate([image_task()], recipe(steps=1), RecordedSteps()))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_device_that_is_not_there_is_refused(model_folder: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(SettingsError, match="--device cuda"):
        load_engine(model_folder, device="cuda")


CLASSES = ("Normal", "exposed_copper", "copper", "open", "漏铜", "pad bumps", "scratch-deep")


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("open", "open"),
        ("OPEN", "open"),
        ("", None),
        ("a photo of a board", None),
        ("macro photo of a circuit board pad, open, sharp", "open"),
        ("copper traces on a board, open", "open"),  # a whole piece counts before a word
        ("open, copper", "open"),
        ("an open between copper traces", "copper"),  # of several words the longest
        ("exposed copper on a pad", "exposed_copper"),
        ("photo of EXPOSED-COPPER", "exposed_copper"),
        ("(open:1.3), photo", "open"),
        ("((open)), [scratch deep]", "open"),
        ("photo <lora:copper:0.8> of an open", "open"),
        ("opened box", None),
        ("reopen", None),
        ("焊盘漏铜照片", "漏铜"),
        ("焊盘，漏铜，清晰", "漏铜"),
        ("Pad_Bumps", "pad bumps"),
        ("scratch deep BREAK copper", "scratch-deep"),
        ("ＯＰＥＮ", "open"),
        ("normal", "Normal"),
    ],
)
def test_the_class_is_found_by_its_name(prompt: str, name: str | None) -> None:
    found = class_in_prompt(prompt, CLASSES)
    assert (None if found is None else CLASSES[found]) == name


def test_among_names_of_equal_length_the_first_in_the_prompt_counts() -> None:
    assert class_in_prompt("a pin near a pit", ["pit", "pin"]) == 1


@pytest.mark.parametrize("strength", [0.25, 0.9])
def test_a_seed_gives_the_reports_image(model_folder: Path, engine: DiffusionEngine, strength: float) -> None:
    model, start = load_model(model_folder), drawn("open", 3)
    levels = torch.from_numpy(np.asarray(start.convert("RGB")).copy()).permute(2, 0, 1)[None]
    (judged,) = sample(
        model.network,
        model.codec,
        levels,
        [model.classes.index("open")],
        [11],
        SampleOptions(
            strength,
            no_class=model.no_class,
            device=CPU,
            precision=MixedPrecision(CPU, amp=False),
            steps=20,
            guidance=2.0,
        ),
    )
    requested = recipe(
        sampler="DPM++ 2M",
        schedule="Karras",
        cfg_scale=2.0,
        strength=strength,
        steps=int(strength * 20) + 1,
        schedule_steps=20,
        prompt="open",
    )
    (served,) = engine.generate([image_task(11, start)], requested, RecordedSteps())
    assert np.abs(np.asarray(served).astype(int) - judged.permute(1, 2, 0).numpy()).max() <= 1


ROOT = Path(__file__).parents[3]


def test_the_live_suite_passes(grey_engine: DiffusionEngine) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    with running_server(EmbeddedServerOptions(engine=grey_engine, with_page=True, api_auth="name:geheim")) as server:
        command = [sys.executable, "-m", "pytest", "tests/live", "-p", "no:cacheprovider", "--no-header", "-q"]
        done = subprocess.run(
            [*command, "--webui-url", server.url, "--webui-auth", "name:geheim", "--live-size", "64"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=1200,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = done.stdout.partition(f"live suite against {server.url}")[2]
    assert "0 failed, 0 error, 2 skipped" in summary


def test_memory_that_runs_out_is_reported_as_by_a_webui() -> None:
    model = known_model()

    def fails(*arguments: object, **named: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    model.network.forward = fails  # type: ignore[method-assign]
    with (
        running_server(EmbeddedServerOptions(engine=DiffusionEngine(model, device=CPU))) as server,
        WebUI(server.url) as webui,
    ):
        with pytest.raises(ServerOutOfMemory):
            webui.txt2img(Txt2ImgRequest(prompt="high", steps=2, width=64, height=64))
        assert webui.progress().state.job_count == 0


def test_a_batch_of_this_client_runs_at_the_models_own_size(grey_engine: DiffusionEngine, tmp_path: Path) -> None:
    (tmp_path / "sources" / "open").mkdir(parents=True)
    drawn("open", 1, colour=False).resize((40, 40)).save(tmp_path / "sources" / "open" / "1.png")
    with running_server(EmbeddedServerOptions(engine=grey_engine)) as server, WebUI(server.url) as webui:
        assert webui.kind.product is Product.EMBEDDED
        settings = GenerationSettings(prompt="{class}", steps=6, denoising_strength=0.4, cfg_scale=2)
        runner = BatchRunner(webui, tmp_path / "sources", tmp_path / "out", settings)
        made = list(runner.run([(source, 2) for source in discover(tmp_path / "sources")]))
    assert len(made) == 2
    for record in made:
        assert record.engine == grey_engine.name
        assert record.model == grey_engine.model.title
        assert record.asked["prompt"] == "open"
        assert record.used["extra_generation_params"]["Class"] == "open"
        assert (record.asked["width"], record.asked["height"]) == (64, 64)  # the least that the client requests
        with Image.open(tmp_path / "out" / record.file) as image:
            assert (image.size, image.mode) == ((40, 40), "L")


SIZE = {"width": SIZE_PX, "height": SIZE_PX}


@pytest.fixture(scope="module")
def api(engine: DiffusionEngine) -> Iterator[Any]:
    with running_server(EmbeddedServerOptions(engine=engine, api_auth="name:secret")) as server:
        address = urlsplit(server.url)
        client = webuiapi.WebUIApi(host=address.hostname, port=address.port, sampler="DPM++ SDE", scheduler="Karras")
        client.set_auth("name", "secret")
        client.session.trust_env = False
        yield client
        client.session.close()


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


def test_img2img_makes_seeded_siblings_of_a_class(api: Any) -> None:
    result = api.img2img(
        images=[drawn("open", 1)], prompt="photo, open", denoising_strength=0.4, steps=6, seed=7, batch_size=2, **SIZE
    )
    assert len(result.images) == 2
    assert (result.info["all_seeds"], result.info["sampler_name"]) == ([7, 8], "DPM++ SDE")
    parameters = result.info["extra_generation_params"]
    assert (parameters["Class"], parameters["Schedule type"], parameters["Denoising strength"]) == (
        "open",
        "Karras",
        0.4,
    )
    assert parameters["Engine"] == "diffusion model 'boards' of own pictures, not Stable Diffusion"
    assert result.info["sd_model_name"] == "boards-32px-not-stable-diffusion"
    again = api.img2img(
        images=[drawn("open", 1)], prompt="photo, open", denoising_strength=0.4, steps=6, seed=8, **SIZE
    )
    assert np.abs(pixels(again.image) - pixels(result.images[1])).max() <= 1


def test_txt2img_needs_no_source(api: Any) -> None:
    result = api.txt2img(prompt="裂纹", steps=3, seed=1, cfg_scale=2, **SIZE)
    assert result.image.size == (SIZE_PX, SIZE_PX)
    assert result.info["extra_generation_params"]["Class"] == "裂纹"
    enlarged = api.txt2img(
        prompt="裂纹",
        steps=3,
        seed=1,
        enable_hr=True,
        hr_scale=2,
        denoising_strength=0.5,
        hr_upscaler="Nearest",
        **SIZE,
    )
    assert enlarged.image.size == (2 * SIZE_PX, 2 * SIZE_PX)


@pytest.mark.parametrize("full_res", [True, False])
def test_inpainting_keeps_what_is_black_to_the_pixel(api: Any, full_res: bool) -> None:
    source, mask = drawn("open", 2), Image.new("L", (SIZE_PX, SIZE_PX), 0)
    mask.paste(255, (10, 10, 26, 26))
    result = api.img2img(
        images=[source],
        mask_image=mask,
        mask_blur=0,
        inpainting_fill=1,
        inpaint_full_res=full_res,
        inpaint_full_res_padding=4,
        prompt="open",
        denoising_strength=0.8,
        steps=5,
        seed=3,
        **SIZE,
    )
    change = np.abs(pixels(result.image) - pixels(source)).max(axis=2)
    inside = np.asarray(mask) > 0
    assert change[~inside].max() == 0
    assert change[inside].mean() > 2


def test_each_sampler_it_lists_is_used_on_request(api: Any) -> None:
    names = api.util_get_sampler_names()
    assert {"Euler", "Euler a", "DPM++ 2M", "DPM++ SDE"} <= set(names)
    assert api.util_get_scheduler_names()
    images = {}
    for name in names:
        result = api.img2img(
            images=[drawn("open", 3)], prompt="open", sampler_name=name, denoising_strength=0.6, steps=4, seed=5, **SIZE
        )
        assert result.info["sampler_name"] == name
        images[name] = pixels(result.image)
    assert np.abs(images["Euler"] - images["Euler a"]).max() > 0


def test_it_reports_its_model_options_and_flags(api: Any) -> None:
    (model,) = api.get_sd_models()
    assert model["title"] == api.util_get_current_model() == api.get_options()["sd_model_checkpoint"]
    assert model["filename"].endswith("diffusion_pytorch_model.safetensors")
    assert api.get_cmd_flags()["api"] is True
    assert api.get_memory()["ram"]
    assert api.get_loras() == []


def test_the_infotext_can_be_read_back(api: Any) -> None:
    result = api.img2img(images=[drawn("open", 1)], prompt="open", denoising_strength=0.3, steps=4, seed=9, **SIZE)
    read = api.png_info(result.image)
    assert "Class: open" in str(read.info)
    assert "Seed: 9" in str(read.info)


def test_progress_counts_steps_and_an_interrupt_ends_the_job_between_two(api: Any) -> None:
    outcome: list[Any] = []

    def run() -> None:
        outcome.append(
            api.img2img(
                images=[drawn("open", 1)], prompt="open", denoising_strength=1, steps=400, n_iter=50, seed=1, **SIZE
            )
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        job = threading.Thread(target=run)
        job.start()
        seen: list[dict[str, Any]] = []
        deadline = time.monotonic() + 60
        while job.is_alive() and time.monotonic() < deadline:
            seen.append(api.get_progress())
            if 0 < seen[-1]["state"]["sampling_step"] < 400:
                break
        api.interrupt()
        job.join(60)
    running = seen[-1]
    assert 0 < running["state"]["sampling_step"] < 400
    assert running["state"]["sampling_steps"] == 400
    assert 0 < running["progress"] < 1
    assert 1 <= len(outcome[0].images) < 50
    assert len(outcome[0].info["all_seeds"]) == 50
