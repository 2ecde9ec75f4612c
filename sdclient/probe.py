"""A few images of each class over a grid of settings, measured: which size, strength and sampler suit a model?"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product

from PIL import Image

from .batch.estimate import build_probe_request, warm_up
from .batch.servers import check_server
from .batch.settings import GenerationSettings
from .client.webui import WebUI
from .errors import ServerFault
from .masks.mask import SourceMasks
from .models.generation import MAX_SEED
from .output.artifacts import ArtifactLimits, measure_changed_part, rejection_reason
from .plan import pick_evenly
from .sources.source import ImageForm, Source, guess_native_px, names_by_class, read_photo, restore_form

USUAL_STRENGTH = 0.25
"""The middle of the strengths that keep a defect a defect."""
_SAME_SCORE = 0.05
"""Mean noise scores that differ by less are taken as equal."""


@dataclass(frozen=True)
class GridSetting:
    """One column of the grid."""

    native_px: int
    """Side of a square with about the area of an image."""
    denoising_strength: float
    sampler: str

    def __str__(self) -> str:
        return f"{self.native_px} px, strength {self.denoising_strength:g}, {self.sampler}"

    @property
    def as_options(self) -> str:
        """The options of `sdclient generate` that select it."""
        size_and_strength = f"--native-size {self.native_px} --denoising-strength {self.denoising_strength:g}"
        return f'{size_and_strength} --sampler "{self.sampler}"'


@dataclass(frozen=True)
class Sample:
    """One image of the grid."""

    source: Source
    setting: GridSetting
    image: Image.Image | None
    """In the source's size, grey if the source is; None when the server failed."""
    noise_score: float | None
    """See `ArtifactScores`; None when the server failed."""
    reason: str | None
    """Why it cannot be used; None if it can."""
    seconds: float
    """From sending the request to having its one image."""


@dataclass(frozen=True)
class SettingResult:
    """The result of one setting over all sources."""

    setting: GridSetting
    mean_noise_score: float | None
    """None if the server made no image."""
    seconds_per_image: float | None
    images: int
    spoiled: int
    """Number of `images` that are spoiled, or that the server failed to make."""
    reasons: tuple[str, ...]
    """Each reason once."""


def checked_common(values: Mapping[str, object], settings: Sequence[GridSetting]) -> GenerationSettings:
    """The settings that all columns share; every column is checked against the ranges of the settings.

    Raises:
        SettingsError: names the value at fault and what was expected.
    """
    for setting in settings:
        GenerationSettings.checked({**values, **asdict(setting)})
    return GenerationSettings.checked(values)


def own_native_px(webui: WebUI) -> int:
    """Side in px of the square the server's model was trained on, guessed from its name."""
    return guess_native_px(webui.options().sd_model_checkpoint or "")


def grid(sizes: Sequence[int], strengths: Sequence[float], samplers: Sequence[str]) -> list[GridSetting]:
    """Every combination, samplers outermost, strengths innermost; duplicates count once."""
    once = product(dict.fromkeys(samplers), dict.fromkeys(sizes), dict.fromkeys(strengths))
    return [GridSetting(size, strength, sampler) for sampler, size, strength in once]


def pick_sources(sources: Sequence[Source], per_class: int) -> list[Source]:
    """Up to `per_class` sources of each class, spread evenly over its numbers."""
    picked: list[Source] = []
    for class_name in names_by_class(sources):
        picked += pick_evenly([source for source in sources if source.class_name == class_name], per_class)
    return picked


def run_probe(
    webui: WebUI,
    sources: Sequence[Source],
    settings: Sequence[GridSetting],
    common: GenerationSettings,
    limits: ArtifactLimits | None = None,
    masks: SourceMasks | None = None,
) -> Iterator[Sample]:
    """Make one image of each source with each setting, source by source.

    All images of a source have the same seed, so that they differ only by their setting. If the server fails (for
    example out of memory at a large size), the sample has a reason, and the probe goes on.

    Args:
        sources: see `pick_sources`.
        settings: see `grid`.
        common: steps, CFG scale, prompts and seed; the rest comes from the setting.
        limits: from which an image counts as spoiled.
        masks: the areas of the sources to repaint.

    Raises:
        UnknownSetting: the server lacks one of the samplers; raised before anything is generated.
        SourceError: a source cannot be read.
        WebUIError: the server is not there, or does not do what the request says.
    """
    check_server(webui, [(sampler, None) for sampler in dict.fromkeys(setting.sampler for setting in settings)])
    for number, source in enumerate(sources):
        image = read_photo(source.path)
        sha256 = None if masks is None else masks.sha256_of(source)
        mask = None if masks is None or sha256 is None else masks.read(source, sha256)
        if number == 0 and settings:
            warm_up(webui, image, _with(common, settings[0]))
        for setting in settings:
            run = _with(common, setting).model_copy(update={"seed": (common.seed + number) % (MAX_SEED + 1)})
            yield _sample(webui, source, image, setting, run, limits, mask)


def summarise(samples: Sequence[Sample]) -> list[SettingResult]:
    """One result for each setting, in the order of their first samples."""
    results = []
    for setting in dict.fromkeys(sample.setting for sample in samples):
        of_setting = [sample for sample in samples if sample.setting == setting]
        made = [sample for sample in of_setting if sample.noise_score is not None]
        reasons = [sample.reason for sample in of_setting if sample.reason is not None]
        results.append(
            SettingResult(
                setting=setting,
                mean_noise_score=sum(sample.noise_score or 0.0 for sample in made) / len(made) if made else None,
                seconds_per_image=sum(sample.seconds for sample in made) / len(made) if made else None,
                images=len(of_setting),
                spoiled=len(reasons),
                reasons=tuple(dict.fromkeys(reasons)),
            )
        )
    return results


def best_setting(results: Sequence[SettingResult], native_px: int) -> SettingResult | None:
    """The setting with the best scores; None if every setting spoiled an image.

    Of those that spoiled none and whose mean score is within 0.05 of the best: the size nearest to the model's own,
    then the strength nearest to 0.25, then the order given. No score shows whether the defect is still a defect.
    """
    clean = [(result.mean_noise_score, result) for result in results if not result.spoiled]
    scored = [(score, result) for score, result in clean if score is not None]
    if not scored:
        return None
    best = min(score for score, _ in scored)
    return min(
        (result for score, result in scored if score <= best + _SAME_SCORE),
        key=lambda result: (
            abs(result.setting.native_px - native_px),
            abs(result.setting.denoising_strength - USUAL_STRENGTH),
        ),
    )


def _with(common: GenerationSettings, setting: GridSetting) -> GenerationSettings:
    return common.model_copy(update=asdict(setting) | {"scheduler": None, "batch_size": 1})


def _sample(
    webui: WebUI,
    source: Source,
    image: Image.Image,
    setting: GridSetting,
    run: GenerationSettings,
    limits: ArtifactLimits | None,
    mask: Image.Image | None,
) -> Sample:
    request, prepared, source_mask = build_probe_request(image, run, mask)
    begin = time.perf_counter()
    try:
        result = webui.img2img(request)
    except ServerFault as error:
        return Sample(source, setting, None, None, f"server failed: {error}", time.perf_counter() - begin)
    seconds = time.perf_counter() - begin
    made = result.images[0].pil()
    findings = measure_changed_part(made, prepared, None if source_mask is None else source_mask.sent_box)
    restored = restore_form(made, ImageForm.of(image))
    if source_mask is not None:
        restored = source_mask.put_back(restored)
    return Sample(source, setting, restored, findings.noise_score, rejection_reason(findings, limits), seconds)
