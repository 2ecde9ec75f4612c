"""A request's numbers checked and resolved: seeds, steps, sizes. Pure; the errors are the WebUI's own.

The WebUI checks little and fails wherever a bad number happens to hurt. The exceptions here carry the types
and words it fails with, because they end up in its error bodies.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from ..models import MAX_SEED, SIZE_MULTIPLE_PX
from .painting import ImageSeed

_LARGEST_BATCH_BYTES = 4 * 2**30
_LARGEST_IMAGE_BYTES = 256 * 2**20
_MOST_IMAGES = 10**6
_FLOAT32_BYTES = 4
_DRAWN_SEEDS = 2**32 - 2


@dataclass(frozen=True)
class Seeds:
    """The seeds of all images of a job, one an image."""

    all_seeds: list[int]
    all_subseeds: list[int]
    subseed_strength: float

    def of(self, index: int) -> ImageSeed:
        """What fixes image `index`: its seed, and the variation where there is one."""
        return ImageSeed(self.all_seeds[index], self.all_subseeds[index], self.subseed_strength)


def resolve_seeds(body: Any) -> Seeds:
    """Draw what was left open and count up from it; with a variation only its seed counts up.

    Raises:
        IndexError: no images asked for.
        MemoryError: more images than anybody waits for.
        ValueError: a seed below -1 or beyond 64 bits.
    """
    if body.batch_size <= 0 or body.n_iter <= 0:
        raise IndexError("list index out of range")
    count = body.batch_size * body.n_iter
    if count > _MOST_IMAGES:
        check_memory(body.batch_size, body.width, body.height)
        raise MemoryError(f"{count} images in one request are too many")
    strength = body.subseed_strength or 0
    seed, subseed = _drawn(body.seed), _drawn(body.subseed)
    step = 0 if strength else 1
    seeds = [seed + step * index for index in range(count)]
    return Seeds(seeds, [subseed + index for index in range(count)], strength)


def _drawn(seed: int | None) -> int:
    if seed is None or seed == -1:
        return random.randrange(_DRAWN_SEEDS)  # noqa: S311 - a picture's seed, not a secret
    if abs(seed) > MAX_SEED:
        raise ValueError("Overflow when unpacking long long")
    if seed < 0:
        raise ValueError("expected non-negative integer")
    return seed


def check_memory(batch_size: int, width: int, height: int) -> None:
    """Refuse a batch that would not fit.

    Raises:
        MemoryError: over 4 GiB as floats, or over 256 MiB (22 megapixels) a single image.
    """
    image = 3 * width * height * _FLOAT32_BYTES
    needed = batch_size * image
    if needed > _LARGEST_BATCH_BYTES or image > _LARGEST_IMAGE_BYTES:
        raise MemoryError(
            f"Unable to allocate {needed / 2**30:.1f} GiB for an array with shape "
            f"({batch_size}, 3, {height}, {width}) and data type float32"
        )


def working_size(width: int, height: int) -> tuple[int, int]:
    """The size images come out in, (width, height) in px: rounded down to multiples of 8.

    Raises:
        ValueError: zero or less.
        RuntimeError: under 8.
    """
    if width <= 0 or height <= 0:
        raise ValueError("height and width must be > 0")
    if min(width, height) < SIZE_MULTIPLE_PX:
        raise RuntimeError(
            "Calculated padded input size per channel: (2 x 2). Kernel size: (3 x 3). "
            "Kernel size can't be greater than actual input size"
        )
    return width - width % SIZE_MULTIPLE_PX, height - height % SIZE_MULTIPLE_PX


def steps_to_run(steps: int, strength: float, *, fix_steps: bool) -> int:
    """Sampling steps of img2img: int(strength * steps) + 1, or all with the option `img2img_fix_steps`.

    Raises:
        ZeroDivisionError: no steps.
        RuntimeError: fewer.
        IndexError: a negative strength.
    """
    if steps == 0:
        raise ZeroDivisionError("integer division or modulo by zero")
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    if fix_steps:
        return steps
    last = int(min(strength, 0.999) * steps)
    if last < -1:
        raise IndexError("index 0 is out of bounds for dimension 0 with size 0")
    return last + 1


def schedule_steps(steps: int, strength: float, *, fix_steps: bool) -> int:
    """Steps of the whole noise schedule, of which img2img runs the last.

    As many as asked; with the option `img2img_fix_steps` so many more that those asked run.

    Args:
        steps: as asked, 1 or more.
        strength: 0 or more.
        fix_steps: the option.
    """
    if not fix_steps or strength <= 0:
        return steps
    return max(steps, int(steps / min(strength, 0.999)))


def check_source_count(sources: int, batch_size: int) -> None:
    """Refuse no source, and more sources than images in a batch.

    Raises:
        RuntimeError: in the words the genuine server fails with.
    """
    if sources == 0:
        raise RuntimeError("Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: [0]")
    if sources > max(batch_size, 1):
        raise RuntimeError(f"bad number of images passed: {sources}; expecting {batch_size} or less")
