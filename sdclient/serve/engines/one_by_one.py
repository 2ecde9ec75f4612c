"""An engine that varies one picture at a time, behind the interface of one that makes batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image

from ..catalogue import ALL_SAMPLERS
from ..painting import GenerationRecipe, ImageTask, ModelCard, StepMonitor
from ..words import MODEL_NAME, NOTICE
from . import SingleImageEngine
from .texture import texture

_DEPARTURE = 0.5
"""How far the engine takes a texture, as img2img's strength; fixed, for txt2img has none."""

NO_MODEL = ModelCard(MODEL_NAME, hashlib.sha256(MODEL_NAME.encode("ascii")).hexdigest(), f"(no file) {NOTICE}")
"""There is no model file; the hash of its name stands in."""


class OneByOneEngine:
    """Has the engine vary each picture; where there is none to start from, a texture out of the seed.

    Samplers, schedules and prompts are met and told, and change nothing.

    Args:
        engine: makes the pixels.
    """

    notice = NOTICE
    model = NO_MODEL
    catalogue = ALL_SAMPLERS

    def __init__(self, engine: SingleImageEngine) -> None:
        self._engine = engine
        self.name = engine.name

    def paint(
        self, pictures: Sequence[ImageTask], recipe: GenerationRecipe, walk: StepMonitor
    ) -> Iterator[Image.Image]:
        """Each picture as soon as it is made."""
        walk.spend(recipe.steps)
        for picture in pictures:
            seed = picture.seed.numbers
            if picture.start is None:
                yield self._engine.vary(texture(recipe.size, seed), strength=_DEPARTURE, seed=seed)
            else:
                yield self._engine.vary(picture.start, strength=recipe.strength, seed=seed)

    def told(self, recipe: GenerationRecipe) -> Mapping[str, Any]:
        """Nothing."""
        del recipe
        return {}
