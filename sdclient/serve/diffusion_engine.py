"""A saved diffusion model as an engine, and the class that a prompt names.

The model understands its own classes and no other words, so a prompt is searched for a class name:

1. The first piece between commas that equals a class name counts.
2. Otherwise a class name that occurs in the prompt as whole words; of several the longest, then the first.
3. Otherwise there is no class, and images of any class are made.

Upper and lower case are equal, and so are space, hyphen and underscore. Weights like "(open:1.2)" and tags like
"<lora:name:1>" are removed first.
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

_RESERVED = re.compile(r"[\s\[\](),:]+")
"""Characters that have a meaning in model titles and infotexts."""
_NO_CLASS = "none"
_FINGERPRINT_DIGITS = 10
_NOISE_SEED_LIMIT = 2**63
_SECOND_PASS = 0x9E3779B9
"""Added to the seed of a second pass; torch's generator on the CPU uses only the lowest 32 bits."""


def load_engine(folder: Path, *, device: str = "auto", threads: int | None = None) -> DiffusionEngine:
    """The engine of a model that `generator train` saved, on the device "auto", "cpu" or "cuda".

    `threads` are the CPU threads of torch; None leaves torch's own choice.

    Raises:
        ModelFileError: the model cannot be used.
        SettingsError: there is no such device.
        MissingExtra: diffusers is not installed.
    """
    # The sampler DPM++ SDE needs torchsde; a missing package is reported at the start, not at the first request.
    import_diffusers("'sdclient serve --engine diffusion'", also=("torchsde",))
    model = load_model(folder)
    if device == "cuda" and not torch.cuda.is_available():
        advice = "use --device cpu, or install a torch built for your GPU"
        raise SettingsError(f"--device cuda: torch {torch.__version__} sees no such device here; {advice}")
    chosen = "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
    return DiffusionEngine(model, device=torch.device(chosen), threads=threads)


