"""What img2img and txt2img have in common: from a request's body to its reply."""

from __future__ import annotations

import json
import math
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from PIL import Image

from . import told
from .catalogue import Choice
from .jobs import JobBoard, JobSteps
from .painting import Engine, GenerationRecipe, ImageSeed, StepMonitor
from .pictures import encode_image
from .resolve import Seeds, resolve_seeds
from .scripts import check_scripts
from .settings import ServerOptions

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
        words = {**work.words, **told.lora_hashes(body.prompt, self.settings)}
        extra = told.extra_parameters(choice, words, self.painter.name)
        made = list(self._batches(body, work, seeds))
        about: dict[str, Any] = {"extra": extra, "settings": self.settings, "model": self.painter.model}
        infotexts = [told.build_infotext(body, choice, seeds, index, **about) for index in range(len(made))]
        first = 0
        if body.save_images and len(made) > 1 and self.settings["return_grid"]:
            made.insert(0, _grid(made))
            infotexts.insert(0, infotexts[0])
            first = 1
        info = told.build_info(
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
