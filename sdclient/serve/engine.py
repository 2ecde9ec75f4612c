"""The interface of the engines that make pixels, and the table of samplers and schedules.

`Engine` makes a batch of images step by step. `SingleImageEngine` is the simpler interface, one image out of another;
`classical_engine.OneByOneEngine` turns it into an `Engine`.

The table and the rules of substitution are those of AUTOMATIC1111 1.10.1. They change no pixel of the classical
engine; a client shall meet the same names and silent substitutions as with a genuine WebUI. The diffusion engine
supports some of the samplers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from PIL import Image

from sdcore import __version__

from ..manifest.database import NOT_STABLE_DIFFUSION
from ..models.server import Sampler, Scheduler

_VARIATION_UNIT = 1e6
_HASH_DIGITS = 10


@dataclass(frozen=True)
class ModelCard:
    """The one "checkpoint" that a server lists."""

    name: str
    sha256: str
    filename: str
    """Path of the model file; a remark if there is none."""

    @property
    def hash(self) -> str:
        """The short hash that replies carry."""
        return self.sha256[:_HASH_DIGITS]

    @property
    def title(self) -> str:
        """The name that the option `sd_model_checkpoint` carries."""
        return f"{self.name} [{self.hash}]"

    def is_named(self, name: object) -> bool:
        """Whether `name` is the title, the name or the short hash."""
        return name in (self.title, self.name, self.hash)


@dataclass(frozen=True)
class ImageSeed:
    """The numbers that determine the random draws of one image."""

    seed: int
    subseed: int = 0
    variation: float = 0.0
    """Variation strength: 0 gives the seed's image, 1 the subseed's."""
    is_second_pass: bool = False

    @property
    def numbers(self) -> tuple[int, ...]:
        """Non-negative integers to seed a random generator with."""
        varied = (self.subseed, round(abs(self.variation) * _VARIATION_UNIT)) if self.variation else ()
        return (self.seed, *varied, *((1,) if self.is_second_pass else ()))


@dataclass(frozen=True)
class ImageTask:
    """One image to make."""

    start: Image.Image | None
    """RGB of the recipe's size; None for txt2img."""
    seed: ImageSeed
    change_mask: Image.Image | None = None
    """L of the same size: how much each pixel may change, 255 fully; None: all fully. The caller puts back the pixels
    that must not change."""


@dataclass(frozen=True)
class GenerationRecipe:
    """How the images of a batch are made."""

    size: tuple[int, int]
    """(width, height) in px."""
    strength: float
    """Denoising strength, 0 to 1."""
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
    """Shows the steps of a batch, and says when to stop it."""

    @property
    def is_stopped(self) -> bool:
        """Whether to end at the step reached, with the images as they are."""

    def step(self, done: int) -> None:
        """Record how many steps are done."""

    def spend(self, steps: int) -> None:
        """Let the time of these steps pass, for an engine that takes no time."""


def _scheduler(name: str, label: str, rho: float = -1.0, *aliases: str, inner: bool = False) -> Scheduler:
    return Scheduler(name=name, label=label, aliases=aliases or None, default_rho=rho, need_inner_model=inner)


SCHEDULERS = (
    _scheduler("automatic", "Automatic"),
    _scheduler("uniform", "Uniform", inner=True),
    _scheduler("karras", "Karras", 7.0),
    _scheduler("exponential", "Exponential"),
    _scheduler("polyexponential", "Polyexponential", 1.0),
    _scheduler("sgm_uniform", "SGM Uniform", -1.0, "SGMUniform", inner=True),
    _scheduler("kl_optimal", "KL Optimal"),
    _scheduler("align_your_steps", "Align Your Steps"),
    _scheduler("simple", "Simple", inner=True),
    _scheduler("normal", "Normal", inner=True),
    _scheduler("ddim", "DDIM", inner=True),
    _scheduler("beta", "Beta", inner=True),
)

_AUTOMATIC = SCHEDULERS[0]
_WITHOUT_SCHEDULES = frozenset({"DDIM", "DDIM CFG++", "PLMS", "UniPC"})
"""These sample by timesteps; a noise schedule does not apply to them."""


class SamplerChoice(NamedTuple):
    """The sampler and the schedule that a job runs with."""

    sampler: str
    schedule: str | None
    """Label of the schedule; None when it is automatic or the sampler takes none."""


