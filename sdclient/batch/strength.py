"""Learns which denoising strength suits a source.

The model assumes two limits for each source: with a strength below the first an image is too alike (like the source),
above the second it is unreal. The belief about a limit is a probability over a grid. Each judged image multiplies it by
the likelihood of its verdict, a logistic function of the distance between strength and limit:

    P(too alike | s, a) = e + (1 - 2 e) / (1 + exp((s - a) / t))        falls with the strength s
    P(unreal    | s, b) = e + (1 - 2 e) / (1 + exp((b - s) / t))        rises with it

So an image that is too alike moves a up, an unreal one moves b down, and an accepted one moves both the other way.
Images of other sources of the class count with a smaller weight, so a new source starts with the experience of its
class. The strength to use is the one with the largest P(not too alike) P(not unreal) under both beliefs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import SettingsError
from ..output.planned_images import Choice, Range
from ..sources.source import Source
from .run_file import RunSpec

_WIDTH = 0.025
"""t: width of the logistic function, in units of strength."""
_ERROR_RATE = 0.04
"""e: probability of a wrong verdict, however far away the limit is."""
_SIBLINGS_WEIGHT = 0.25
"""Weight of an image of another source of the class."""
_BEYOND = 0.1
"""How far outside of the range a limit may be."""
_GRID_STEP = 0.0125
_STRENGTH_DIGITS = 2


@dataclass(frozen=True)
class StrengthRange:
    """The range of strengths to choose from, and the first one to use."""

    low: float
    high: float
    start: float

    def __post_init__(self) -> None:
        """Raise `SettingsError` for an invalid range."""
        if not 0 < self.low < self.high <= 1:
            raise SettingsError(
                f"strength range {self.low:g}:{self.high:g}: expected low:high with 0 < low < high <= 1, as 0.15:0.45"
            )
        if not self.low <= self.start <= self.high:
            raise SettingsError(
                f"denoising-strength {self.start:g}: lies outside the strength range {self.low:g}:{self.high:g}; "
                "begin within it"
            )

    @classmethod
    def parse(cls, text: str, start: float | None = None) -> StrengthRange:
        """Read "low:high"; `start` None is the middle.

        Raises:
            SettingsError: not two numbers, or no range.
        """
        try:
            low, high = (float(part) for part in text.split(":"))
        except ValueError as error:
            raise SettingsError(f"strength range {text!r}: expected low:high, as 0.15:0.45") from error
        return cls(low, high, round((low + high) / 2, _STRENGTH_DIGITS) if start is None else start)

    @property
    def strengths(self) -> tuple[float, ...]:
        """The strengths to choose from: both ends, the start, and every hundredth in between."""
        scale = 10**_STRENGTH_DIGITS
        inner = (n / scale for n in range(math.ceil(self.low * scale), math.floor(self.high * scale) + 1))
        return tuple(sorted({self.low, self.start, self.high, *inner}))


@dataclass(frozen=True)
class Expectation:
    """The best strength for a source, and its expected success."""

    strength: float
    acceptance: float
    """Probability that an image made with it is accepted."""


@dataclass
class _Belief:
    """Log-likelihood of both limits, at each point of the grid."""

    too_alike: list[float]
    unreal: list[float]

    def add(self, other: _Belief, weight: float = 1.0) -> None:
        for own, added in ((self.too_alike, other.too_alike), (self.unreal, other.unreal)):
            for point, value in enumerate(added):
                own[point] += weight * value


@dataclass
class StrengthLearner:
    """Learns from judged images which strength to use for each source."""

    range: StrengthRange
    _classes: dict[str, _Belief] = field(default_factory=dict)
    _sources: dict[tuple[str, str], _Belief] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Create the grid; its middle is the start, so that without any images the start is the best choice."""
        reach = max(self.range.high - self.range.start, self.range.start - self.range.low) + _BEYOND
        points = math.ceil(round(reach / _GRID_STEP, 6))
        self._grid = [self.range.start + point * _GRID_STEP for point in range(-points, points + 1)]
        self._choices = self.range.strengths
        # Strength -> probability of "too alike" for each limit; "unreal" is its mirror image.
        self._alike_at = {s: [_rejection_probability(limit - s) for limit in self._grid] for s in self._choices}

    def observe(self, class_name: str, source: str, strength: float, *, too_alike: bool, unreal: bool) -> None:
        """Learn from one judged image; it is accepted if it is neither too alike nor unreal.

        `strength`, which it was made with, may be outside of the range.
        """
        likelihood = _Belief(
            [math.log(_likelihood(_rejection_probability(limit - strength), too_alike)) for limit in self._grid],
            [math.log(_likelihood(_rejection_probability(strength - limit), unreal)) for limit in self._grid],
        )
        self._sources.setdefault((class_name, source), self._nothing()).add(likelihood)
        self._classes.setdefault(class_name, self._nothing()).add(likelihood)

    def expect(self, class_name: str, source: str) -> Expectation:
        """The best strength for a source by what is known; among equal ones the nearest to the start."""
        known = self._nothing()
        known.add(self._classes.get(class_name, self._nothing()), _SIBLINGS_WEIGHT)
        # The class's images include the source's own; together these count in full.
        known.add(self._sources.get((class_name, source), self._nothing()), 1 - _SIBLINGS_WEIGHT)
        limits_alike, limits_unreal = _normalised(known.too_alike), _normalised(known.unreal)
        best = Expectation(self.range.start, -1.0)
        for strength in sorted(self._choices, key=lambda choice: abs(choice - self.range.start)):
            alike = self._alike_at[strength]
            differs = 1 - sum(p * weight for p, weight in zip(alike, limits_alike, strict=True))
            real = sum(p * weight for p, weight in zip(alike, limits_unreal, strict=True))
            if differs * real > best.acceptance + 1e-12:
                best = Expectation(strength, differs * real)
        return best

    def _nothing(self) -> _Belief:
        return _Belief([0.0] * len(self._grid), [0.0] * len(self._grid))


