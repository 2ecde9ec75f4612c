"""The base model and its tokenizer's vocabulary.

The vocabulary comes in two forms: `vocab.json` and `merges.txt` (in a diffusers folder, or in transformers' cache,
which an A1111 WebUI fills at its first start), and OpenAI's `bpe_simple_vocab_16e6.txt.gz` in the packages
`open_clip_torch` and `clip`, which every A1111 WebUI has in its own environment.
"""

import gzip
import importlib
import importlib.util
import json
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from sdcore.files import read_json, sha256_of
from sdcore.optional_imports import import_diffusers

from ..errors import ModelError
from .families import BaseDescription, Family, describe_base, model_index

Prediction = Literal["epsilon", "v_prediction"]


@dataclass(eq=False)
class LoadedBase:
    """A loaded base model with frozen weights."""

    name: str
    """Name of its file or folder."""
    sha256: str
    """Of its file; for a folder, of the UNet's file."""
    family: Family
    unet: Any
    vae: Any
    text_encoders: tuple[Any, ...]
    """One, or two for SDXL."""
    tokenizers: tuple[Any, ...]
    """One for each text encoder."""
    schedule: Any
    """Diffusers' `DDPMScheduler` with the noise levels on which the model was trained."""

    @property
    def prediction(self) -> Prediction:
        """What the UNet predicts: the noise or the velocity."""
        prediction: Prediction = self.schedule.config.prediction_type
        return prediction


def load_base(
    path: Path,
    *,
    tokenizer: Path | None = None,
    config: Path | None = None,
    prediction: Prediction | None = None,
    dtype: torch.dtype = torch.float32,
) -> LoadedBase:
    """Load a base model from disk; nothing is downloaded.

    Args:
        path: a checkpoint in one .safetensors file, or a diffusers folder.
        tokenizer: place of the text encoder's vocabulary, for a checkpoint in one file; see `find_vocabulary`.
        config: a diffusers folder with the architecture of a checkpoint in one file, if it is not the usual one; its
            weights are not read and may be missing.
        prediction: what the UNet predicts, if the base model declares it wrongly.

    Raises:
        ModelError: the base is missing, a pickle, another kind of model or damaged; or the vocabulary is missing.
    """
    description = describe_base(path)
    import_diffusers()
    with warnings.catch_warnings(), explain_errors(path):
        warnings.simplefilter("ignore")  # about versions of other packages; failures raise
        if description.is_folder:
            parts = _load_folder(path, dtype)
        else:
            parts = _load_file(path, description, tokenizer, config, dtype)
    numbers = ("", "_2") if description.family.is_sdxl else ("",)
    encoders = tuple(parts[f"text_encoder{number}"] for number in numbers)
    tokenizers = tuple(parts[f"tokenizer{number}"] for number in numbers)
    for module in (parts["unet"], parts["vae"], *encoders):
        module.requires_grad_(False).eval()
    return LoadedBase(
        name=path.stem if path.is_file() else path.resolve().name,
        sha256=sha256_of(path if path.is_file() else sorted((path / "unet").glob("*.safetensors"))[0]),
        family=description.family,
        unet=parts["unet"],
        vae=parts["vae"],
        text_encoders=encoders,
        tokenizers=tokenizers,
        schedule=_schedule(parts["scheduler"], description, prediction),
    )


def _load_file(
    path: Path, description: BaseDescription, tokenizer: Path | None, config: Path | None, dtype: torch.dtype
) -> dict[str, Any]:
    diffusers = import_diffusers()
    family = description.family
    if config is None and not family.components:
        raise ModelError(
            f"--base {path}: a {family.name} in one file does not say which of its variants it is; give it as a "
            "diffusers folder, or its folder of configurations with --base-config"
        )
    pipeline = diffusers.StableDiffusionXLPipeline if family.is_sdxl else diffusers.StableDiffusionPipeline
    with tempfile.TemporaryDirectory(prefix="generator-base-") as temporary:
        folder = config or _write_configuration(Path(temporary), family, tokenizer)
        loaded = pipeline.from_single_file(str(path), config=str(folder), local_files_only=True, torch_dtype=dtype)
    parts: dict[str, Any] = loaded.components
    return parts


