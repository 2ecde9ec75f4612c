"""A saved diffusion model as an engine; the class a prompt means.

A model of the user's own classes knows no other words, so a prompt is searched for one of their names:

1. A piece between commas that is a class's name as a whole wins; the first such piece.
2. Otherwise a name that stands in the prompt as words wins; of several the longest, of equally long ones the first.
3. Otherwise there is no class, and pictures of any are made.

Upper and lower case, and space, hyphen and underscore, are alike. Weights like "(open:1.2)" and tags like
"<lora:name:1>" are taken off first.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from sdcore.diffusion_model import UNET_WEIGHTS, DiffusionModel, load_model
from sdcore.optional_imports import import_diffusers

from ..errors import SettingsError
from ..manifest.database import NOT_STABLE_DIFFUSION
from .denoiser import CATALOGUE, Denoiser, KeptRegion, Sampling, make_sampling
from .engine import GenerationRecipe, ImageSeed, ImageTask, ModelCard, StepMonitor

_AWKWARD = re.compile(r"[\s\[\](),:]+")
"""What has a meaning of its own in model titles and infotexts."""
_NO_CLASS = "none"
_FINGERPRINT_DIGITS = 10
_NOISE_SEED_LIMIT = 2**63
_SECOND_PASS = 0x9E3779B9
"""Added to the seed of a second pass; torch's generator on the CPU heeds the lowest 32 bits alone."""


def load_engine(folder: Path, *, device: str = "auto", threads: int | None = None) -> DiffusionEngine:
    """The engine of a saved model.

    Args:
        folder: that `generator train` wrote.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads of torch; None leaves torch's own choice.

    Raises:
        ModelFileError: the model cannot be used.
        SettingsError: there is no such device.
        MissingExtra: diffusers is not installed.
    """
    # The sampler DPM++ SDE needs torchsde; a missing part is told now, not by the first request.
    import_diffusers("'sdclient serve --engine diffusion'", also=("torchsde",))
    model = load_model(folder)
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingsError(
            f"--device cuda: torch {torch.__version__} sees no such device here; use --device cpu, or install a torch "
            "built for your GPU"
        )
    chosen = "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
    return DiffusionEngine(model, device=torch.device(chosen), threads=threads)