class DiffusionEngine:
    """Adds noise to an image by the denoising strength, then denoises it as an image of the prompt's class.

    After SDEdit (Meng et al. 2021). Without an image it starts from pure noise.
    """

    catalogue = CATALOGUE

    def __init__(self, model: DiffusionModel, *, device: torch.device, threads: int | None = None) -> None:
        self._saved, self._device, self._threads = model, device, threads
        # With channels last, convolutions are faster: on a CPU by 15 to 30 % for batches of 1 to 8.
        self._network = model.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.size_px = model.size_px
        shown = _RESERVED.sub("-", model.folder.resolve().name)
        self.name = f"diffusion model {shown!r} of own pictures, not Stable Diffusion"
        # From this name a client guesses the native size, and that this server is no WebUI.
        name = f"{shown}-{model.size_px}px-{NOT_STABLE_DIFFUSION}"
        self.model = ModelCard(name, model.sha256, str(model.folder / UNET_WEIGHTS))
        colour = "grey" if model.channels == 1 else "colour"
        self.notice = (
            f"This is NOT Stable Diffusion: a diffusion model trained on {model.images} of your own {colour} pictures "
            f"at {model.size_px} px. A prompt chooses one of its classes by name ({', '.join(model.classes)}) and "
            "nothing else."
        )

    def describe_recipe(self, recipe: GenerationRecipe) -> Mapping[str, Any]:
        """The classes read from the prompts, and a fingerprint of the images that the model was trained on."""
        label, negative = self._labels(recipe)
        parameters: dict[str, Any] = {"Class": self._class_name(label)}
        if negative != self._saved.no_class:
            parameters["Negative class"] = self._class_name(negative)
        if self._saved.fingerprint:
            parameters["Trained on"] = self._saved.fingerprint[:_FINGERPRINT_DIGITS]
        return parameters

    def generate(
        self, tasks: Sequence[ImageTask], recipe: GenerationRecipe, monitor: StepMonitor
    ) -> Iterator[Image.Image]:
        """The images of a batch; if the monitor stops it, as they are at the step reached.

        Raises:
            RuntimeError: out of memory, or the model computed NaN; with the message of a WebUI.
        """
        size = self._working_size(recipe.size)
        with self._running():
            latents = self._sample(tasks, recipe, size, monitor)
            if not bool(torch.isfinite(latents).all()):
                raise RuntimeError("A tensor with all NaNs was produced in Unet.")
            images = [self._saved.codec.decode_image(one) for one in latents]
        for image in images:
            yield image if image.size == recipe.size else image.resize(recipe.size, Image.Resampling.LANCZOS)

    def _sample(
        self, tasks: Sequence[ImageTask], recipe: GenerationRecipe, size: tuple[int, int], monitor: StepMonitor
    ) -> torch.Tensor:
        """Latents of the denoised images, (N, C, h, w)."""
        saved, packing = self._saved, self._saved.codec.packing
        shape = (len(saved.codec.mean) * packing**2, size[1] // packing, size[0] // packing)
        seeds = [_noise_seed(task.seed) for task in tasks]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        pairs = zip(tasks, generators, strict=True)
        noise = torch.stack([_first_noise(task.seed, generator, shape) for task, generator in pairs]).to(self._device)
        sampling = make_sampling(
            saved.schedule,
            sampler=recipe.sampler,
            schedule=recipe.schedule,
            steps=recipe.steps,
            schedule_steps=recipe.schedule_steps,
            seeds=seeds,
            like=noise,
        )
        starts = [task.start for task in tasks]
        if starts[0] is None:
            noisy, keep = noise * sampling.scheduler.init_noise_sigma, None
        else:
            clean = torch.stack(
                [saved.codec.encode_image(_resized(start, size)) for start in starts if start is not None]
            ).to(self._device)
            keep = self._kept_region(tasks, clean, size)
            scheduler, begin = sampling.scheduler, sampling.scheduler.timesteps[sampling.first : sampling.first + 1]
            noisy = scheduler.add_noise(clean, noise, begin)
        label, negative = self._labels(recipe)
        denoiser = Denoiser(
            self._network,
            saved.schedule,
            tile=saved.size_px // packing,
            label=label,
            negative=negative,
            guidance=recipe.cfg_scale,
            keep=keep,
        )
        return self._denoise(denoiser, sampling, noisy, generators, monitor)

    def _denoise(
        self,
        denoiser: Denoiser,
        sampling: Sampling,
        noisy: torch.Tensor,
        generators: list[torch.Generator],
        monitor: StepMonitor,
    ) -> torch.Tensor:
        scheduler = sampling.scheduler
        noise = {"generator": generators} if sampling.draws_noise else {}
        for calls, time in enumerate(scheduler.timesteps[sampling.first :], start=1):
            seen = scheduler.scale_model_input(noisy, time).to(torch.float32)
            velocity = denoiser.velocity(seen.contiguous(memory_format=torch.channels_last), time)
            noisy = scheduler.step(velocity, time, noisy, **noise).prev_sample
            monitor.step(sampling.steps_done(calls))
            if monitor.is_stopped and denoiser.clean is not None:
                return denoiser.clean
        return noisy

    def _kept_region(self, tasks: Sequence[ImageTask], clean: torch.Tensor, size: tuple[int, int]) -> KeptRegion | None:
        """The region that the tasks' masks keep; None without masks."""
        if all(task.change_mask is None for task in tasks):
            return None
        everywhere = Image.new("L", size, 255)
        masks = [everywhere if task.change_mask is None else _resized(task.change_mask, size) for task in tasks]
        return KeptRegion(clean, torch.stack([self._saved.codec.encode_mask(mask) for mask in masks]).to(self._device))

    def _labels(self, recipe: GenerationRecipe) -> tuple[int, int]:
        """Labels of the class to make and of the class to guide away from."""
        saved, prompts = self._saved, (recipe.prompt, recipe.negative_prompt)
        wanted, unwanted = (class_in_prompt(prompt, saved.classes) for prompt in prompts)
        return (saved.no_class if wanted is None else wanted, saved.no_class if unwanted is None else unwanted)

    def _class_name(self, label: int) -> str:
        return _NO_CLASS if label == self._saved.no_class else self._saved.classes[label]

    def _working_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) to sample at: the requested size, enlarged until a tile fits, in whole latent pixels."""
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
            torch.cuda.empty_cache()  # frees what the failed batch held, or the next one would fail too
            raise
        finally:
            torch.set_num_threads(before)


def _noise_seed(seed: ImageSeed) -> int:
    return (seed.seed + seed.is_second_pass * _SECOND_PASS) % _NOISE_SEED_LIMIT


def _first_noise(seed: ImageSeed, generator: torch.Generator, shape: tuple[int, ...]) -> torch.Tensor:
    """Noise of the seed, interpolated towards that of the subseed by the variation strength, as in a WebUI."""
    noise = torch.randn(shape, generator=generator)
    if not seed.variation:
        return noise
    other = torch.randn(shape, generator=torch.Generator().manual_seed(seed.subseed % _NOISE_SEED_LIMIT))
    return _slerp(noise, other, seed.variation)


def _slerp(one: torch.Tensor, other: torch.Tensor, share: float) -> torch.Tensor:
    """Spherical interpolation (Shoemake 1985), which keeps the norm of the noise."""
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
    """Index of the class that a prompt names, or None; the module docstring has the rules."""
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
    """A pattern that finds the name as a whole word; between Chinese characters there need be no space."""
    before = r"(?<![a-z0-9])" if re.match(r"[a-z0-9]", name) else ""
    after = r"(?![a-z0-9])" if re.search(r"[a-z0-9]$", name) else ""
    return f"{before}{re.escape(name)}{after}"
