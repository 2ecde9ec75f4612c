"""A generating call from body to reply, and the reply info."""

from __future__ import annotations

import json
import math
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from PIL import Image

from ..infotext import ENGINE_KEY, Infotext
from ..loras import HASH_LABEL, HASH_OPTION, loras_in
from .bodies import encode_image
from .engine import VERSION, Choice, Engine, GenerationRecipe, ImageSeed, ModelCard, StepMonitor
from .jobs import JobBoard, JobSteps
from .listings import check_scripts, lora_hash
from .parameters import Seeds, ServerOptions, resolve_seeds

_CFG_SCALE = 7.0
"""The WebUI's own, where a request says null."""


@dataclass(frozen=True)
class BatchTime:
    """What a batch takes at least, in seconds."""

    batch_s: float = 0.0
    image_s: float = 0.0
    """What each of its images adds."""

    def of(self, images: int) -> float:
        """For a batch of so many images."""
        return self.batch_s + images * self.image_s


@dataclass(frozen=True)
class PreparedCall:
    """A request made ready: what is left is to draw its images."""

    steps: int
    """Sampling steps of a batch."""
    batch: int
    """Images of a batch."""
    words: Mapping[str, Any]
    """What the reply tells beside sampler and schedule."""
    draw: Callable[[Sequence[ImageSeed], StepMonitor], Iterable[Image.Image]]
    """Makes the images of a batch, given what fixes each."""


@dataclass(frozen=True)
class _Made:
    """What a job made."""

    pairs: Sequence[tuple[Image.Image, str]]
    """Images to send, with their infotexts."""
    info: Mapping[str, Any]


class GeneratingCall(ABC):
    """Runs requests of one call, one at a time.

    Args:
        painter: makes the pixels.
        settings: the server's options.
        board: the lock and the state that `/progress` shows.
        time: what a batch takes at least; real servers take seconds.
    """

    label: ClassVar[str]
    """The job's name in `/progress`."""

    def __init__(self, painter: Engine, settings: ServerOptions, board: JobBoard, *, time: BatchTime) -> None:
        self.painter = painter
        self.settings = settings
        self._board = board
        self._time = time

    def run(self, body: Any) -> dict[str, Any]:
        """The reply to a request.

        Raises:
            HTTPException: refused, in the WebUI's words.
            Exception: whatever the WebUI fails with on such a request.
        """
        checked = self.check(body)
        check_scripts(body.script_name, body.alwayson_scripts)
        choice = self.painter.catalogue.choose(body.sampler_name or body.sampler_index, body.scheduler)
        task = body.force_task_id or f"task({uuid.uuid4().hex})"
        self._board.tasks.add(task)
        with self._board.turn(count=max(body.n_iter, 1), label=self.label):
            inputs = self.read_inputs(body, checked)
            overrides = body.override_settings or {}
            restore = body.override_settings_restore_afterwards is not False
            with self._board.task(task), self.settings.overridden(overrides, restore=restore):
                made = self._generate(body, choice, inputs)
                options = self.settings.snapshot()
        # After its turn, as in the WebUI: the next job is worked on while this one's images are encoded.
        return {
            "images": [encode_image(image, text, options) for image, text in made.pairs],
            "parameters": self.echo(body),
            "info": json.dumps(made.info),
        }

    @abstractmethod
    def check(self, body: Any) -> Any:
        """Refuse what is refused before the request queues; gives what had to be decoded for that."""

    @abstractmethod
    def read_inputs(self, body: Any, checked: Any) -> Any:
        """Decode the other images of the request, now that it is its turn."""

    @abstractmethod
    def prepare(self, body: Any, inputs: Any, choice: Choice) -> PreparedCall:
        """Make the request ready under the options in force."""

    @abstractmethod
    def echo(self, body: Any) -> dict[str, Any]:
        """The reply's `parameters`."""

    def _generate(self, body: Any, choice: Choice, inputs: Any) -> _Made:
        if body.prompt is None:
            raise AssertionError
        seeds = resolve_seeds(body)
        work = self.prepare(body, inputs, choice)
        words = {**work.words, **lora_hashes(body.prompt, self.settings)}
        extra = extra_parameters(choice, words, self.painter.name)
        made = list(self._batches(body, work, seeds))
        about: dict[str, Any] = {"extra": extra, "settings": self.settings, "model": self.painter.model}
        infotexts = [build_infotext(body, choice, seeds, index, **about) for index in range(len(made))]
        first = 0
        if body.save_images and len(made) > 1 and self.settings["return_grid"]:
            made.insert(0, _grid(made))
            infotexts.insert(0, infotexts[0])
            first = 1
        info = build_info(
            body,
            choice,
            seeds,
            infotexts=infotexts,
            index_of_first_image=first,
            timestamp=self._board.timestamp,
            **about,
        )
        return _Made(list(zip(made, infotexts, strict=True)) if body.send_images else [], info)

    def _batches(self, body: Any, work: PreparedCall, seeds: Seeds) -> Iterator[Image.Image]:
        """The images of all batches; an interrupt lets the running batch end and starts no other."""
        for number in range(body.n_iter):
            if self._board.interrupted:
                return
            self._board.begin_batch(number, steps=work.steps)
            of_batch = [seeds.of(number * body.batch_size + place) for place in range(work.batch)]
            for image in work.draw(of_batch, JobSteps(self._board, work.steps, self._time.of(work.batch))):
                self._board.show(image)
                yield image