class DiffusionEngine:
    """Noises a picture as far as the denoising strength says, then cleans it as a picture of the prompt's class.

    (SDEdit, Meng et al. 2021.) Without a picture it starts from noise alone.

    Args:
        model: as `load_model` gives it.
        device: where it runs.
        threads: CPU threads of torch while it runs; None leaves torch's own choice.
    """

    catalogue = CATALOGUE

    def __init__(self, model: DiffusionModel, *, device: torch.device, threads: int | None = None) -> None:
        self._saved, self._device, self._threads = model, device, threads
        # The order in memory in which convolutions are faster, on a CPU by 15 to 30 % for batches of 1 to 8.
        self._network = model.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.size_px = model.size_px
        shown = _AWKWARD.sub("-", model.folder.resolve().name)
        self.name = f"diffusion model {shown!r} of own pictures, not Stable Diffusion"
        # A client guesses the native size, and tells this server from a WebUI, by the name.
        name = f"{shown}-{model.size_px}px-{NOT_STABLE_DIFFUSION}"
        self.model = ModelCard(name, model.sha256, str(model.folder / UNET_WEIGHTS))
        colour = "grey" if model.channels == 1 else "colour"
        self.notice = (
            f"This is NOT Stable Diffusion: a diffusion model trained on {model.images} of your own {colour} pictures "
            f"at {model.size_px} px. A prompt chooses one of its classes by name ({', '.join(model.classes)}) and "
            "nothing else."
        )

    def told(self, recipe: GenerationRecipe) -> Mapping[str, Any]:
        """The classes that the prompts were taken for, and which pictures the model learned from."""
        label, against = self._labels(recipe)
        told: dict[str, Any] = {"Class": self._named(label)}
        if against != self._saved.no_class:
            told["Negative class"] = self._named(against)
        if self._saved.fingerprint:
            told["Trained on"] = self._saved.fingerprint[:_FINGERPRINT_DIGITS]
        return told

    def paint(
        self, pictures: Sequence[ImageTask], recipe: GenerationRecipe, walk: StepMonitor
    ) -> Iterator[Image.Image]:
        """The pictures of a batch; told to stop, as they are at the step it has reached.

        Raises:
            RuntimeError: out of memory, or the model computed not-a-number; in the words a WebUI fails with.
        """
        size = self._working_size(recipe.size)
        with self._running():
            made = self._sample(pictures, recipe, size, walk)
            if not bool(torch.isfinite(made).all()):
                raise RuntimeError("A tensor with all NaNs was produced in Unet.")
            images = [self._saved.codec.decode_image(one) for one in made]
        for image in images:
            yield image if image.size == recipe.size else image.resize(recipe.size, Image.Resampling.LANCZOS)

    def _sample(
        self, pictures: Sequence[ImageTask], recipe: GenerationRecipe, size: tuple[int, int], walk: StepMonitor
    ) -> torch.Tensor:
        """Clean pictures as the network sees them, (N, C, h, w)."""
        places = (size[1] // self._saved.codec.packing, size[0] // self._saved.codec.packing)
        shape = (len(self._saved.codec.mean) * self._saved.codec.packing**2, *places)
        generators = [torch.Generator().manual_seed(_noise_seed(picture.seed)) for picture in pictures]
        noise = torch.stack(
            [
                _first_noise(picture.seed, generator, shape)
                for picture, generator in zip(pictures, generators, strict=True)
            ]
        ).to(self._device)
        sampling = make_sampling(
            self._saved.schedule,
            sampler=recipe.sampler,
            schedule=recipe.schedule,
            steps=recipe.steps,
            schedule_steps=recipe.schedule_steps,
            seeds=[_noise_seed(picture.seed) for picture in pictures],
            like=noise,
        )
        starts = [picture.start for picture in pictures]
        if starts[0] is None:
            noisy, keep = noise * sampling.scheduler.init_noise_sigma, None
        else:
            clean = torch.stack([self._encode(start, size) for start in starts if start is not None]).to(self._device)
            keep = self._keep(pictures, clean, size)
            scheduler, begin = sampling.scheduler, sampling.scheduler.timesteps[sampling.first : sampling.first + 1]
            noisy = scheduler.add_noise(clean, noise, begin)
        label, against = self._labels(recipe)
        denoiser = Denoiser(
            self._network,
            self._saved.schedule,
            tile=self._saved.size_px // self._saved.codec.packing,
            label=label,
            against=against,
            guidance=recipe.cfg_scale,
            keep=keep,
        )
        return self._walk_down(denoiser, sampling, noisy, generators, walk)

    def _walk_down(
        self,
        denoiser: Denoiser,
        sampling: Sampling,
        noisy: torch.Tensor,
        generators: list[torch.Generator],
        walk: StepMonitor,
    ) -> torch.Tensor:
        scheduler = sampling.scheduler
        noise = {"generator": generators} if sampling.draws_noise else {}
        for calls, time in enumerate(scheduler.timesteps[sampling.first :], start=1):
            seen = scheduler.scale_model_input(noisy, time).to(torch.float32)
            velocity = denoiser.velocity(seen.contiguous(memory_format=torch.channels_last), time)
            noisy = scheduler.step(velocity, time, noisy, **noise).prev_sample
            walk.step(sampling.steps_done(calls))
            if walk.is_stopped and denoiser.clean is not None:
                return denoiser.clean
        return noisy

    def _keep(self, pictures: Sequence[ImageTask], clean: torch.Tensor, size: tuple[int, int]) -> KeptRegion | None:
        """What the pictures' masks say must stay; None without masks."""
        if all(picture.where is None for picture in pictures):
            return None
        everywhere = Image.new("L", size, 255)
        shares = [
            self._saved.codec.encode_mask(_resized(picture.where, size) if picture.where is not None else everywhere)
            for picture in pictures
        ]
        return KeptRegion(clean, torch.stack(shares).to(self._device))

    def _encode(self, image: Image.Image, size: tuple[int, int]) -> torch.Tensor:
        return self._saved.codec.encode_image(_resized(image, size))

    def _labels(self, recipe: GenerationRecipe) -> tuple[int, int]:
        """Labels of the class to make and of the one to lead away from."""
        saved = self._saved
        wanted = class_in_prompt(recipe.prompt, saved.classes)
        unwanted = class_in_prompt(recipe.negative_prompt, saved.classes)
        return (
            saved.no_class if wanted is None else wanted,
            saved.no_class if unwanted is None else unwanted,
        )

    def _named(self, label: int) -> str:
        return _NO_CLASS if label == self._saved.no_class else self._saved.classes[label]

    def _working_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) to sample at: the size asked, enlarged until a tile fits, in whole places."""
        packing, factor = self._saved.codec.packing, max(1.0, self._saved.size_px / min(size))
        width, height = (max(self._saved.size_px, math.ceil(side * factor / packing) * packing) for side in size)
        return width, height

    @contextmanager
    def _running(self) -> Iterator[None]:
        before = torch.get_num_threads()
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                yield
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()  # what the failed batch held, or the next one would fail too
            raise
        finally:
            torch.set_num_threads(before)


def _noise_seed(seed: ImageSeed) -> int:
    return (seed.seed + seed.is_second_pass * _SECOND_PASS) % _NOISE_SEED_LIMIT


def _first_noise(seed: ImageSeed, generator: torch.Generator, shape: tuple[int, ...]) -> torch.Tensor:
    """Noise of the seed, turned towards that of the subseed by the variation, as in a WebUI."""
    noise = torch.randn(shape, generator=generator)
    if not seed.variation:
        return noise
    other = torch.randn(shape, generator=torch.Generator().manual_seed(seed.subseed % _NOISE_SEED_LIMIT))
    return _slerp(noise, other, seed.variation)


def _slerp(one: torch.Tensor, other: torch.Tensor, share: float) -> torch.Tensor:
    """Spherical interpolation (Shoemake 1985), which keeps the length that noise has."""
    cosine = torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0).clamp(-1, 1)
    angle = torch.arccos(cosine)
    if float(torch.sin(angle)) < 1e-6:
        return torch.lerp(one, other, share)
    return (torch.sin((1 - share) * angle) * one + torch.sin(share * angle) * other) / torch.sin(angle)


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


_TAG = re.compile(r"<[^<>]*>")
_WEIGHT = re.compile(r":\s*[0-9.]+\s*(?=[)\]])")
_BRACKETS = re.compile(r"[()\[\]{}]")
_GAPS = re.compile(r"[\s_-]+")
_ENDS = re.compile(r"[,，、;；\n]|\bBREAK\b")


def class_in_prompt(prompt: str, classes: Sequence[str]) -> int | None:
    """Index of the class that a prompt names, or None.

    Args:
        prompt: as the client sent it.
        classes: names, in the order of the model's labels.
    """
    bare = _BRACKETS.sub(" ", _WEIGHT.sub("", _TAG.sub(" ", prompt)))
    names = [_plain(name) for name in classes]
    for piece in _ENDS.split(bare):
        if (plain := _plain(piece)) in names and plain:
            return names.index(plain)
    text = _plain(bare)
    found = [
        (-len(name), match.start(), index)
        for index, name in enumerate(names)
        if name and (match := re.search(_as_words(name), text))
    ]
    return min(found)[2] if found else None


def _plain(text: str) -> str:
    return _GAPS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _as_words(name: str) -> str:
    """A pattern for the name, not inside another word; Chinese is written without gaps, so there it may be."""
    before = r"(?<![a-z0-9])" if re.match(r"[a-z0-9]", name) else ""
    after = r"(?![a-z0-9])" if re.search(r"[a-z0-9]$", name) else ""
    return f"{before}{re.escape(name)}{after}"
