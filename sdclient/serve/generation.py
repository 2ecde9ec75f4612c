"""A generating call, from the request body to the reply with its infotexts and `info`."""

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
from .engine import VERSION, Engine, GenerationRecipe, ImageSeed, ModelCard, SamplerChoice, StepMonitor
from .jobs import JobBoard, JobSteps
from .listings import check_scripts, lora_hash
from .parameters import Seeds, ServerOptions, resolve_seeds

_CFG_SCALE = 7.0
"""The WebUI's own value, for a request with null."""


@dataclass(frozen=True)
class BatchTime:
    """The least time of a batch, in seconds."""

    batch_s: float = 0.0
    image_s: float = 0.0
    """Added for each of its images."""

    def of(self, images: int) -> float:
        """The least time of a batch of this number of images."""
        return self.batch_s + images * self.image_s


@dataclass(frozen=True)
class PreparedCall:
    """A request with its sizes, steps and mask resolved, ready to make its images."""

    steps: int
    """Sampling steps of a batch."""
    batch: int
    """Images of a batch."""
    parameters: Mapping[str, Any]
    """Entries of `extra_generation_params` besides the schedule and the engine."""
    draw: Callable[[Sequence[ImageSeed], StepMonitor], Iterable[Image.Image]]
    """Makes the images of a batch, given the seed of each."""


class GeneratingCall(ABC):
    """Runs requests of one call, one at a time."""

    label: ClassVar[str]
    """The job's name in `/progress`."""

    def __init__(self, engine: Engine, settings: ServerOptions, board: JobBoard, *, time: BatchTime) -> None:
        self.engine, self.settings = engine, settings
        self._board, self._time = board, time

    def run(self, body: Any) -> dict[str, Any]:
        """The reply to a request.

        Raises:
            HTTPException: refused, with the WebUI's message.
            Exception: the WebUI's own failure on such a request.
        """
        checked = self.check(body)
        check_scripts(body.script_name, body.alwayson_scripts)
        choice = self.engine.catalogue.choose(body.sampler_name or body.sampler_index, body.scheduler)
        task = body.force_task_id or f"task({uuid.uuid4().hex})"
        self._board.tasks.add(task)
        with self._board.turn(count=max(body.n_iter, 1), label=self.label):
            inputs = self.read_inputs(body, checked)
            overrides = body.override_settings or {}
            restore = body.override_settings_restore_afterwards is not False
            with self._board.task(task), self.settings.overridden(overrides, restore=restore):
                pairs, info = self._generate(body, choice, inputs)
                options = self.settings.snapshot()
        # After the lock is released, as in the WebUI: the next job runs while this one's images are encoded.
        images = [encode_image(image, text, options) for image, text in pairs]
        return {"images": images, "parameters": self.echo(body), "info": json.dumps(info)}

    @abstractmethod
    def check(self, body: Any) -> Any:
        """Refuse what a WebUI refuses before the request queues; returns what had to be decoded for that."""

    @abstractmethod
    def read_inputs(self, body: Any, checked: Any) -> Any:
        """Decode the other images of the request, once the request has the lock."""

    @abstractmethod
    def prepare(self, body: Any, inputs: Any, choice: SamplerChoice) -> PreparedCall:
        """Resolve the request under the options in force."""

    @abstractmethod
    def echo(self, body: Any) -> dict[str, Any]:
        """The reply's `parameters`."""

    def _generate(
        self, body: Any, choice: SamplerChoice, inputs: Any
    ) -> tuple[Sequence[tuple[Image.Image, str]], Mapping[str, Any]]:
        """Images to send with their infotexts, and the reply's `info`."""
        if body.prompt is None:
            raise AssertionError
        seeds = resolve_seeds(body)
        call = self.prepare(body, inputs, choice)
        parameters = {**call.parameters, **lora_hashes(body.prompt, self.settings)}
        extra = extra_parameters(choice, parameters, self.engine.name)
        images = list(self._batches(body, call, seeds))
        facts = ReplyFacts(body, choice, seeds, extra, self.settings, self.engine.model)
        infotexts = [build_infotext(facts, index) for index in range(len(images))]
        with_grid = bool(body.save_images and len(images) > 1 and self.settings["return_grid"])
        if with_grid:
            images.insert(0, _grid(images))
            infotexts.insert(0, infotexts[0])
        info = build_info(facts, infotexts, index_of_first_image=int(with_grid), timestamp=self._board.timestamp)
        return list(zip(images, infotexts, strict=True)) if body.send_images else [], info

    def _batches(self, body: Any, call: PreparedCall, seeds: Seeds) -> Iterator[Image.Image]:
        """The images of all batches; after an interrupt the running batch ends and no other begins."""
        for number in range(body.n_iter):
            if self._board.interrupted:
                return
            self._board.begin_batch(number, steps=call.steps)
            of_batch = [seeds.of(number * body.batch_size + place) for place in range(call.batch)]
            for image in call.draw(of_batch, JobSteps(self._board, call.steps, self._time.of(call.batch))):
                self._board.show(image)
                yield image


