"""Resolves the numbers of a request (seeds, sizes, steps), and keeps the server's options.

The WebUI checks little and fails later, where a bad number first causes an error. The exceptions here have the same
types and messages, because they end up in error bodies.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..loras import HASH_OPTION
from ..models.generation import MAX_SEED, SIZE_MULTIPLE_PX
from .engine import ImageSeed, ModelCard

_LARGEST_BATCH_BYTES = 4 * 2**30
_LARGEST_IMAGE_BYTES = 256 * 2**20
_MOST_IMAGES = 10**6
_FLOAT32_BYTES = 4
_DRAWN_SEEDS = 2**32 - 2


@dataclass(frozen=True)
class Seeds:
    """The seeds of a job, one for each image."""

    all_seeds: list[int]
    all_subseeds: list[int]
    subseed_strength: float

    def of(self, index: int) -> ImageSeed:
        """The seed of image `index`, with its variation."""
        return ImageSeed(self.all_seeds[index], self.all_subseeds[index], self.subseed_strength)


def resolve_seeds(body: Any) -> Seeds:
    """Draw the seeds that were left open, and count up from them; with a variation only the subseed counts up.

    Raises:
        IndexError: no images are requested.
        MemoryError: more than a million images.
        ValueError: a seed below -1 or beyond 64 bits.
    """
    if body.batch_size <= 0 or body.n_iter <= 0:
        raise IndexError("list index out of range")
    count = body.batch_size * body.n_iter
    if count > _MOST_IMAGES:
        check_memory(body.batch_size, body.width, body.height)
        raise MemoryError(f"{count} images in one request are too many")
    strength = body.subseed_strength or 0
    seed, subseed = _draw_seed(body.seed), _draw_seed(body.subseed)
    seeds = [seed + (0 if strength else index) for index in range(count)]
    return Seeds(seeds, [subseed + index for index in range(count)], strength)


def _draw_seed(seed: int | None) -> int:
    if seed is None or seed == -1:
        return random.randrange(_DRAWN_SEEDS)  # noqa: S311 - an image's seed, not a secret
    if abs(seed) > MAX_SEED:
        raise ValueError("Overflow when unpacking long long")
    if seed < 0:
        raise ValueError("expected non-negative integer")
    return seed


def check_memory(batch_size: int, width: int, height: int) -> None:
    """Refuse a batch that is too large for the memory.

    Raises:
        MemoryError: over 4 GiB as floats, or over 256 MiB (22 megapixels) for a single image.
    """
    image = 3 * width * height * _FLOAT32_BYTES
    needed = batch_size * image
    if needed > _LARGEST_BATCH_BYTES or image > _LARGEST_IMAGE_BYTES:
        raise MemoryError(
            f"Unable to allocate {needed / 2**30:.1f} GiB for an array with shape "
            f"({batch_size}, 3, {height}, {width}) and data type float32"
        )


def working_size(width: int, height: int) -> tuple[int, int]:
    """Size of the resulting images, (width, height) in px: rounded down to multiples of 8.

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
        RuntimeError: a negative number of steps.
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
    """Steps of the whole noise schedule; img2img runs the last of them.

    The requested number; with the option `img2img_fix_steps` more, so that the requested number of steps runs.
    """
    return steps if not fix_steps or strength <= 0 else max(steps, int(steps / min(strength, 0.999)))


def check_source_count(sources: int, batch_size: int) -> None:
    """Refuse a request without sources, or with more sources than images in a batch.

    Raises:
        RuntimeError: with the genuine server's message.
    """
    if sources == 0:
        raise RuntimeError("Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: [0]")
    if sources > max(batch_size, 1):
        raise RuntimeError(f"bad number of images passed: {sources}; expecting {batch_size} or less")


