"""What a generating call asks of whatever makes the pixels: one batch of pictures by one recipe.

`engines.SingleImageEngine` is the small way to make pixels, one picture out of another; `engines.one_by_one` puts such
an engine behind the interface here. An engine that samples step by step implements `Engine` itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from .catalogue import Catalogue

_VARIATION_UNIT = 1e6
_HASH_DIGITS = 10


@dataclass(frozen=True)
class ModelCard:
    """The one "checkpoint" that a server lists."""

    name: str
    sha256: str
    filename: str
    """Where it lies; words where there is no file."""

    @property
    def hash(self) -> str:
        """The short hash that replies carry."""
        return self.sha256[:_HASH_DIGITS]

    @property
    def title(self) -> str:
        """As the option `sd_model_checkpoint` names it."""
        return f"{self.name} [{self.hash}]"

    def is_named(self, name: object) -> bool:
        """Whether this is its title, name or short hash."""
        return name in (self.title, self.name, self.hash)


@dataclass(frozen=True)
class ImageSeed:
    """What fixes the chance of one picture."""

    seed: int
    subseed: int = 0
    variation: float = 0.0
    """0 is the seed's picture alone, 1 the subseed's."""
    is_second_pass: bool = False

    @property
    def numbers(self) -> tuple[int, ...]:
        """Non-negative integers that fix a random generator."""
        varied = (self.subseed, round(abs(self.variation) * _VARIATION_UNIT)) if self.variation else ()
        return (self.seed, *varied, *((1,) if self.is_second_pass else ()))


@dataclass(frozen=True)
class ImageTask:
    """One picture to make."""

    start: Image.Image | None
    """RGB of the recipe's size; None to make it out of nothing."""
    seed: ImageSeed
    where: Image.Image | None = None
    """L of the same size: how much may change at each place, 255 all; None is everywhere. What it must not change
    is put back by the caller, to the pixel."""


@dataclass(frozen=True)
class GenerationRecipe:
    """How the pictures of a batch are made."""

    size: tuple[int, int]
    """(width, height) in px."""
    strength: float
    """How far a picture may leave its start, 0 to 1."""
    steps: int
    """Sampling steps that run."""
    schedule_steps: int
    """Steps of the whole noise schedule, whose last `steps` run."""
    sampler: str
    schedule: str | None
    """Label of the noise schedule; None is the sampler's own."""
    cfg_scale: float
    prompt: str
    negative_prompt: str


class StepMonitor(Protocol):
    """How a batch is followed from outside, and stopped."""

    @property
    def is_stopped(self) -> bool:
        """Whether to end at the step reached, with the pictures as they are."""
        ...

    def step(self, done: int) -> None:
        """Say that so many steps are done."""
        ...

    def spend(self, steps: int) -> None:
        """Let the time of so many steps pass, for an engine that takes none."""
        ...


@runtime_checkable
class Engine(Protocol):
    """Makes batches of pictures. Called by one job at a time."""

    name: str
    """What it is, in the words that every reply and every infotext carries."""
    notice: str
    """One sentence for people."""
    model: ModelCard
    catalogue: Catalogue
    """Samplers and schedules it has."""

    def paint(
        self, pictures: Sequence[ImageTask], recipe: GenerationRecipe, walk: StepMonitor
    ) -> Iterable[Image.Image]:
        """The pictures, RGB of the recipe's size, in order."""
        ...

    def told(self, recipe: GenerationRecipe) -> Mapping[str, Any]:
        """What else a reply should say about how this recipe was understood."""
        ...