def make_recipe(
    body: Any, choice: SamplerChoice, *, size: tuple[int, int], strength: float, steps: int, schedule_steps: int
) -> GenerationRecipe:
    """The recipe of a request, for the engine."""
    cfg_scale = body.cfg_scale if body.cfg_scale is not None else _CFG_SCALE
    prompts = body.prompt or "", body.negative_prompt or ""
    return GenerationRecipe(size, strength, steps, schedule_steps, choice.sampler, choice.schedule, cfg_scale, *prompts)


def _grid(images: list[Image.Image]) -> Image.Image:
    """All images on one sheet, in rows."""
    rows = round(math.sqrt(len(images)))
    columns = math.ceil(len(images) / rows)
    width, height = images[0].size
    grid = Image.new("RGB", (columns * width, rows * height))
    for index, image in enumerate(images):
        grid.paste(image, (index % columns * width, index // columns * height))
    return grid


def extra_parameters(choice: SamplerChoice, parameters: Mapping[str, Any], engine_name: str) -> dict[str, Any]:
    """`extra_generation_params`: the entries of the call itself, the schedule, and the engine that made the pixels."""
    schedule = {} if choice.schedule is None else {"Schedule type": choice.schedule}
    return {**parameters, **schedule, ENGINE_KEY: engine_name}


def lora_hashes(prompt: str, settings: ServerOptions) -> dict[str, str]:
    """Hashes of the LoRAs that a prompt names; unlisted ones are left out silently, as in the WebUI."""
    used = [name for name in loras_in(prompt) if name in settings.loras]
    if not used or not settings[HASH_OPTION]:
        return {}
    return {HASH_LABEL: ", ".join(f"{name}: {lora_hash(name)[:12]}" for name in used)}


@dataclass(frozen=True)
class ReplyFacts:
    """What the infotexts and the `info` of a reply are built from."""

    body: Any
    choice: SamplerChoice
    seeds: Seeds
    extra: Mapping[str, Any]
    """`extra_generation_params`."""
    settings: ServerOptions
    model: ModelCard


def build_infotext(facts: ReplyFacts, index: int) -> str:
    """The text that image `index` carries, its settings in the WebUI's order."""
    body, seeds, settings = facts.body, facts.seeds, facts.settings
    parameters: dict[str, Any] = {
        "Steps": body.steps,
        "Sampler": facts.choice.sampler,
        "Schedule type": facts.choice.schedule or "Automatic",
        "CFG scale": body.cfg_scale,
        "Seed": seeds.all_seeds[index],
        "Size": f"{body.width}x{body.height}",
    }
    if settings["add_model_hash_to_info"]:
        parameters["Model hash"] = facts.model.hash
    if settings["add_model_name_to_info"]:
        parameters["Model"] = facts.model.name
    if seeds.subseed_strength:
        parameters["Variation seed"] = seeds.all_subseeds[index]
        parameters["Variation seed strength"] = seeds.subseed_strength
    if body.denoising_strength is not None:
        parameters["Denoising strength"] = body.denoising_strength
    if settings["CLIP_stop_at_last_layers"] > 1:
        parameters["Clip skip"] = settings["CLIP_stop_at_last_layers"]
    parameters.update(facts.extra)
    if settings["add_version_to_infotext"]:
        parameters["Version"] = VERSION
    values = {key: str(value) for key, value in parameters.items()}
    return str(Infotext(body.prompt, body.negative_prompt or "", values))


def build_info(facts: ReplyFacts, infotexts: list[str], *, index_of_first_image: int, timestamp: str) -> dict[str, Any]:
    """The `info` of a reply, every key of the genuine one. The seeds are those of the requested images."""
    body, seeds = facts.body, facts.seeds
    count, negative = len(seeds.all_seeds), body.negative_prompt or ""
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
        "sampler_name": facts.choice.sampler,
        "cfg_scale": body.cfg_scale,
        "steps": body.steps,
        "batch_size": body.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": facts.model.name,
        "sd_model_hash": facts.model.hash,
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": body.seed_resize_from_w,
        "seed_resize_from_h": body.seed_resize_from_h,
        "denoising_strength": body.denoising_strength,
        "extra_generation_params": dict(facts.extra),
        "index_of_first_image": index_of_first_image,
        "infotexts": infotexts,
        "styles": body.styles or [],
        "job_timestamp": timestamp,
        "clip_skip": facts.settings["CLIP_stop_at_last_layers"],
        "is_using_inpainting_conditioning": False,
        "version": VERSION,
    }
