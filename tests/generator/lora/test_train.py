"""A whole training of a LoRA, and what a WebUI makes of its file."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors import safe_open
from safetensors.torch import load_file

from generator.cli import cli
from generator.config import LoraSettings
from generator.errors import GeneratedImages, ModelError, TooFewImages, TrainingDiverged
from generator.lora.base_model import LoadedBase, load_base
from generator.lora.dataset import Captions, encode_all, find_images
from generator.lora.files import load_state
from generator.lora.session import LoraSession, add_adapters, encode_texts, run_unet
from generator.lora.train import BaseChoice, LoraOptions, LoraResult, train_lora
from sdcore.errors import DataError, OutOfMemory, SettingsError
from tests.support.lora_original import unet_name

CPU = torch.device("cpu")
TRAIN_QUICK: dict[str, Any] = {"size_px": 64, "steps": 4, "batch": 2, "rank": 2, "lr": 1e-2, "warmup_steps": 0}


def settings(**changes: Any) -> LoraSettings:
    return LoraSettings(**{**TRAIN_QUICK, **changes})


def session_for(base: LoadedBase, data: Path, chosen: LoraSettings) -> LoraSession:
    images = find_images(data, Captions())
    cache = encode_all(base.vae, images, native_px=64, flips=chosen.flips, device=CPU)
    add_adapters(base, chosen, seed=chosen.seed)
    return LoraSession(base, chosen, images, cache, device=CPU, dtype=torch.float32)


def says(base: LoadedBase, seed: int = 3) -> torch.Tensor:
    """What a base, updates and all, says of fixed noise and a caption."""
    noise = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        told = encode_texts(base, ["photo of a circuit board, open", "x"], clip_skip=1)
        return run_unet(base, noise, torch.tensor([200, 800]), told)


def apply_like_a_webui(base: LoadedBase, file: Path, weight: float) -> None:
    """Add weight x alpha / rank x up @ down to the weights of the layer that each key names."""
    layers: dict[str, torch.nn.Module] = {}
    for name, module in base.unet.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            if base.family.is_sdxl:
                name = unet_name(f"{name}.weight", attends_at_once=True).removesuffix(".weight")
            layers["lora_unet_" + name.replace(".", "_")] = module
    prefixes = ["lora_te1_", "lora_te2_"] if base.family.is_sdxl else ["lora_te_"]
    for prefix, encoder in zip(prefixes, base.text_encoders, strict=True):
        layers |= {prefix + name.replace(".", "_"): module for name, module in encoder.named_modules()}
    tensors = load_file(file)
    keys = {name.split(".", 1)[0] for name in tensors}
    assert keys
    for key in keys:
        up, down = tensors[f"{key}.lora_up.weight"], tensors[f"{key}.lora_down.weight"]
        target: Any = layers[key]
        update = (up.flatten(1) @ down.flatten(1)).reshape(target.weight.shape)
        target.weight.data += weight * float(tensors[f"{key}.alpha"]) / down.shape[0] * update


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_training_lowers_the_loss_on_one_batch(prediction: Any, sd1: Path, make_data: Callable[..., Path]) -> None:
    base = load_base(sd1, prediction=prediction)
    data = make_data(("open",), each=2)
    session = session_for(base, data, settings(min_snr=5.0, rank=4))
    versions = encode_all(base.vae, find_images(data, Captions()), native_px=64, device=CPU).versions
    latent = base.vae.config.scaling_factor * torch.stack([one[0].mean.float() for one in versions]).repeat(2, 1, 1, 1)
    noise = torch.randn((4, 4, 8, 8), generator=torch.Generator().manual_seed(6))
    times = torch.tensor([100, 300, 600, 900])
    kept = base.schedule.alphas_cumprod[times].view(-1, 1, 1, 1)
    noised = kept.sqrt() * latent + (1 - kept).sqrt() * noise
    wanted = noise if prediction == "epsilon" else kept.sqrt() * noise - (1 - kept).sqrt() * latent

    def loss() -> float:
        with torch.no_grad():
            told = encode_texts(base, ["photo of a circuit board, open"] * 4, clip_skip=1)
            return float(((run_unet(base, noised, times, told) - wanted) ** 2).mean())

    before = loss()
    for number in range(15):
        session.step(number)
    assert loss() < 0.99 * before


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
@pytest.mark.parametrize("targets", ["attention", "transformer"])
def test_the_file_applied_as_a_webui_does_gives_what_was_trained(
    kind: str, targets: Any, request: pytest.FixtureRequest, make_data: Callable[..., Path], tmp_path: Path
) -> None:
    folder, data = request.getfixturevalue(kind), make_data()
    chosen = settings(text_encoder=True, targets=targets, alpha=1.0, text_encoder_lr=1e-2)
    result = train_lora(data, tmp_path / "defects.safetensors", BaseChoice(folder), chosen)

    trained = load_base(folder)
    load_state(tmp_path / "defects-training" / "state", session_for(trained, data, chosen))
    plain, patched = load_base(folder), load_base(folder)
    apply_like_a_webui(patched, result.output, 1.0)

    assert float((says(trained) - says(plain)).abs().max()) > 1e-3
    assert float((says(trained) - says(patched)).abs().max()) < 1e-4
    if not trained.family.is_sdxl:
        halved = load_base(folder)
        apply_like_a_webui(halved, result.output, 0.5)
        assert float((says(halved) - says(plain)).abs().max()) > 1e-4
        assert float((says(halved) - says(patched)).abs().max()) > 1e-4


def test_an_interrupted_training_ends_at_the_same_bits(
    sd1: Path, make_data: Callable[..., Path], tmp_path: Path
) -> None:
    data, chosen = make_data(), settings(steps=5, flips=("horizontal", "vertical"), warmup_steps=3)
    whole = train_lora(data, tmp_path / "whole" / "defects.safetensors", BaseChoice(sd1), chosen)
    steps = iter([False, True])
    output = tmp_path / "parts" / "defects.safetensors"
    first = train_lora(data, output, BaseChoice(sd1), chosen, should_stop=lambda: next(steps))
    assert (first.steps, first.stopped) == (2, True)
    assert output.is_file()  # of some use already
    second = train_lora(data, output, BaseChoice(sd1), chosen)
    assert (second.steps, second.stopped) == (5, False)
    one, other = load_file(whole.output), load_file(output)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    logs = [path.parent.joinpath("defects-training", "log.csv").read_text("utf-8") for path in (whole.output, output)]
    assert logs[0] == logs[1]
    assert [row["step"] for row in csv.DictReader(logs[0].splitlines())] == ["1", "2", "3", "4", "5"]
    third = train_lora(data, output, BaseChoice(sd1), settings(steps=6, flips=chosen.flips, warmup_steps=3))
    assert third.steps == 6  # a longer one goes on too


def test_another_setting_image_or_base_does_not_go_on(
    sd1: Path, sdxl: Path, make_data: Callable[..., Path], tmp_path: Path
) -> None:
    data, output = make_data(), tmp_path / "defects.safetensors"
    train_lora(data, output, BaseChoice(sd1), settings(steps=1))
    before = output.read_bytes()
    with pytest.raises(
        SettingsError, match="started with rank 2, now it is 4; give the same, another -o, or --restart"
    ):
        train_lora(data, output, BaseChoice(sd1), settings(rank=4))
    with pytest.raises(SettingsError, match="started with base"):
        train_lora(data, output, BaseChoice(sdxl), settings())
    with pytest.raises(SettingsError, match="started with captions"):
        train_lora(data, output, BaseChoice(sd1), settings(), Captions("{class}"))
    (data / "open" / "0.png").unlink()
    with pytest.raises(SettingsError, match="started with data"):
        train_lora(data, output, BaseChoice(sd1), settings())
    assert output.read_bytes() == before
    assert (
        train_lora(data, output, BaseChoice(sd1), settings(rank=4, steps=1), options=LoraOptions(restart=True)).steps
        == 1
    )


def test_a_damaged_state_is_told_and_can_be_left_behind(
    sd1: Path, make_data: Callable[..., Path], tmp_path: Path
) -> None:
    data, output = make_data(), tmp_path / "defects.safetensors"
    train_lora(data, output, BaseChoice(sd1), settings(steps=1))
    state = tmp_path / "defects-training" / "state"
    state.write_bytes(state.read_bytes()[:200])
    with pytest.raises(ModelError, match=r"state.*cannot be read.*--restart"):
        train_lora(data, output, BaseChoice(sd1), settings())


def test_a_full_disk_leaves_what_was_saved(
    sd1: Path, make_data: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, output = make_data(), tmp_path / "defects.safetensors"
    write, states = Path.write_bytes, 0

    def write_until_full(path: Path, content: bytes) -> int:
        nonlocal states
        states += b"optimizer_steps" in bytes(content[:100_000])  # temporary names do not tell what they become
        if states > 1:
            write(path, content[:100])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_until_full)
    with pytest.raises(OSError, match="No space left"):
        train_lora(data, output, BaseChoice(sd1), settings(save_every=2))
    monkeypatch.undo()
    assert not list((tmp_path / "defects-training").glob(".*"))  # no half file is left
    went_on = train_lora(data, output, BaseChoice(sd1), settings(save_every=2))
    assert went_on.steps == 4
    fresh = train_lora(data, tmp_path / "other.safetensors", BaseChoice(sd1), settings(save_every=2))
    one, other = load_file(went_on.output), load_file(fresh.output)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_foreign_file_is_not_overwritten(sd1: Path, make_data: Callable[..., Path], tmp_path: Path) -> None:
    data, output = make_data(), tmp_path / "defects.safetensors"
    output.write_bytes(b"someone's")
    with pytest.raises(SettingsError, match=r"no training in .* to resume; take another name"):
        train_lora(data, output, BaseChoice(sd1), settings())
    assert output.read_bytes() == b"someone's"
    for name, words in (("defects.pt", "ends in .safetensors"), ("a,b.safetensors", "leave out")):
        with pytest.raises(SettingsError, match=words):
            train_lora(data, tmp_path / name, BaseChoice(sd1), settings())


def test_how_a_batch_is_parted_changes_only_the_rounding(
    sd1: Path, make_data: Callable[..., Path], tmp_path: Path
) -> None:
    data, losses = make_data(), []
    for name, changes in {
        "whole": {},
        "parted": {"micro_batch": 1},
        "twice": {"gradient_checkpointing": True, "text_encoder": False},
    }.items():
        result = train_lora(data, tmp_path / f"{name}.safetensors", BaseChoice(sd1), settings(batch=3, **changes))
        losses.append(load_file(result.output))
    for other in losses[1:]:
        for name, tensor in losses[0].items():
            torch.testing.assert_close(other[name], tensor, atol=2e-4, rtol=1e-3)


def test_checkpointing_reaches_the_text_encoder_too(sdxl: Path, make_data: Callable[..., Path], tmp_path: Path) -> None:
    data, results = make_data(), []
    for checkpointing in (False, True):
        chosen = settings(steps=2, text_encoder=True, gradient_checkpointing=checkpointing)
        result = train_lora(data, tmp_path / f"{checkpointing}.safetensors", BaseChoice(sdxl), chosen)
        results.append(load_file(result.output))
    for name, tensor in results[0].items():
        torch.testing.assert_close(results[1][name], tensor, atol=2e-4, rtol=1e-3)
    assert any(float(t.abs().max()) > 0 for n, t in results[1].items() if n.startswith("lora_te2") and "lora_up" in n)


def test_images_of_different_shapes_train_together(sd1: Path, make_data: Callable[..., Path], tmp_path: Path) -> None:
    make_data(("wide",), size=(96, 32))
    data = make_data(("open",), size=(40, 40))
    result = train_lora(data, tmp_path / "d.safetensors", BaseChoice(sd1), settings(batch=6, size_px=128))
    buckets = json.loads(metadata(result)["ss_bucket_info"])["buckets"].values()
    assert sorted((tuple(bucket["resolution"]), bucket["count"]) for bucket in buckets) == [
        ((128, 128), 3),
        ((192, 64), 3),
    ]


def metadata(result: LoraResult) -> dict[str, str]:
    with safe_open(str(result.output), framework="pt") as file:
        fields: dict[str, str] = file.metadata()
    return fields


def test_the_file_says_what_a_webui_shows_and_where_it_comes_from(
    sd1: Path, make_data: Callable[..., Path], tmp_path: Path
) -> None:
    data = make_data(each=2)
    (data / "open" / "1.txt").write_text("an open trace,  pad", encoding="utf-8")
    captions = Captions("macro photo, {class}", words={"short": "solder bridge"})
    result = train_lora(data, tmp_path / "defects.safetensors", BaseChoice(sd1), settings(alpha=1), captions)
    fields = metadata(result)
    assert fields["ss_output_name"] == "defects"
    assert fields["ss_base_model_version"] == "sd_v1"
    assert (fields["ss_network_dim"], fields["ss_network_alpha"], fields["ss_v2"]) == ("2", "1.0", "False")
    assert json.loads(fields["ss_tag_frequency"])["defects"] == {
        "macro photo": 3,
        "solder bridge": 2,
        "open": 1,
        "an open trace": 1,
        "pad": 1,
    }
    content = result.output.read_bytes()
    header = int.from_bytes(content[:8], "little")
    assert fields["sshs_model_hash"] == hashlib.sha256(content[8 + header :]).hexdigest()
    lineage = json.loads(fields["sd_defects.lineage"])
    assert lineage["classes"] == {"open": 2, "short": 2}
    images = sorted([p.parent.name, hashlib.sha256(p.read_bytes()).hexdigest()] for p in data.glob("*/*.png"))
    assert lineage["data_sha256"] == hashlib.sha256(json.dumps(images).encode()).hexdigest()
    weights = next((sd1 / "unet").glob("*.safetensors")).read_bytes()
    assert lineage["base_sha256"] == fields["ss_new_sd_model_hash"] == hashlib.sha256(weights).hexdigest()


def test_sdxl_says_so_in_the_words_a_webui_looks_for(
    sdxl: Path, make_data: Callable[..., Path], tmp_path: Path
) -> None:
    result = train_lora(
        make_data(), tmp_path / "d.safetensors", BaseChoice(sdxl), settings(steps=1), options=LoraOptions(half=True)
    )
    assert metadata(result)["ss_base_model_version"].startswith("sdxl_")
    assert {tensor.dtype for tensor in load_file(result.output).values()} == {torch.float16}
    assert {key.split("_", 2)[1] for key in load_file(result.output)} == {"unet"}


def test_sample_sheets_leave_the_training_as_it_was(
    sd1: Path, make_data: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generator.lora.train._STEPS", 2)
    data, results = make_data(), []
    for every in (0, 2):
        output = tmp_path / f"every{every}.safetensors"
        results.append(train_lora(data, output, BaseChoice(sd1), settings(sample_every=every)))
    one, other = (load_file(result.output) for result in results)
    assert all(torch.equal(one[name], other[name]) for name in one)
    sheets = sorted((tmp_path / "every2-training" / "samples").iterdir())
    assert [sheet.name for sheet in sheets] == ["000002.png", "000004.png"]
    assert not (tmp_path / "every0-training" / "samples").exists()


@pytest.mark.parametrize("keyword", ["sdclient", "parameters"])
def test_generated_images_are_refused(keyword: str, sd1: Path, make_data: Callable[..., Path], tmp_path: Path) -> None:
    data = make_data(keyword=keyword)
    with pytest.raises(GeneratedImages, match=r"open.0\.png: a generated image"):
        train_lora(data, tmp_path / "d.safetensors", BaseChoice(sd1), settings())
    assert not (tmp_path / "d-training").exists()


def test_unusable_images_are_named(sd1: Path, make_data: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        train_lora(tmp_path / "none", tmp_path / "d.safetensors", BaseChoice(sd1), settings())
    data = make_data(each=1)
    with pytest.raises(TooFewImages, match="open: 1 image; at least 2"):
        train_lora(data, tmp_path / "d.safetensors", BaseChoice(sd1), settings())
    data = make_data(each=3)
    (data / "open" / "1.png").write_bytes((data / "open" / "1.png").read_bytes()[:500])
    with pytest.raises(DataError, match=r"1\.png: truncated image .*trainer check"):
        train_lora(data, tmp_path / "d.safetensors", BaseChoice(sd1), settings())


def test_captions_that_cannot_be_are_refused(sd1: Path, make_data: Callable[..., Path], tmp_path: Path) -> None:
    data = make_data()
    with pytest.raises(SettingsError, match=r"captions for opne: no such class; there are open, short"):
        train_lora(data, tmp_path / "d.safetensors", BaseChoice(sd1), settings(), Captions(words={"opne": "x"}))
    with pytest.raises(SettingsError, match="tokens; at most 75"):
        train_lora(data, tmp_path / "d.safetensors", BaseChoice(sd1), settings(), Captions("many words " * 20))


def test_a_loss_that_is_no_number_ends_the_training(sd1: Path, make_data: Callable[..., Path]) -> None:
    base = load_base(sd1)
    session = session_for(base, make_data(), settings())
    with torch.no_grad():
        base.unet.conv_in.weight.fill_(float("nan"))
    with pytest.raises(TrainingDiverged, match="step 1: the loss is nan"):
        session.step(0)


def test_minutes_end_a_training_and_count_over_its_starts(
    sd1: Path, make_data: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 100_000, 20))
    monkeypatch.setattr("generator.lora.train.time.monotonic", lambda: next(clock))
    data, output = make_data(), tmp_path / "d.safetensors"
    first = train_lora(data, output, BaseChoice(sd1), settings(steps=None, minutes=1.0))
    assert first.steps == 3  # 20 seconds each
    second = train_lora(data, output, BaseChoice(sd1), settings(steps=None, minutes=2.0))
    assert second.steps == 6


QUICK = ["--steps", 2, "--size", 64, "--batch", 2, "--rank", 2]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["lora", *(str(argument) for argument in arguments)], prog_name="generator")


def test_it_says_what_was_made_and_how_it_is_used(sd1: Path, make_data: Callable[..., Path], tmp_path: Path) -> None:
    data, output = make_data(), tmp_path / "defects.safetensors"
    words = tmp_path / "captions.toml"
    words.write_text('[class]\nshort = "solder bridge"\n[caption]\nopen = "cut trace, {class}"\n', encoding="utf-8")
    done = run(data, "--base", sd1, "-o", output, "--captions", words, "--caption", "photo, {class}", *QUICK)
    assert done.exit_code == 0, done.output
    assert "Stable Diffusion 1.x: 6 images" in done.stdout
    assert f"--config {tmp_path / 'defects-training' / 'run.toml'}" in done.stdout
    assert output.is_file()
    text = (tmp_path / "defects-training" / "run.toml").read_text(encoding="utf-8")
    assert 'loras = ["defects:0.8"]' in text
    assert '[class."short"]\nprompt = "photo, solder bridge"' in text
    assert '[class."open"]\nprompt = "cut trace, open"' in text
    again = run(data, "--base", sd1, "-o", output, "--captions", words, "--caption", "photo, {class}", *QUICK, "--json")
    assert json.loads(again.stdout)["steps"] == 2  # it was done already


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--base", "nowhere"], "--base nowhere: no such file or folder"),
        (["--base", "model.ckpt"], "a pickle, which can run any program"),
        (["--rank", 0], "--rank: found 0; expected a value above 0"),
        (["--size", 500], "--size: found 500; expected a multiple of 64"),
        (["--minutes", -1], "--minutes: found -1.0; expected a value above 0"),
        (["--caption", "{klass}"], "--caption: found {klass}; expected a caption"),
        (["--captions", "none.toml"], "none.toml: captions cannot be read"),
        (["--precision", "bf16", "--device", "cpu"], "--precision bf16: only a CUDA device gains by it"),
        (["-o", "x.pt"], "expected a name that ends in .safetensors"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[Any],
    words: str,
    sd1: Path,
    make_data: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = make_data()
    monkeypatch.chdir(tmp_path)
    Path("model.ckpt").write_bytes(b"\x80\x04.")
    done = run(data, "--base", sd1, "-o", "defects.safetensors", *QUICK, *arguments)
    assert done.exit_code == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not Path("defects.safetensors").exists()


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "d/state"), "d/state: the disk is full; free some space"),
        (OutOfMemory("out of memory; give a smaller --micro-batch"), "a smaller --micro-batch"),
        (ModuleNotFoundError("no", name="peft"), 'pip install "sd-defects[diffusion]"'),
    ],
)
def test_trouble_is_one_line(
    failure: BaseException, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("generator.lora.train.train_lora", fail)
    done = run(tmp_path, "--base", "b", "-o", "d.safetensors")
    assert done.exit_code == 1
    assert words in done.stderr
    assert "Traceback" not in done.output


def test_a_stopped_training_says_that_the_same_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = LoraResult(tmp_path / "d.safetensors", "SDXL", 6, {"open": 6}, 40, 90.0, 0.2, 0.1, stopped=True)
    monkeypatch.setattr("generator.lora.train.train_lora", lambda *_, **__: stopped)
    done = run(tmp_path, "--base", "b", "-o", "d.safetensors")
    assert done.exit_code == 130
    assert "the same command goes on from there" in done.stdout
