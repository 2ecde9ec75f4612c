"""The WebUI's names of samplers and noise schedules -> diffusers' schedulers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from sdcore.optional_imports import import_diffusers

from ...catalogue import ALL_SAMPLERS


@dataclass(frozen=True)
class _Solver:
    scheduler: str
    """Name of the class in diffusers."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    calls_a_step: int = 1
    """How often the network is asked in a step; once in the last one."""
    draws_noise: bool = False
    """Whether its `step` takes the generators its noise is drawn from."""
    takes_seeds: bool = False
    """Whether its noise comes from Brownian paths that are made from seeds."""

    def make(self, saved: Mapping[str, Any], settings: Mapping[str, Any], steps: int, device: Any) -> Any:
        """The scheduler, set to so many steps."""
        scheduler = getattr(import_diffusers(), self.scheduler).from_config(dict(saved), **settings)
        scheduler.set_timesteps(steps, device=device)
        return scheduler


_EULER = _Solver("EulerDiscreteScheduler")
_SOLVERS = {
    "DPM++ 2M": _Solver("DPMSolverMultistepScheduler"),
    "DPM++ SDE": _Solver("DPMSolverSDEScheduler", calls_a_step=2, takes_seeds=True),
    "DPM++ 2M SDE": _Solver("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, draws_noise=True),
    "Euler a": _Solver("EulerAncestralDiscreteScheduler", draws_noise=True),
    "Euler": _EULER,
    "Heun": _Solver("HeunDiscreteScheduler", calls_a_step=2),
    "DDIM": _Solver("DDIMScheduler", {"clip_sample": False, "timestep_spacing": "trailing"}),
}
_SCHEDULES = {
    None: {},
    "Uniform": {},
    "Karras": {"use_karras_sigmas": True},
    "Exponential": {"use_exponential_sigmas": True},
}
_EVEN_ALONE = "EulerAncestralDiscreteScheduler"
"""Knows no other spacing than the even one, so it is lent the noise levels of plain Euler."""

CATALOGUE = ALL_SAMPLERS.of(_SOLVERS, ("automatic", "uniform", "karras", "exponential"))
"""What the diffusion engine has. (In diffusers the Beta schedule spreads noise levels, in a WebUI timesteps.)"""


@dataclass(frozen=True, eq=False)
class Sampling:
    """A sampler set to run the last steps of a noise schedule."""

    scheduler: Any
    """Of diffusers; its sample is noised by `add_noise`, its model input scaled by `scale_model_input`."""
    first: int
    """Index of its first timestep."""
    calls_a_step: int
    draws_noise: bool

    def steps_done(self, calls: int) -> int:
        """Steps that are done, or under way, after so many calls of the network."""
        return (calls + self.calls_a_step - 1) // self.calls_a_step


def make_sampling(
    saved: Mapping[str, Any],
    *,
    sampler: str,
    schedule: str | None,
    steps: int,
    schedule_steps: int,
    seeds: list[int],
    like: torch.Tensor,
) -> Sampling:
    """Set up a sampler.

    Args:
        saved: the noise schedule that the model was trained with.
        sampler: a name in the catalogue.
        schedule: a label in the catalogue, or None for even timesteps.
        steps: how many run.
        schedule_steps: how many the whole schedule has.
        seeds: one a picture, for samplers whose noise comes from Brownian paths.
        like: (N, C, h, w) of the pictures' shape, where they are.
    """
    solver = _SOLVERS[sampler]
    # With one step alone, "linspace" would begin at the end of the schedule, where there is hardly any noise.
    spacing = "trailing" if schedule_steps == 1 else "linspace"
    spaced = {"timestep_spacing": spacing, **_SCHEDULES.get(schedule, {}), **solver.settings}
    if solver.scheduler == _EVEN_ALONE:
        even = _EULER.make(saved, spaced, schedule_steps, like.device)
        scheduler = solver.make(saved, {"timestep_spacing": spacing}, schedule_steps, like.device)
        scheduler.sigmas, scheduler.timesteps = even.sigmas, even.timesteps
    else:
        scheduler = solver.make(saved, spaced, schedule_steps, like.device)
    if solver.takes_seeds:
        scheduler.noise_sampler = _brownian_noise(scheduler.sigmas, seeds, like)
    first = (schedule_steps - steps) * solver.calls_a_step
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    return Sampling(scheduler, first, solver.calls_a_step, solver.draws_noise)


def _brownian_noise(sigmas: torch.Tensor, seeds: list[int], like: torch.Tensor) -> Any:
    """Noise from one Brownian path a picture, as the scheduler would make it, its ends a little further out.

    Asked for its very ends, torchsde warns about the last digit of one.
    """
    import_diffusers()
    from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler

    sampler: Any = BrownianTreeNoiseSampler
    return sampler(like, 0.999 * sigmas[sigmas > 0].min(), 1.001 * sigmas.max(), seeds)