@dataclass(frozen=True)
class SamplerCatalogue:
    """The samplers and schedules an engine has, in the order they are listed."""

    samplers: tuple[Sampler, ...]
    schedulers: tuple[Scheduler, ...]

    def subset(self, samplers: Collection[str], schedulers: Collection[str]) -> SamplerCatalogue:
        """The samplers and schedules of these names."""
        return SamplerCatalogue(
            tuple(known for known in self.samplers if known.name in samplers),
            tuple(known for known in self.schedulers if known.name in schedulers),
        )

    def choose(self, sampler_name: str | None, schedule_name: str | None) -> SamplerChoice:
        """Settle on a sampler and a schedule, silently, as a WebUI does.

        An unknown name becomes the first sampler of the list; aliases and other spellings count as unknown. The
        former joint names ("DPM++ SDE Karras") are split; a schedule that is requested by itself takes precedence over
        the one in a joint name. An unknown schedule becomes automatic, which is the sampler's own.
        """
        name = sampler_name or self.samplers[0].name
        schedule: Scheduler | None = None
        for candidate in SCHEDULERS:
            words = (candidate.label, candidate.name, *(candidate.aliases or ()))
            ending = next((f" {word}" for word in words if name.endswith(f" {word}")), None)
            if ending is not None:
                name, schedule = name.removesuffix(ending), self.find_schedule(candidate.name)
                break
        sampler = next((known for known in self.samplers if known.name == name), self.samplers[0])
        if schedule_name:
            schedule = self.find_schedule(schedule_name)
        if schedule is None or schedule is _AUTOMATIC:
            schedule = self.find_schedule(sampler.options.get("scheduler", ""))
        if schedule is None or sampler.name in _WITHOUT_SCHEDULES:
            return SamplerChoice(sampler.name, None)
        return SamplerChoice(sampler.name, schedule.label)

    def find_schedule(self, name: str) -> Scheduler | None:
        """The scheduler of this internal name or label, or None."""
        return next((known for known in self.schedulers if name in (known.name, known.label)), None)


@runtime_checkable
class Engine(Protocol):
    """Makes batches of images. Called by one job at a time."""

    name: str
    """What it is; every reply and every infotext contains this text."""
    notice: str
    """One sentence for people."""
    model: ModelCard
    catalogue: SamplerCatalogue
    """Samplers and schedules that it supports."""

    def generate(
        self, tasks: Sequence[ImageTask], recipe: GenerationRecipe, monitor: StepMonitor
    ) -> Iterable[Image.Image]:
        """The images, RGB of the recipe's size, in order."""

    def describe_recipe(self, recipe: GenerationRecipe) -> Mapping[str, Any]:
        """Further entries of the reply: how the engine understood this recipe."""


class SingleImageEngine(Protocol):
    """Makes one image out of another. Called by one job at a time."""

    name: str
    """What it is; every reply and every infotext carries this text."""

    def vary(self, source: Image.Image, *, strength: float, seed: tuple[int, ...]) -> Image.Image:
        """An RGB image of the RGB source's size, determined by source, strength and seed (non-negative integers).

        The strength says how far it may depart from the source, from 0 (not at all) to 1.
        """


_Options = dict[str, str]
_KARRAS: _Options = {"scheduler": "karras"}
_EXPONENTIAL: _Options = {"scheduler": "exponential"}
_SECOND_ORDER: _Options = {"second_order": "True"}
_BROWNIAN: _Options = {"brownian_noise": "True"}
_ENSD: _Options = {"uses_ensd": "True"}
_DISCARD: _Options = {"discard_next_to_last_sigma": "True"}


def _sampler(name: str, *aliases: str, options: _Options | None = None) -> Sampler:
    return Sampler(name=name, aliases=aliases, options=options or {})


SAMPLERS = (
    _sampler("DPM++ 2M", "k_dpmpp_2m", options=_KARRAS),
    _sampler("DPM++ SDE", "k_dpmpp_sde", options=_KARRAS | _SECOND_ORDER | _BROWNIAN),
    _sampler("DPM++ 2M SDE", "k_dpmpp_2m_sde", options=_EXPONENTIAL | _BROWNIAN),
    _sampler("DPM++ 2M SDE Heun", "k_dpmpp_2m_sde_heun", options=_EXPONENTIAL | _BROWNIAN | {"solver_type": "heun"}),
    _sampler("DPM++ 2S a", "k_dpmpp_2s_a", options=_KARRAS | _ENSD | _SECOND_ORDER),
    _sampler("DPM++ 3M SDE", "k_dpmpp_3m_sde", options=_EXPONENTIAL | _DISCARD | _BROWNIAN),
    _sampler("Euler a", "k_euler_a", "k_euler_ancestral", options=_ENSD),
    _sampler("Euler", "k_euler"),
    _sampler("LMS", "k_lms"),
    _sampler("Heun", "k_heun", options=_SECOND_ORDER),
    _sampler("DPM2", "k_dpm_2", options=_KARRAS | _DISCARD | _SECOND_ORDER),
    _sampler("DPM2 a", "k_dpm_2_a", options=_KARRAS | _DISCARD | _ENSD | _SECOND_ORDER),
    _sampler("DPM fast", "k_dpm_fast", options=_ENSD),
    _sampler("DPM adaptive", "k_dpm_ad", options=_ENSD),
    _sampler("Restart", "restart", options=_KARRAS | _SECOND_ORDER),
    _sampler("DDIM", "ddim"),
    _sampler("DDIM CFG++", "ddim_cfgpp"),
    _sampler("PLMS", "plms"),
    _sampler("UniPC", "unipc"),
    _sampler("LCM", "k_lcm"),
)


ALL_SAMPLERS = SamplerCatalogue(SAMPLERS, SCHEDULERS)
"""All that AUTOMATIC1111 1.10.1 lists."""

MODEL_NAME = f"classical-engine-{NOT_STABLE_DIFFUSION}"
"""The one "checkpoint" that the server lists with its classical engine."""

NOTICE = (
    "This is NOT Stable Diffusion: images are the source (for txt2img a texture out of the seed), varied by "
    "classical image processing; prompts, samplers and steps do not change them."
)
"""One sentence for people."""

VERSION = f"sdclient-{__version__}"
"""The version that replies and infotexts report."""
