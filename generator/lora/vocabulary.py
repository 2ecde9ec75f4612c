"""The vocabulary of CLIP's tokenizer, found on this machine: a checkpoint in one file does not hold it.

It comes in two forms: `vocab.json` and `merges.txt` (a diffusers folder, or what transformers keeps in its cache,
where an A1111 WebUI that has run once left it), and OpenAI's `bpe_simple_vocab_16e6.txt.gz`, which lies in the
packages `open_clip_torch` and `clip`, both of them part of every A1111 WebUI's own environment.
"""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError

BPE_FILE = "bpe_simple_vocab_16e6.txt.gz"
VOCABULARY_FILES = ("vocab.json", "merges.txt")
_HUB_NAME = "openai/clip-vit-large-patch14"
_PACKAGES = ("open_clip", "clip")
_TOKENS = 49408
_MERGES = _TOKENS - 2 * 256 - 2
"""What remains beside the bytes, the bytes that end a word, and the two marks of a text's ends."""
_START, _END = "<|startoftext|>", "<|endoftext|>"
_ADVICE = (
    "give --tokenizer a diffusers folder, the WebUI's folder, or a folder with vocab.json and merges.txt; "
    "or 'pip install --no-deps open_clip_torch', which brings it"
)


@dataclass(frozen=True)
class Vocabulary:
    """CLIP's vocabulary in the form that transformers reads."""

    vocab_json: str
    merges_txt: str

    def write(self, folder: Path, *, pad_token: str) -> None:
        """Put a tokenizer's files into a folder.

        Args:
            folder: is made when missing.
            pad_token: what short texts are filled up with; SDXL's second encoder has "!", the others the end mark.
        """
        folder.mkdir(parents=True, exist_ok=True)
        special = {"bos_token": _START, "eos_token": _END, "unk_token": _END, "pad_token": pad_token}
        settings = {**special, "model_max_length": 77, "do_lower_case": True, "tokenizer_class": "CLIPTokenizer"}
        (folder / "vocab.json").write_text(self.vocab_json, encoding="utf-8")
        (folder / "merges.txt").write_text(self.merges_txt, encoding="utf-8", newline="\n")
        (folder / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def find_vocabulary(given: Path | None = None) -> Vocabulary:
    """CLIP's vocabulary from where the user says, else from an installed package or transformers' cache.

    Raises:
        ModelError: it is nowhere; says what helps.
    """
    if given is not None:
        return _read(_below(given), given)
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)  # finds it without running it
        for place in (spec.submodule_search_locations or ()) if spec else ():
            file = Path(place) / BPE_FILE
            if file.is_file():
                return _read(file, file)
    cached = _in_cache()
    if cached is not None:
        return _read(cached, cached)
    raise ModelError(f"a checkpoint in one file does not hold the vocabulary of its text encoder; {_ADVICE}")


def _below(given: Path) -> Path:
    """The file or folder that holds the vocabulary, in a place that the user named."""
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
    """The vocabulary out of OpenAI's list of merges.

    Its tokens are, in this order: a sign for each byte, the same ending a word, the merges in the order of the list,
    and the marks of a text's start and end (openai/CLIP, clip/simple_tokenizer.py).

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
    """A visible sign for each of the 256 bytes: itself where it is one, else the next free one from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = 256 - len(visible)
    return [chr(code) for code in (*visible, *range(0x100, 0x100 + others))]
