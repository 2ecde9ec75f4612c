"""Guided, tiled denoising, and the samplers of diffusers that drive it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from torch import nn

from sdcore.images.tiles import tile_starts
from sdcore.optional_imports import import_diffusers

from .engine import ALL_SAMPLERS

_MOST_AT_ONCE = 64
"""Most tiles that go through the network together."""
_LEAST_OVERLAP = 0.25
"""Least overlap of neighbouring tiles, as a share of a tile's side."""


@dataclass(frozen=True, eq=False)
class KeptRegion:
    """The part of the images that must stay."""

    clean: torch.Tensor
    """(N, C, h, w) latents of the images."""
    change: torch.Tensor
    """(N, C, h, w) from 0 (stays) to 1 (may change)."""


class Denoiser:
    """Predicts velocities of a batch by a class-conditional network and its saved noise schedule.

    `tile` is the side of the square it was trained on, in latent pixels. `label` is the class to make, `negative` the
    class to guide away from, or no class. A `guidance` (scale of classifier-free guidance) of 1 is none.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Mapping[str, Any],
        *,
        tile: int,
        label: int,
        negative: int,
        guidance: float,
        keep: KeptRegion | None = None,
    ) -> None:
        self._network, self._tile = network, tile
        self._label, self._negative, self._guidance, self._keep = label, negative, guidance, keep
        self._log_sigmas = _log_sigmas(schedule)
        self.clean: torch.Tensor | None = None
        """The clean images that the last prediction implies, (N, C, h, w)."""

    def velocity(self, noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """The velocity v = alpha noise - sigma clean of noisy = alpha clean + sigma noise, with alpha^2 + sigma^2 = 1.

        Noisy images are (N, C, h, w); a noise level between two timesteps has a fractional time.
        """
        found = self._guided(noisy, time)
        alpha, sigma = self._levels(time)
        clean = alpha * noisy - sigma * found
        if self._keep is not None:
            clean = self._keep.change * clean + (1 - self._keep.change) * self._keep.clean
            found = (alpha * noisy - clean) / sigma
        self.clean = clean
        return found

    def _guided(self, noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Classifier-free guidance (Ho and Salimans 2022); both classes in one call, which is faster."""
        wanted = torch.full((len(noisy),), self._label, dtype=torch.long, device=noisy.device)
        if self._guidance == 1 or self._label == self._negative:
            return self._tiled(noisy, time, wanted)
        labels = torch.cat([wanted, torch.full_like(wanted, self._negative)])
        towards, away = self._tiled(torch.cat([noisy, noisy]), time, labels).chunk(2)
        return away + self._guidance * (towards - away)

    def _tiled(self, noisy: torch.Tensor, time: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The network's prediction; for images larger than a tile, the blended predictions of overlapping tiles.

        After MultiDiffusion (Bar-Tal et al. 2023).
        """
        tile, (count, _, height, width) = self._tile, noisy.shape
        places = list(product(*(tile_starts(side, tile, _LEAST_OVERLAP) for side in (height, width))))  # (top, left)
        if len(places) == 1:
            return self._predict(noisy, time, labels)
        weight = _tile_weight(tile).to(noisy.device)
        total, weights = torch.zeros_like(noisy), torch.zeros(height, width, device=noisy.device)
        at_once = max(1, _MOST_AT_ONCE // count)
        for start in range(0, len(places), at_once):
            group = places[start : start + at_once]
            tiles = torch.cat([noisy[:, :, top : top + tile, left : left + tile] for top, left in group])
            answers = self._predict(tiles, time, labels.repeat(len(group)))
            for (top, left), answer in zip(group, torch.split(answers, count), strict=True):
                total[:, :, top : top + tile, left : left + tile] += weight * answer
                weights[top : top + tile, left : left + tile] += weight
        return total / weights

    def _predict(self, noisy: torch.Tensor, time: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        parts = zip(torch.split(noisy, _MOST_AT_ONCE), torch.split(labels, _MOST_AT_ONCE), strict=True)
        answers = [self._network(part, time, class_labels=of_part).sample.float() for part, of_part in parts]
        return torch.cat(answers)

    def _levels(self, time: torch.Tensor) -> tuple[float, float]:
        """Alpha and sigma at a timestep; between two, the logarithm of their ratio is interpolated."""
        place = min(max(float(time), 0.0), len(self._log_sigmas) - 1.0)
        low = min(int(place), len(self._log_sigmas) - 2)
        share = place - low
        ratio = torch.exp((1 - share) * self._log_sigmas[low] + share * self._log_sigmas[low + 1])
        alpha = float(1 / torch.sqrt(1 + ratio**2))
        return alpha, float(ratio) * alpha


def _log_sigmas(schedule: Mapping[str, Any]) -> torch.Tensor:
    """Logarithms of sigma / alpha at each timestep, of a scaled-linear schedule."""
    low, high, count = schedule["beta_start"], schedule["beta_end"], schedule["num_train_timesteps"]
    betas = torch.linspace(low**0.5, high**0.5, count, dtype=torch.float64) ** 2
    kept = torch.cumprod(1 - betas, dim=0)
    return torch.log(torch.sqrt((1 - kept) / kept))


def _tile_weight(tile: int) -> torch.Tensor:
    """Weight of a tile at each of its pixels, (tile, tile): highest in the middle, low but never 0 at the edge.

    A raised cosine in each direction; dividing the weighted sums by the sums of weights hides the seams.
    """
    along = torch.sin(math.pi * (torch.arange(tile, dtype=torch.float32) + 0.5) / tile) ** 2
    return along[:, None] * along[None, :]


@dataclass(frozen=True)
class _Solver:
    scheduler: str
    """Name of the class in diffusers."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    calls_a_step: int = 1
    """Calls of the network in a step; the last step has one."""
    draws_noise: bool = False
    """Whether its `step` draws noise from generators."""
    takes_seeds: bool = False
    """Whether its noise comes from Brownian paths, one for each seed."""

    def make(self, saved: Mapping[str, Any], settings: Mapping[str, Any], steps: int, device: Any) -> Any:
        """The scheduler, set to this number of steps."""
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
_EVEN_SPACING_ONLY = "EulerAncestralDiscreteScheduler"
"""Supports only even spacing, so it gets the noise levels of plain Euler."""

CATALOGUE = ALL_SAMPLERS.subset(_SOLVERS, ("automatic", "uniform", "karras", "exponential"))
"""What the diffusion engine supports. Not "Beta": diffusers distributes noise levels by it, a WebUI timesteps."""


@dataclass(frozen=True, eq=False)
class Sampling:
    """A sampler that is set up to run the last steps of a noise schedule."""

    scheduler: Any
    """Of diffusers; `add_noise` noises a sample, `scale_model_input` scales the network's input."""
    first: int
    """Index of its first timestep."""
    calls_a_step: int
    draws_noise: bool

    def steps_done(self, calls: int) -> int:
        """Steps that are done or have begun after this number of calls of the network."""
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
    """Set up a sampler of the catalogue to run `steps` of `schedule_steps`.

    `saved` is the noise schedule that the model was trained with. A `schedule` is a label of the catalogue, or None for
    even timesteps. `like` is an (N, C, h, w) tensor of the images' shape, on their device; `seeds` has one for each.
    """
    solver = _SOLVERS[sampler]
    # With one step alone, "linspace" would begin at the end of the schedule, where there is hardly any noise.
    spacing = "trailing" if schedule_steps == 1 else "linspace"
    spaced = {"timestep_spacing": spacing, **_SCHEDULES.get(schedule, {}), **solver.settings}
    if solver.scheduler == _EVEN_SPACING_ONLY:
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
    """Noise from a Brownian path for each image, as the scheduler would make it, on a slightly wider interval.

    At the exact ends of the interval torchsde warns about rounding in the last digit.
    """
    import_diffusers()
    from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler

    sampler: Any = BrownianTreeNoiseSampler  # untyped
    return sampler(like, 0.999 * sigmas[sigmas > 0].min(), 1.001 * sigmas.max(), seeds)