def _rejection_probability(distance: float) -> float:
    """Probability of a rejection at this distance beyond the limit."""
    return _ERROR_RATE + (1 - 2 * _ERROR_RATE) / (1 + math.exp(-distance / _WIDTH))


def _likelihood(probability: float, happened: bool) -> float:
    return probability if happened else 1 - probability


def _normalised(logarithms: Sequence[float]) -> list[float]:
    highest = max(logarithms)
    weights = [math.exp(value - highest) for value in logarithms]
    total = sum(weights)
    return [weight / total for weight in weights]


_NAME = "denoising_strength"


class StrengthPolicy(Protocol):
    """Decides which strength to use, and is told how the images were judged."""

    def expect(self, class_name: str, source: str) -> Expectation:
        """The strength for a source's next image, and its expected success."""

    def observe(self, class_name: str, source: str, strength: float, *, too_alike: bool, unreal: bool) -> None:
        """Learn from one judged image."""


class AdaptiveStrength:
    """A `StrengthPolicy` that learns; one learner for each class.

    If a class's strength in `spec` is a range, strengths are chosen within it, beginning in its middle; if it is a
    number, they begin with it and stay from `low` to `high`.

    Raises:
        SettingsError: a list of strengths, a strength outside of low and high, or one for a single source.
    """

    def __init__(self, spec: RunSpec, sources: Iterable[Source], *, low: float, high: float) -> None:
        self._learners: dict[str, StrengthLearner] = {}
        for source in sources:
            if _NAME in spec.sources.get(source.relative, {}):
                raise SettingsError(
                    f'{spec.origin}: [source."{source.relative}"]: denoising_strength cannot be fixed for one source '
                    "while strengths follow the sources; take the line out"
                )
            if source.class_name not in self._learners:
                self._learners[source.class_name] = StrengthLearner(_range(spec, source, low, high))

    def expect(self, class_name: str, source: str) -> Expectation:
        """See `StrengthPolicy`."""
        return self._learners[class_name].expect(class_name, source)

    def observe(self, class_name: str, source: str, strength: float, *, too_alike: bool, unreal: bool) -> None:
        """See `StrengthPolicy`."""
        self._learners[class_name].observe(class_name, source, strength, too_alike=too_alike, unreal=unreal)


def _range(spec: RunSpec, source: Source, low: float, high: float) -> StrengthRange:
    setting = spec.settings_for(source)[_NAME]
    if isinstance(setting, Range):
        return StrengthRange(setting.low, setting.high, round((setting.low + setting.high) / 2, 3))
    if isinstance(setting, Choice) or not isinstance(setting, (int, float)):
        raise SettingsError(
            f"{spec.origin}: denoising_strength of class {source.class_name!r} is a list; expected a number to begin "
            "at, or a range to search"
        )
    return StrengthRange(low, high, float(setting))