def _write_configuration(folder: Path, family: Family, tokenizer: Path | None) -> Path:
    """A diffusers folder without weights, from which diffusers builds the networks."""
    vocabulary = find_vocabulary(tokenizer)
    (folder / "model_index.json").write_text(json.dumps(model_index(family)), encoding="utf-8")
    for name, values in family.components.items():
        (folder / name).mkdir()
        file = "scheduler_config.json" if name == "scheduler" else "config.json"
        (folder / name / file).write_text(json.dumps(values), encoding="utf-8")
    vocabulary.write(folder / "tokenizer", pad_token=_END)
    if family.is_sdxl:
        vocabulary.write(folder / "tokenizer_2", pad_token="!")  # noqa: S106 - a token of a text
    return folder


def _load_folder(path: Path, dtype: torch.dtype) -> dict[str, Any]:
    """Load each part by itself, because a folder may name a safety checker, which is not needed."""
    diffusers, transformers = import_diffusers(), importlib.import_module("transformers")
    kinds = {
        "unet": diffusers.UNet2DConditionModel,
        "vae": diffusers.AutoencoderKL,
        "text_encoder": transformers.CLIPTextModel,
        "text_encoder_2": transformers.CLIPTextModelWithProjection,
    }
    index = read_json(path / "model_index.json")
    parts: dict[str, Any] = {}
    for name in ("unet", "vae", *(name for name in ("text_encoder", "text_encoder_2") if name in index)):
        folder = path / name
        parts[name] = kinds[name].from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, torch_dtype=dtype, variant=_variant(folder)
        )
        if name.startswith("text_encoder"):
            tokens = path / name.replace("text_encoder", "tokenizer")
            parts[tokens.name] = transformers.CLIPTokenizer.from_pretrained(str(tokens), local_files_only=True)
    parts["scheduler"] = diffusers.DDPMScheduler.from_pretrained(str(path / "scheduler"), local_files_only=True)
    return parts


def _variant(folder: Path) -> str | None:
    """The variant in the names of the weights, as `fp16` in `model.fp16.safetensors`; None if any file has none."""
    names = [file.name.split(".") for file in folder.glob("*.safetensors")]
    return None if any(len(parts) == 2 for parts in names) else names[0][1]


def _schedule(loaded: Any, description: BaseDescription, prediction: Prediction | None) -> Any:
    diffusers = import_diffusers()
    declared: Prediction = "v_prediction" if description.predicts_v else "epsilon"
    # The noise levels of the base model, without the settings that are only for sampling.
    names = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    levels = {name: loaded.config[name] for name in names if name in loaded.config}
    return diffusers.DDPMScheduler(
        **levels, clip_sample=False, prediction_type=prediction or declared, rescale_betas_zero_snr=description.zero_snr
    )


@contextmanager
def explain_errors(path: Path) -> Iterator[None]:
    """Turn errors of other packages about a base model into a `ModelError` of one line."""
    try:
        yield
    except ModelError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        words = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise ModelError(f"--base {path}: cannot be loaded ({words}); copy or download it again") from error


BPE_FILE = "bpe_simple_vocab_16e6.txt.gz"
VOCABULARY_FILES = ("vocab.json", "merges.txt")
_HUB_NAME = "openai/clip-vit-large-patch14"
_PACKAGES = ("open_clip", "clip")
_TOKENS = 49408
_MERGES = _TOKENS - 2 * 256 - 2
"""All tokens except the bytes, the bytes at the end of a word, and the start and end tokens."""
_START, _END = "<|startoftext|>", "<|endoftext|>"
_ADVICE = (
    "give --tokenizer a diffusers folder, the WebUI's folder, or a folder with vocab.json and merges.txt; "
    "or 'pip install --no-deps open_clip_torch', which contains it"
)


