from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generator.config import TrainConfig
from generator.diffusion.train import train
from sdcore.diffusion_model import read_description
from sdcore.errors import ModelFileError
from sdcore.optional_imports import import_diffusers


@pytest.fixture
def model(photos: Path, tmp_path: Path, tiny: Callable[..., TrainConfig]) -> Path:
    train(photos, tmp_path / "模型", tiny(keep="last"), progress=False)
    return tmp_path / "模型"


def test_diffusers_itself_reads_network_and_schedule(model: Path) -> None:
    diffusers = import_diffusers()
    network = diffusers.UNet2DModel.from_pretrained(model, subfolder="unet", use_safetensors=True)
    schedule = diffusers.DDPMScheduler.from_pretrained(model, subfolder="scheduler")
    saved = load_file(model / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(saved[name], one) for name, one in network.state_dict().items())
    assert (network.config.num_class_embeds, network.config.sample_size, network.config.in_channels) == (4, 4, 16)
    assert (schedule.config.prediction_type, schedule.config.beta_schedule) == ("v_prediction", "scaled_linear")
    index = json.loads((model / "model_index.json").read_text(encoding="utf-8"))
    assert index["unet"] == ["diffusers", "UNet2DModel"]


def test_the_weights_are_the_average_of_the_last_step(model: Path) -> None:
    state = torch.load(model / "resume.pt", weights_only=True)["session"]
    saved = load_file(model / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(saved[name], one) for name, one in state["average"]["network"].items())
    assert any(not torch.equal(saved[name], one) for name, one in state["network"].items())


def test_what_diffusers_does_not_say_is_told(model: Path, photos: Path) -> None:
    told = read_description(model)
    assert (told["classes"], told["no_class"]) == (["Normal", "open", "裂纹"], 3)
    assert (told["size_px"], told["channels"], told["packing"], told["weights"]) == (16, 1, 4, "float32")
    assert told["training"]["steps"] == 4
    assert told["training"]["config"]["network"]["widths"] == [16, 32]
    assert told["data"]["counts"] == {"Normal": 9, "open": 5, "裂纹": 5}
    for row in told["data"]["learned_from"]:
        assert hashlib.sha256((photos / row["file"]).read_bytes()).hexdigest() == row["sha256"]
        assert row["file"].split("/")[0] == row["class"]


def test_half_weights_take_half_the_room(photos: Path, tmp_path: Path, tiny: Callable[..., TrainConfig]) -> None:
    sizes = []
    for half in (False, True):
        folder = tmp_path / f"half {half}"
        train(photos, folder, tiny(half=half), progress=False)
        sizes.append((folder / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size)
    assert sizes[1] < 0.55 * sizes[0]
    assert read_description(folder)["weights"] == "float16"


def test_a_folder_that_holds_no_model_or_another_version_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"generator\.json: not there; expected a folder that .generator train"):
        read_description(tmp_path)
    path = tmp_path / "generator.json"
    for content in ("{", '{"format": "sd-defects diffusion model", "version": 9}', "[]"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ModelFileError, match=r"generator\.json: cannot be read"):
            read_description(tmp_path)
