from __future__ import annotations

import gzip
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from generator.errors import ModelError
from generator.lora.base_model import BPE_FILE, LoadedBase, find_vocabulary, from_bpe, load_base
from generator.lora.families import SD1, SDXL
from generator.lora.session import encode_texts, run_unet
from sdcore.optional_imports import import_diffusers
from tests.support.lora_models import write_sd1
from tests.support.lora_original import write_single_file


def answer(base: LoadedBase) -> torch.Tensor:
    """What a base says of fixed noise and a caption."""
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return run_unet(base, noise, torch.tensor([500]), encode_texts(base, ["a pad"], clip_skip=1))


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_one_file_and_the_folder_it_was_made_of_answer_alike(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(kind)
    file = write_single_file(folder, tmp_path / "base.safetensors")
    of_folder, of_file = load_base(folder), load_base(file, config=folder)
    assert of_file.family is of_folder.family is (SDXL if kind == "sdxl" else SD1)
    assert of_file.name == "base"
    torch.testing.assert_close(answer(of_file), answer(of_folder), atol=1e-5, rtol=0)
    image = torch.rand((1, 3, 64, 64))
    means = [base.vae.encode(image).latent_dist.mean for base in (of_file, of_folder)]
    torch.testing.assert_close(means[0], means[1], atol=1e-5, rtol=0)


def test_the_networks_are_as_large_as_the_published_ones() -> None:
    # Parameters of the UNets, the VAE and the text encoders as their makers and papers give them.
    diffusers, transformers = import_diffusers(), pytest.importorskip("transformers")
    published = {
        "sd1 unet": (SD1, "unet", 859_520_964),
        "sdxl unet": (SDXL, "unet", 2_567_463_684),
        "vae": (SDXL, "vae", 83_653_863),
        "sd1 text": (SD1, "text_encoder", 123_060_480),
        "sdxl text 2": (SDXL, "text_encoder_2", 694_659_840),
    }
    for family, part, parameters in published.values():
        values = dict(family.components[part])
        with torch.device("meta"):
            if part in ("unet", "vae"):
                kind = diffusers.UNet2DConditionModel if part == "unet" else diffusers.AutoencoderKL
                model = kind.from_config(values)
            else:
                model = getattr(transformers, values["architectures"][0])(transformers.CLIPTextConfig(**values))
        assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_without_a_configuration_the_usual_one_is_written(
    sd1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tiny file does not fit the real sizes; that diffusers gets as far as to say so shows that it found a whole
    # folder of configurations, and a tokenizer, without any network.
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    file = write_single_file(sd1, tmp_path / "base.safetensors")
    with pytest.raises(ModelError, match=r"cannot be loaded.*(size|shape|\[320|8)"):
        load_base(file, tokenizer=sd1)


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.bin", "renamed.safetensors"])
def test_pickles_are_refused_and_never_opened(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    with pytest.raises(ModelError, match="a pickle, which can run any program"):
        load_base(path)


def test_a_folder_of_pickles_is_refused(sd1: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sd1, tmp_path / "base"))
    weights = next((folder / "unet").glob("*.safetensors"))
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ModelError, match=r"unet/ holds pickles.*expected unet/\*\.safetensors"):
        load_base(folder)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"lora_unet_mid.lora_up.weight": torch.zeros(1)}, "a LoRA, not a base model"),
        ({"double_blocks.0.img_attn.qkv.weight": torch.zeros(1)}, "not a Stable Diffusion checkpoint"),
        ({"down_blocks.0.resnets.0.conv1.weight": torch.zeros(1)}, "one part of a diffusers folder"),
        ({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(8, 9, 3, 3)}, "9 channels, as inpainting"),
        ({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(8, 4, 3, 3)}, "no text encoder in it"),
        (
            {
                "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(8, 4, 3, 3),
                "conditioner.embedders.0.model.ln_final.weight": torch.zeros(1),
            },
            "an SDXL refiner",
        ),
        (
            {
                "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(8, 4, 3, 3),
                "cond_stage_model.transformer.text_model.final_layer_norm.weight": torch.zeros(1),
            },
            "no VAE in it",
        ),
    ],
)
def test_other_models_are_told_apart(tensors: dict[str, torch.Tensor], words: str, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=words):
        load_base(tmp_path / "other.safetensors")