def make_recipe(
    body: Any, choice: Choice, *, size: tuple[int, int], strength: float, steps: int, schedule_steps: int
) -> GenerationRecipe:
    """What a request asks of the painter."""
    return GenerationRecipe(
        size=size,
        strength=strength,
        steps=steps,
        schedule_steps=schedule_steps,
        sampler=choice.sampler,
        schedule=choice.schedule,
        cfg_scale=body.cfg_scale if body.cfg_scale is not None else _CFG_SCALE,
        prompt=body.prompt or "",
        negative_prompt=body.negative_prompt or "",
    )


def _grid(images: list[Image.Image]) -> Image.Image:
    """All images in one, in rows."""
    rows = round(math.sqrt(len(images)))
    columns = math.ceil(len(images) / rows)
    width, height = images[0].size
    grid = Image.new("RGB", (columns * width, rows * height))
    for index, image in enumerate(images):
        grid.paste(image, (index % columns * width, index // columns * height))
    return grid


def extra_parameters(choice: Choice, words: Mapping[str, Any], engine_name: str) -> dict[str, Any]:
    """`extra_generation_params`: what the call itself tells, the schedule, and what made the pixels."""
    extra: dict[str, Any] = dict(words)
    if choice.schedule is not None:
        extra["Schedule type"] = choice.schedule
    return {**extra, ENGINE_KEY: engine_name}


def lora_hashes(prompt: str, settings: ServerOptions) -> dict[str, str]:
    """What is told of the LoRAs a prompt names; those that are not listed are left out without a word, as there."""
    used = [name for name in loras_in(prompt) if name in settings.loras]
    if not used or not settings[HASH_OPTION]:
        return {}
    return {HASH_LABEL: ", ".join(f"{name}: {lora_hash(name)[:12]}" for name in used)}


def build_infotext(
    body: Any,
    choice: Choice,
    seeds: Seeds,
    index: int,
    *,
    extra: Mapping[str, Any],
    settings: ServerOptions,
    model: ModelCard,
) -> str:
    """The text that image `index` carries, its settings in the WebUI's order."""
    told: dict[str, Any] = {
        "Steps": body.steps,
        "Sampler": choice.sampler,
        "Schedule type": choice.schedule or "Automatic",
        "CFG scale": body.cfg_scale,
        "Seed": seeds.all_seeds[index],
        "Size": f"{body.width}x{body.height}",
    }
    if settings["add_model_hash_to_info"]:
        told["Model hash"] = model.hash
    if settings["add_model_name_to_info"]:
        told["Model"] = model.name
    if seeds.subseed_strength:
        told["Variation seed"] = seeds.all_subseeds[index]
        told["Variation seed strength"] = seeds.subseed_strength
    if body.denoising_strength is not None:
        told["Denoising strength"] = body.denoising_strength
    if settings["CLIP_stop_at_last_layers"] > 1:
        told["Clip skip"] = settings["CLIP_stop_at_last_layers"]
    told.update(extra)
    if settings["add_version_to_infotext"]:
        told["Version"] = VERSION
    values = {key: str(value) for key, value in told.items()}
    return str(Infotext(body.prompt, body.negative_prompt or "", values))


def build_info(
    body: Any,
    choice: Choice,
    seeds: Seeds,
    *,
    extra: Mapping[str, Any],
    infotexts: list[str],
    index_of_first_image: int,
    timestamp: str,
    settings: ServerOptions,
    model: ModelCard,
) -> dict[str, Any]:
    """The `info` of a reply, every key of the genuine one. The seeds are those of the images asked for."""
    count = len(seeds.all_seeds)
    negative = body.negative_prompt or ""
    return {
        "prompt": body.prompt,
        "all_prompts": [body.prompt] * count,
        "negative_prompt": negative,
        "all_negative_prompts": [negative] * count,
        "seed": seeds.all_seeds[0],
        "all_seeds": seeds.all_seeds,
        "subseed": seeds.all_subseeds[0],
        "all_subseeds": seeds.all_subseeds,
        "subseed_strength": seeds.subseed_strength,
        "width": body.width,
        "height": body.height,
        "sampler_name": choice.sampler,
        "cfg_scale": body.cfg_scale,
        "steps": body.steps,
        "batch_size": body.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": model.name,
        "sd_model_hash": model.hash,
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": body.seed_resize_from_w,
        "seed_resize_from_h": body.seed_resize_from_h,
        "denoising_strength": body.denoising_strength,
        "extra_generation_params": dict(extra),
        "index_of_first_image": index_of_first_image,
        "infotexts": infotexts,
        "styles": body.styles or [],
        "job_timestamp": timestamp,
        "clip_skip": settings["CLIP_stop_at_last_layers"],
        "is_using_inpainting_conditioning": False,
        "version": VERSION,
    }
