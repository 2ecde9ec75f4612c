"""The server's options: a trimmed set of the WebUI's, with its names, defaults and refusals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..loras import HASH_OPTION
from .painting import ModelCard

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
    "add_model_name_to_info": True,
    "add_model_hash_to_info": True,
    "add_version_to_infotext": True,
    HASH_OPTION: True,
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
    """The options in force; start values are the WebUI's.

    Args:
        model: the one checkpoint there is.
        loras: names of the LoRAs the server lists.
    """

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
        """Change options for good.

        Raises:
            KeyError: an option that does not exist; those before it are changed.
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
        known = {k: v for k, v in changes.items() if k != _CHECKPOINT or self._model.is_named(v)}
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
