"""What makes pixels, behind one interface; samplers it lists; names of the server.

`engines.SingleImageEngine` is the small way to make pixels, one picture out of another; `engines.one_by_one` puts such
an engine behind the interface here. An engine that samples step by step implements `Engine` itself.

The table and the rules are those of AUTOMATIC1111 1.10.1. For the classical engine they change no pixel; they are
there so that a client meets the names and the silent substitutions it will meet later. The diffusion engine has some
of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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


def _scheduler(
    name: str, label: str, rho: float = -1.0, *, inner: bool = False, aliases: tuple[str, ...] | None = None
) -> Scheduler:
    return Scheduler(name=name, label=label, aliases=aliases, default_rho=rho, need_inner_model=inner)


SCHEDULERS = (
    _scheduler("automatic", "Automatic"),
    _scheduler("uniform", "Uniform", inner=True),
    _scheduler("karras", "Karras", 7.0),
    _scheduler("exponential", "Exponential"),
    _scheduler("polyexponential", "Polyexponential", 1.0),
    _scheduler("sgm_uniform", "SGM Uniform", inner=True, aliases=("SGMUniform",)),
    _scheduler("kl_optimal", "KL Optimal"),
    _scheduler("align_your_steps", "Align Your Steps"),
    _scheduler("simple", "Simple", inner=True),
    _scheduler("normal", "Normal", inner=True),
    _scheduler("ddim", "DDIM", inner=True),
    _scheduler("beta", "Beta", inner=True),
)

_AUTOMATIC = SCHEDULERS[0]
_WITHOUT_SCHEDULES = frozenset({"DDIM", "DDIM CFG++", "PLMS", "UniPC"})
"""These walk timesteps; a noise schedule has no meaning for them."""


class Choice(NamedTuple):
    """The sampler and the schedule a job runs with."""

    sampler: str
    schedule: str | None
    """Label of the schedule; None when it is automatic or the sampler takes none."""


@dataclass(frozen=True)
class Catalogue:
    """The samplers and schedules an engine has, in the order they are listed."""

    samplers: tuple[Sampler, ...]
    schedulers: tuple[Scheduler, ...]

    def of(self, samplers: Collection[str], schedulers: Collection[str]) -> Catalogue:
        """Those of these names."""
        return Catalogue(
            tuple(known for known in self.samplers if known.name in samplers),
            tuple(known for known in self.schedulers if known.name in schedulers),
        )

    def choose(self, asked_sampler: str | None, asked_schedule: str | None) -> Choice:
        """Settle on a sampler and a schedule, silently, as a WebUI does.

        A name it does not know becomes the first sampler of the list; aliases and other spellings are not
        known. The former joint names ("DPM++ SDE Karras") are split; a schedule asked for by itself wins over
        the one in a joint name. An unknown schedule becomes automatic, which is the sampler's own.
        """
        name = asked_sampler or self.samplers[0].name
        schedule: Scheduler | None = None
        for candidate in SCHEDULERS:
            ending = next((f" {word}" for word in _names(candidate) if name.endswith(f" {word}")), None)
            if ending is not None:
                name, schedule = name.removesuffix(ending), self.find_schedule(candidate.name)
                break
        sampler = next((known for known in self.samplers if known.name == name), self.samplers[0])
        if asked_schedule:
            schedule = self.find_schedule(asked_schedule)
        if schedule is None or schedule is _AUTOMATIC:
            schedule = self.find_schedule(sampler.options.get("scheduler", ""))
        if schedule is None or sampler.name in _WITHOUT_SCHEDULES:
            return Choice(sampler.name, None)
        return Choice(sampler.name, schedule.label)

    def find_schedule(self, name: str) -> Scheduler | None:
        """The scheduler of this internal name or label, or None."""
        return next((known for known in self.schedulers if name in (known.name, known.label)), None)


def _names(scheduler: Scheduler) -> Iterator[str]:
    yield scheduler.label
    yield scheduler.name
    yield from scheduler.aliases or ()


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


class SingleImageEngine(Protocol):
    """Makes one image out of another. Called by one job at a time."""

    name: str
    """What it is, in the words that every reply and every infotext carries."""

    def vary(self, source: Image.Image, *, strength: float, seed: tuple[int, ...]) -> Image.Image:
        """An RGB image of the source's size.

        Args:
            source: RGB.
            strength: how far the result may leave the source, 0 (not at all) to 1.
            seed: non-negative integers; source, strength and seed together fix the result.
        """
        ...


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


ALL_SAMPLERS = Catalogue(SAMPLERS, SCHEDULERS)
"""All that AUTOMATIC1111 1.10.1 lists."""


MODEL_NAME = f"classical-engine-{NOT_STABLE_DIFFUSION}"
"""The one "checkpoint" the server lists with its classical engine."""

NOTICE = (
    "This is NOT Stable Diffusion: images are the source (for txt2img a texture out of the seed), varied by "
    "classical image processing; prompts, samplers and steps do not change them."
)
"""One sentence for people."""

VERSION = f"sdclient-{__version__}"
"""Stands where a WebUI gives its own version."""
