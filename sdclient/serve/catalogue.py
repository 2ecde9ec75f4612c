"""The samplers and schedulers the server lists, and how it settles on one of each.

The table and the rules are those of AUTOMATIC1111 1.10.1. For the classical engine they change no pixel; they are
there so that a client meets the names and the silent substitutions it will meet later. The diffusion engine has some
of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..models import Sampler, Scheduler

_Options = dict[str, str]
_KARRAS: _Options = {"scheduler": "karras"}
_EXPONENTIAL: _Options = {"scheduler": "exponential"}
_SECOND_ORDER: _Options = {"second_order": "True"}
_BROWNIAN: _Options = {"brownian_noise": "True"}
_ENSD: _Options = {"uses_ensd": "True"}
_DISCARD: _Options = {"discard_next_to_last_sigma": "True"}


def _sampler(name: str, *aliases: str, options: _Options | None = None) -> Sampler:
    return Sampler(name=name, aliases=aliases, options=options or {})


def _scheduler(
    name: str, label: str, rho: float = -1.0, *, inner: bool = False, aliases: tuple[str, ...] | None = None
) -> Scheduler:
    return Scheduler(name=name, label=label, aliases=aliases, default_rho=rho, need_inner_model=inner)


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


ALL_SAMPLERS = Catalogue(SAMPLERS, SCHEDULERS)
"""All that AUTOMATIC1111 1.10.1 lists."""


def _names(scheduler: Scheduler) -> Iterator[str]:
    yield scheduler.label
    yield scheduler.name
    yield from scheduler.aliases or ()
