"""What img2img and txt2img have in common: from a request's body to its reply."""

from __future__ import annotations

import json
import math
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from PIL import Image

from . import told
from .catalogue import Choice, choose
from .engines import Engine
from .jobs import JobBoard
from .pictures import encode_image
from .resolve import Seeds, resolve_seeds
from .scripts import check_scripts
from .settings import Settings


@dataclass(frozen=True)
class Work:
    """A request made ready: what is left is to draw its images."""

    steps: int
    """Sampling steps of a batch."""
    batch: int
    """Images of a batch."""
    words: Mapping[str, Any]
    """What the reply tells beside sampler and schedule."""
    draw: Callable[[int, tuple[int, ...]], Image.Image]
    """Makes one image, given its place in its batch and what fixes it."""


@dataclass(frozen=True)
class _Made:
    """What a job made."""

    pairs: Sequence[tuple[Image.Image, str]]
    """Images to send, with their infotexts."""
    info: Mapping[str, Any]


class GeneratingCall(ABC):
    """Runs requests of one call, one at a time.

    Args:
        engine: makes the pixels.
        settings: the server's options.
        board: the lock and the state that `/progress` shows.
        job_s: how long a batch takes at least; real servers take seconds.
    """

    label: ClassVar[str]
    """The job's name in `/progress`."""

    def __init__(self, engine: Engine, settings: Settings, board: JobBoard, *, job_s: float) -> None:
        self.engine = engine
        self.settings = settings
        self._board = board
        self._job_s = job_s

    def run(self, body: Any) -> dict[str, Any]:
        """The reply to a request.

        Raises:
            HTTPException: refused, in the WebUI's words.
            Exception: whatever the WebUI fails with on such a request.
        """
        checked = self.check(body)
        check_scripts(body.script_name, body.alwayson_scripts)
        choice = choose(body.sampler_name or body.sampler_index, body.scheduler)
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
    def prepare(self, body: Any, inputs: Any) -> Work:
        """Make the request ready under the options in force."""

    @abstractmethod
    def echo(self, body: Any) -> dict[str, Any]:
        """The reply's `parameters`."""

    def _generate(self, body: Any, choice: Choice, inputs: Any) -> _Made:
        if body.prompt is None:
            raise AssertionError
        seeds = resolve_seeds(body)
        work = self.prepare(body, inputs)
        extra = told.extra_parameters(choice, work.words, self.engine.name)
        made = list(self._batches(body, work, seeds))
        infotexts = [told.infotext(body, choice, seeds, index, extra, self.settings) for index in range(len(made))]
        first = 0
        if body.save_images and len(made) > 1 and self.settings["return_grid"]:
            made.insert(0, _grid(made))
            infotexts.insert(0, infotexts[0])
            first = 1
        info = told.info(
            body,
            choice,
            seeds,
            extra=extra,
            infotexts=infotexts,
            index_of_first_image=first,
            timestamp=self._board.timestamp,
            settings=self.settings,
        )
        return _Made(list(zip(made, infotexts, strict=True)) if body.send_images else [], info)

    def _batches(self, body: Any, work: Work, seeds: Seeds) -> Iterator[Image.Image]:
        """The images of all batches; an interrupt lets the running batch end and starts no other."""
        for number in range(body.n_iter):
            if self._board.interrupted:
                return
            self._board.begin_batch(number, steps=work.steps)
            self._walk_steps(work.steps)
            for place in range(work.batch):
                image = work.draw(place, seeds.of(number * body.batch_size + place))
                self._board.show(image)
                yield image

    def _walk_steps(self, steps: int) -> None:
        """Spend the batch's time, step by step as far as people can tell."""
        if self._job_s > 0:
            for step in range(steps):
                if self._board.hurried:
                    return
                self._board.pause(self._job_s / steps)
                self._board.step(step + 1)
        self._board.step(steps)


def _grid(images: list[Image.Image]) -> Image.Image:
    """All images in one, in rows."""
    rows = round(math.sqrt(len(images)))
    columns = math.ceil(len(images) / rows)
    width, height = images[0].size
    grid = Image.new("RGB", (columns * width, rows * height))
    for index, image in enumerate(images):
        grid.paste(image, (index % columns * width, index // columns * height))
    return grid