@dataclass(frozen=True)
class Vocabulary:
    """CLIP's vocabulary in the files that transformers reads."""

    vocab_json: str
    merges_txt: str

    def write(self, folder: Path, *, pad_token: str) -> None:
        """Write the files of a tokenizer; the padding is "!" for SDXL's second encoder, else the end token."""
        folder.mkdir(parents=True, exist_ok=True)
        special = {"bos_token": _START, "eos_token": _END, "unk_token": _END, "pad_token": pad_token}
        settings = {**special, "model_max_length": 77, "do_lower_case": True, "tokenizer_class": "CLIPTokenizer"}
        (folder / "vocab.json").write_text(self.vocab_json, encoding="utf-8")
        (folder / "merges.txt").write_text(self.merges_txt, encoding="utf-8", newline="\n")
        (folder / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def find_vocabulary(given: Path | None = None) -> Vocabulary:
    """CLIP's vocabulary from the given place, or else from an installed package, or else from transformers' cache.

    Raises:
        ModelError: it is not found; the message says what to do.
    """
    if given is not None:
        return _read(_below(given), given)
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)  # finds the package without importing it
        for place in (spec.submodule_search_locations or ()) if spec else ():
            file = Path(place) / BPE_FILE
            if file.is_file():
                return _read(file, file)
    cached = _in_cache()
    if cached is not None:
        return _read(cached, cached)
    raise ModelError(f"a checkpoint in one file does not hold the vocabulary of its text encoder; {_ADVICE}")


def _below(given: Path) -> Path:
    """The file or folder with the vocabulary, at or below the given path."""
    if given.is_file() and given.name.endswith(".gz"):
        return given
    for folder in (given, given / "tokenizer"):
        if all((folder / name).is_file() for name in VOCABULARY_FILES):
            return folder
    found = sorted(given.rglob(BPE_FILE)) if given.is_dir() else []
    if found:
        return found[0]
    raise ModelError(f"--tokenizer {given}: found neither vocab.json with merges.txt nor {BPE_FILE} there; {_ADVICE}")


def _in_cache() -> Path | None:
    hub = importlib.import_module("huggingface_hub")
    files = [hub.try_to_load_from_cache(_HUB_NAME, name) for name in VOCABULARY_FILES]
    return Path(str(files[0])).parent if all(isinstance(file, str) for file in files) else None


def _read(place: Path, named: Path) -> Vocabulary:
    try:
        if place.is_dir():
            vocab, merges = ((place / name).read_text(encoding="utf-8") for name in VOCABULARY_FILES)
            if not isinstance(json.loads(vocab), dict):
                raise ValueError("vocab.json holds no table")
            return Vocabulary(vocab, merges)
        return from_bpe(gzip.decompress(place.read_bytes()).decode("utf-8"))
    except (OSError, EOFError, ValueError) as error:
        raise ModelError(f"{named}: the tokenizer's vocabulary cannot be read ({error}); {_ADVICE}") from error


def from_bpe(text: str) -> Vocabulary:
    """The vocabulary from OpenAI's list of merges.

    The tokens are, in this order: a character for each byte, the same characters at the end of a word, the merges in
    the order of the list, and the start and end tokens (openai/CLIP, clip/simple_tokenizer.py).

    Raises:
        ValueError: the list is too short.
    """
    header, *lines = text.split("\n")
    merges = lines[:_MERGES]
    if len(merges) < _MERGES or any(len(line.split()) != 2 for line in merges):
        raise ValueError(f"expected {_MERGES} merges of two parts")
    signs = _byte_signs()
    tokens = [*signs, *(f"{sign}</w>" for sign in signs), *("".join(line.split()) for line in merges), _START, _END]
    vocab = {token: number for number, token in enumerate(tokens)}
    return Vocabulary(json.dumps(vocab, ensure_ascii=False), "\n".join([header, *merges]) + "\n")


def _byte_signs() -> list[str]:
    """A visible character for each byte: the byte itself if visible, or else the next free one from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(code) for code in (*visible, *range(0x100, 0x200 - len(visible)))]
