"""What the images of one source are made with: what they all share is worked out once, the rest for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ..loras import with_loras
from ..sources import Source
from .draws import Choice, Range, draw_number
from .parameters import INPAINTING_NAMES, ImageParameters, Inpainting
from .setting_values import PROMPT_NAMES, SettingSpec
from .wildcards import fill, is_filled_anew


class ParameterResolver:
    """Turns a source's settings into the parameters of each of its images.

    Args:
        source: where the images come from.
        settings: what holds for it, before anything is drawn.
        wildcards: the lines of each wildcard that a prompt names.
        mask_sha256: of the bytes of the source's mask, where it has one.
    """

    def __init__(
        self,
        source: Source,
        settings: Mapping[str, SettingSpec],
        wildcards: Mapping[str, tuple[str, ...]],
        mask_sha256: str | None,
    ) -> None:
        self._wildcards = wildcards
        self._fillings = {"class": source.class_name, "number": source.number}
        self._loras = cast("tuple[str, ...]", settings["loras"])
        self._drawn = {name: spec for name, spec in settings.items() if isinstance(spec, (Choice, Range))}
        prompts = {name: str(settings[name]) for name in PROMPT_NAMES}
        self._filled_anew = {name: text for name, text in prompts.items() if is_filled_anew(text)}
        self._shared: dict[str, Any] = {
            name: spec
            for name, spec in settings.items()
            if name not in {"loras", *INPAINTING_NAMES, *self._drawn, *self._filled_anew}
        }
        for name in prompts.keys() - self._filled_anew.keys():
            self._shared[name] = self._prompt(name, prompts[name], k=1, seed=0)
        if mask_sha256 is not None:
            inpainting: dict[str, Any] = {name: settings[name] for name in INPAINTING_NAMES}
            self._shared["inpainting"] = Inpainting(**inpainting, mask_sha256=mask_sha256)
        self._same_for_all = None if self._drawn or self._filled_anew else ImageParameters(**self._shared)

    def parameters_for(self, k: int, seed: int) -> ImageParameters:
        """What one image is made with; one object for all where nothing differs from image to image.

        Args:
            k: which of the source's images, from 1; for prompts that hold {k}.
            seed: the image's own; all draws follow from it.
        """
        if self._same_for_all is not None:
            return self._same_for_all
        own: dict[str, Any] = {name: draw_number(spec, seed, name) for name, spec in self._drawn.items()}
        for name, text in self._filled_anew.items():
            own[name] = self._prompt(name, text, k=k, seed=seed)
        return ImageParameters(**self._shared, **own)

    def _prompt(self, name: str, text: str, *, k: int, seed: int) -> str:
        filled = fill(text, name, seed, self._wildcards, {**self._fillings, "k": k})
        return with_loras(filled, self._loras) if name == "prompt" else filled