_CHECKPOINT = "sd_model_checkpoint"
_DEFAULTS: dict[str, Any] = {
    "samples_save": True,
    "samples_format": "png",
    "samples_filename_pattern": "",
    "grid_save": True,
    "grid_format": "png",
    "grid_only_if_multiple": True,
    "n_rows": -1,
    "jpeg_quality": 80,
    "webp_lossless": False,
    "export_for_4chan": True,
    "img_max_size_mp": 200,
    "outdir_samples": "",
    "outdir_txt2img_samples": "outputs/txt2img-images",
    "outdir_img2img_samples": "outputs/img2img-images",
    "outdir_extras_samples": "outputs/extras-images",
    "outdir_grids": "",
    "outdir_txt2img_grids": "outputs/txt2img-grids",
    "outdir_img2img_grids": "outputs/img2img-grids",
    "outdir_save": "log/images",
    "outdir_init_images": "outputs/init-images",
    "face_restoration": False,
    "face_restoration_model": "CodeFormer",
    "api_enable_requests": True,
    "api_forbid_local_requests": True,
    _CHECKPOINT: "",
    "sd_checkpoints_limit": 1,
    "sd_vae": "Automatic",
    "sd_vae_overrides_per_model_preferences": True,
    "CLIP_stop_at_last_layers": 1,
    "randn_source": "GPU",
    "tiling": False,
    "inpainting_mask_weight": 1.0,
    "initial_noise_multiplier": 1.0,
    "img2img_extra_noise": 0.0,
    "img2img_color_correction": False,
    "img2img_fix_steps": False,
    "img2img_background_color": "#ffffff",
    "return_grid": True,
    "return_mask": False,
    "return_mask_composite": False,
    "overlay_inpaint": True,
    "s_min_uncond": 0.0,
    "token_merging_ratio": 0.0,
    "eta_ddim": 0.0,
    "eta_ancestral": 1.0,
    "eta_noise_seed_delta": 0,
    "s_churn": 0.0,
    "s_tmin": 0.0,
    "s_tmax": 0.0,
    "s_noise": 1.0,
    "upscaler_for_img2img": None,
    "enable_pnginfo": True,
    "save_txt": False,
    **dict.fromkeys(("add_model_name_to_info", "add_model_hash_to_info", "add_version_to_infotext", HASH_OPTION), True),
    "live_previews_enable": True,
    "show_progress_every_n_steps": 10,
    "show_progress_type": "Approx NN",
    "interrupt_after_current": True,
    "hide_samplers": [],
    "disabled_extensions": [],
    "disable_all_extensions": "none",
    "sd_checkpoint_hash": "",
}


class ServerOptions:
    """The options in force, at first the WebUI's defaults; the server's one checkpoint, and the LoRAs it lists."""

    def __init__(self, model: ModelCard, loras: Sequence[str] = ()) -> None:
        self.loras = tuple(loras)
        self._model = model
        self._values = {**_DEFAULTS, _CHECKPOINT: model.title, "sd_checkpoint_hash": model.sha256}

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def snapshot(self) -> dict[str, Any]:
        """All options and their values."""
        return dict(self._values)

    def store(self, changes: Mapping[str, Any]) -> None:
        """Change options permanently.

        Raises:
            KeyError: an option that does not exist; the options before it are changed.
            RuntimeError: a checkpoint that does not exist.
        """
        checkpoint = changes.get(_CHECKPOINT)
        if checkpoint is not None and not self._model.is_named(checkpoint):
            raise RuntimeError(f"model {checkpoint!r} not found")
        self._set(changes)

    @contextmanager
    def overridden(self, changes: Mapping[str, Any], *, restore: bool) -> Iterator[None]:
        """Change options for one job; an unknown checkpoint is dropped silently.

        Raises:
            KeyError: an option that does not exist.
        """
        known = {key: value for key, value in changes.items() if key != _CHECKPOINT or self._model.is_named(value)}
        before = self.snapshot()
        try:
            self._set(known)
            yield
        finally:
            if restore:
                self._values = before

    def _set(self, changes: Mapping[str, Any]) -> None:
        for key, value in changes.items():
            if key not in self._values:
                raise KeyError(key)
            self._values[key] = self._model.title if key == _CHECKPOINT else value