def test_a_file_cut_short_and_a_missing_one_are_told(sd1: Path, tmp_path: Path) -> None:
    whole = next((sd1 / "unet").glob("*.safetensors")).read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    with pytest.raises(ModelError, match="its end is missing"):
        load_base(tmp_path / "cut.safetensors")
    with pytest.raises(ModelError, match="no such file or folder"):
        load_base(tmp_path / "none.safetensors")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="no header"):
        load_base(tmp_path / "empty.safetensors")


def test_a_folder_of_another_kind_is_told(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    with pytest.raises(ModelError, match=r"model_index\.json is missing"):
        load_base(tmp_path / "base")
    (tmp_path / "base" / "model_index.json").write_text('{"_class_name": "FluxPipeline"}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"FluxPipeline.*expected a folder of StableDiffusionPipeline"):
        load_base(tmp_path / "base")


def test_velocities_are_seen_in_folder_and_file_and_can_be_forced(tmp_path: Path) -> None:
    folder = write_sd1(tmp_path / "v", prediction="v_prediction")
    assert load_base(folder).prediction == "v_prediction"
    assert load_base(folder, prediction="epsilon").prediction == "epsilon"
    file = write_single_file(folder, tmp_path / "v.safetensors")
    assert load_base(file, config=folder).prediction == "epsilon"  # one file says nothing by itself
    marked = load_file(file)
    save_file({**marked, "v_pred": torch.zeros(1), "ztsnr": torch.zeros(1)}, file)
    base = load_base(file, config=folder)
    assert base.prediction == "v_prediction"
    assert float(base.schedule.alphas_cumprod[-1]) == pytest.approx(0.0, abs=1e-6)


def bpe_text(lines: int = 48894) -> str:
    """As many merges as CLIP has; only the first ones mean anything."""
    first = ["a </w>".replace(" </w>", " b</w>"), "p a", "pa d</w>"]
    return "\n".join(["#version", *first, *(f"x{number} y{number}" for number in range(lines - len(first)))])


def test_the_vocabulary_of_openai_becomes_clips_own() -> None:
    tokens = json.loads(from_bpe(bpe_text()).vocab_json)
    assert len(tokens) == 49408
    # Numbers of CLIP's published vocabulary that do not hang on the merges.
    assert tokens["!"] == 0
    assert tokens["!</w>"] == 256
    assert tokens["a</w>"] == 320
    assert tokens["<|startoftext|>"] == 49406
    assert tokens["<|endoftext|>"] == 49407
    with pytest.raises(ValueError, match="48894 merges"):
        from_bpe(bpe_text(100))


def test_the_tokenizer_reads_what_was_written(tmp_path: Path) -> None:
    import_diffusers()
    transformers = pytest.importorskip("transformers")
    (tmp_path / "webui" / "venv" / "clip").mkdir(parents=True)
    (tmp_path / "webui" / "venv" / "clip" / BPE_FILE).write_bytes(gzip.compress(bpe_text().encode("utf-8"), 1))
    find_vocabulary(tmp_path / "webui").write(tmp_path / "tokens", pad_token="!")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(tmp_path / "tokens", local_files_only=True)
    ids = tokenizer("a pad", padding="max_length", max_length=77).input_ids
    assert ids[:4] == [49406, 320, 514, 49407]  # "pad</w>" is the third merge, after 512 signs
    assert set(ids[4:]) == {0}


def test_a_missing_vocabulary_says_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sd1: Path) -> None:
    import_diffusers()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    file = write_single_file(sd1, tmp_path / "base.safetensors")
    with pytest.raises(ModelError, match=r"--tokenizer.*pip install --no-deps open_clip_torch"):
        load_base(file)
    with pytest.raises(ModelError, match="found neither vocab"):
        load_base(file, tokenizer=tmp_path)


def test_an_installed_package_and_the_cache_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sd1: Path
) -> None:
    import_diffusers()
    (tmp_path / BPE_FILE).write_bytes(gzip.compress(bpe_text().encode("utf-8"), 1))
    find: Callable[[str], object] = lambda name: type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})()  # noqa: E731
    monkeypatch.setattr("importlib.util.find_spec", find)
    assert '"pad</w>": 514' in find_vocabulary().vocab_json
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda _, name: str(sd1 / "tokenizer" / name))
    assert find_vocabulary().vocab_json == (sd1 / "tokenizer" / "vocab.json").read_text(encoding="utf-8")
