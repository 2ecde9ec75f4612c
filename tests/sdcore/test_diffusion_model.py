from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file, save_file

from generator.config import TrainConfig
from generator.diffusion.train import train
from sdclient.cli import cli
from sdcore.diffusion_model import PixelCodec, load_model, read_description
from sdcore.errors import ModelFileError
from sdcore.optional_imports import import_diffusers
from tests.support.engines import CLASSES, drawn


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
    facts = read_description(model)
    assert (facts["classes"], facts["no_class"]) == (["Normal", "open", "裂纹"], 3)
    assert (facts["size_px"], facts["channels"], facts["packing"], facts["weights"]) == (16, 1, 4, "float32")
    assert facts["training"]["steps"] == 4
    assert facts["training"]["config"]["network"]["widths"] == [16, 32]
    assert facts["data"]["counts"] == {"Normal": 9, "open": 5, "裂纹": 5}
    for row in facts["data"]["learned_from"]:
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


WEIGHTS = Path("unet", "diffusion_pytorch_model.safetensors")


@pytest.fixture
def copy(model_folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(model_folder, tmp_path / "copy")
    return tmp_path / "copy"


def change(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **values}), encoding="utf-8")


def test_what_the_trainer_saved_is_read(model_folder: Path) -> None:
    model, facts = load_model(model_folder), read_description(model_folder)
    assert model.classes == CLASSES
    assert (model.no_class, model.size_px, model.channels, model.images) == (3, 32, 3, 12)
    assert model.sha256 == hashlib.sha256((model_folder / WEIGHTS).read_bytes()).hexdigest()
    assert model.fingerprint == facts["data"]["fingerprint"]
    saved = load_file(model_folder / WEIGHTS)
    assert all(torch.equal(one, saved[name]) for name, one in model.network.state_dict().items())
    assert not model.network.training


@pytest.mark.parametrize("colour", [True, False])
def test_pixels_are_put_as_the_trainer_puts_them(colour: bool) -> None:
    mean, std = ((0.4, 0.5, 0.6), (0.1, 0.2, 0.3)) if colour else ((0.4,), (0.2,))
    image = drawn("open", 1)
    levels = np.array(image if colour else image.convert("L")).reshape(32, 32, -1)
    theirs = PixelCodec(mean, std, 4).encode(torch.from_numpy(levels).permute(2, 0, 1)[None])[0]
    code = PixelCodec(mean, std, 4)
    assert torch.allclose(code.encode_image(image), theirs, atol=1e-6)
    back = code.decode_image(code.encode_image(image))
    assert np.array_equal(np.asarray(back), np.asarray(image if colour else image.convert("L").convert("RGB")))


def test_a_mask_lies_where_its_pixels_do() -> None:
    mask = Image.new("L", (32, 32), 0)
    mask.putpixel((5, 9), 255)
    code = PixelCodec((0.5,) * 3, (0.2,) * 3, 4)
    found = code.encode_mask(mask)
    marked = code.encode_image(Image.merge("RGB", [mask] * 3))
    assert torch.equal(found == 1, marked == marked.max())
    assert float(found.sum()) == 3


def test_half_weights_are_read_as_whole_ones(copy: Path) -> None:
    half = {name: one.half() for name, one in load_file(copy / WEIGHTS).items()}
    save_file(half, copy / WEIGHTS)
    assert {one.dtype for one in load_model(copy).network.state_dict().values()} == {torch.float32}


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:5000])


def _misshapen(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    weights["conv_in.weight"] = weights["conv_in.weight"][:8].clone()
    save_file(weights, folder / WEIGHTS)


def _as_pickle(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.bin")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_without("generator.json"), r"generator\.json: not there; expected a folder that 'generator train' wrote"),
        (_without("unet/config.json"), r"config\.json: not there"),
        (_without("scheduler/scheduler_config.json"), r"scheduler_config\.json: not there"),
        (_without(WEIGHTS.as_posix()), r"no unet/diffusion_pytorch_model\.safetensors in it"),
        (_as_pickle, r"model\.bin: a pickle, which can run code.*only weights in safetensors are loaded"),
        (_cut, r"safetensors: cannot be read"),
        (_misshapen, r"weights and config\.json do not fit together"),
        (lambda folder: (folder / "generator.json").write_text("{", encoding="utf-8"), r"generator\.json: cannot be"),
        (lambda folder: (folder / "generator.json").write_text("[]", encoding="utf-8"), "not a JSON object"),
        (lambda folder: change(folder / "generator.json", version=9), r"version 9; expected"),
        (lambda folder: change(folder / "generator.json", format="other"), r"format 'other'"),
        (lambda folder: change(folder / "generator.json", mean=None), r"generator\.json: "),
        (lambda folder: change(folder / "generator.json", mean=[0.5]), r"do not fit together"),
        (
            lambda folder: change(folder / "generator.json", size_px=64),
            r"sample_size is 16, but by generator\.json it is 32",
        ),
        (
            lambda folder: change(folder / "generator.json", classes=["a", "b"], no_class=2),
            r"num_class_embeds is 4, but by generator\.json it is 3; the two are of different models",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(copy: Path, damage: Callable[[Path], None], words: str) -> None:
    damage(copy)
    with pytest.raises(ModelFileError, match=words):
        load_model(copy)


@pytest.mark.parametrize(("name", "words"), [("model.ckpt", "a pickle, which can run code"), ("m.txt", "a file")])
def test_a_file_is_no_model_and_a_pickle_is_never_opened(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04")
    with pytest.raises(ModelFileError, match=words):
        load_model(tmp_path / name)
    with pytest.raises(ModelFileError, match="no such folder"):
        load_model(tmp_path / "nowhere")


def test_a_missing_package_is_one_line(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    done = CliRunner().invoke(cli, ["serve", "--engine", "diffusion", "--model", str(model_folder)])
    assert done.exit_code == 1
    assert done.output.count("\n") == 1
    assert "needs the extra 'diffusion': pip install \"sd-defects[diffusion]\"" in done.output
