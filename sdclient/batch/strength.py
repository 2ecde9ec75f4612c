"""Which denoising strength suits a source.

Two limits are assumed for each source: below one of them an image is too alike, above the other it is unreal. What is
known of a limit is a probability over a grid. Each judged image multiplies it by the chance of what was seen, a
logistic curve of the distance between strength and limit:

    P(too alike | s, a) = e + (1 - 2 e) / (1 + exp((s - a) / t))        falls with the strength s
    P(unreal    | s, b) = e + (1 - 2 e) / (1 + exp((b - s) / t))        rises with it

so an image that is too alike moves the belief about a up, one that is unreal moves b down, and one that is accepted
moves both the other way. Images of the other sources of a class count too, each for a fraction of an own one: a new
source starts where its class stands. The strength to use is the one with the largest P(not too alike) P(not unreal)
under both beliefs.
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
"""t: over how much strength the chance of a rejection goes from a quarter to three quarters, halved."""
_CHANCE = 0.04
"""e: a filter errs with this probability however far the limit is."""
_SIBLINGS_WEIGHT = 0.25
"""What an image of another source of the class counts."""
_BEYOND = 0.1
"""How far outside of the range a limit may lie."""
_GRID_STEP = 0.0125
_STRENGTH_DIGITS = 2


@dataclass(frozen=True)
class StrengthRange:
    """Where strengths may be chosen, and where to begin."""

    low: float
    high: float
    start: float

    def __post_init__(self) -> None:
        """Refuse what is no range.

        Raises:
            SettingsError: says what was expected.
        """
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
        """Read "low:high".

        Args:
            text: as a user writes it.
            start: where to begin; None is the middle.

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
        """The strengths to choose from: both ends, the start, and every hundredth between."""
        scale = 10**_STRENGTH_DIGITS
        inner = (n / scale for n in range(math.ceil(self.low * scale), math.floor(self.high * scale) + 1))
        return tuple(sorted({self.low, self.start, self.high, *inner}))


@dataclass(frozen=True)
class Expectation:
    """What a strength promises for a source."""

    strength: float
    acceptance: float
    """Probability that an image made with it is accepted."""


@dataclass
class _Belief:
    """Logarithms of what the images seen say of both limits, for each place of the grid."""

    too_alike: list[float]
    unreal: list[float]

    def add(self, other: _Belief, weight: float = 1.0) -> None:
        for own, foreign in ((self.too_alike, other.too_alike), (self.unreal, other.unreal)):
            for place, value in enumerate(foreign):
                own[place] += weight * value


@dataclass
class StrengthLearner:
    """Learns from judged images which strength to use for which source."""

    range: StrengthRange
    _classes: dict[str, _Belief] = field(default_factory=dict)
    _sources: dict[tuple[str, str], _Belief] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Lay the grid; its middle is the start, so that the start is the first choice."""
        reach = max(self.range.high - self.range.start, self.range.start - self.range.low) + _BEYOND
        places = math.ceil(round(reach / _GRID_STEP, 6))
        self._grid = [self.range.start + place * _GRID_STEP for place in range(-places, places + 1)]
        self._choices = self.range.strengths
        # For each strength and limit; a limit for "unreal" mirrors one for "too alike".
        self._below = {s: [_chance(limit - s) for limit in self._grid] for s in self._choices}

    def observe(self, class_name: str, source: str, strength: float, *, too_alike: bool, unreal: bool) -> None:
        """Take in one judged image.

        Args:
            class_name: its class.
            source: the source it was made from, by a name that is unique within the class.
            strength: what it was made with; need not be one of the range's.
            too_alike: it was rejected for being too alike.
            unreal: it was rejected for being unreal; an image may be both, and is accepted when it is neither.
        """
        news = _Belief(
            [math.log(_outcome(_chance(limit - strength), too_alike)) for limit in self._grid],
            [math.log(_outcome(_chance(strength - limit), unreal)) for limit in self._grid],
        )
        self._sources.setdefault((class_name, source), self._nothing()).add(news)
        self._classes.setdefault(class_name, self._nothing()).add(news)

    def expect(self, class_name: str, source: str) -> Expectation:
        """The best strength for a source as far as is known; of equal ones the nearest to the start."""
        known = self._nothing()
        known.add(self._classes.get(class_name, self._nothing()), _SIBLINGS_WEIGHT)
        # The class's images hold the source's own, which count in full.
        known.add(self._sources.get((class_name, source), self._nothing()), 1 - _SIBLINGS_WEIGHT)
        limits_alike, limits_unreal = _normalised(known.too_alike), _normalised(known.unreal)
        best = Expectation(self.range.start, -1.0)
        for strength in sorted(self._choices, key=lambda choice: abs(choice - self.range.start)):
            alike = self._below[strength]
            differs = 1 - sum(chance * weight for chance, weight in zip(alike, limits_alike, strict=True))
            real = sum(chance * weight for chance, weight in zip(alike, limits_unreal, strict=True))
            if differs * real > best.acceptance + 1e-12:
                best = Expectation(strength, differs * real)
        return best

    def _zeros(self) -> list[float]:
        return [0.0] * len(self._grid)

    def _nothing(self) -> _Belief:
        return _Belief(self._zeros(), self._zeros())


def _chance(distance: float) -> float:
    """Probability of a rejection at this distance beyond the limit, from `_CHANCE` to 1 - `_CHANCE`."""
    return _CHANCE + (1 - 2 * _CHANCE) / (1 + math.exp(-distance / _WIDTH))


def _outcome(chance: float, happened: bool) -> float:
    return chance if happened else 1 - chance


def _normalised(logarithms: Sequence[float]) -> list[float]:
    highest = max(logarithms)
    weights = [math.exp(value - highest) for value in logarithms]
    total = sum(weights)
    return [weight / total for weight in weights]


_NAME = "denoising_strength"


class StrengthPolicy(Protocol):
    """Says which strength to use, and hears how images made with it were judged."""

    def expect(self, class_name: str, source: str) -> Expectation:
        """The strength for a source's next image, and what it promises."""

    def observe(self, class_name: str, source: str, strength: float, *, too_alike: bool, unreal: bool) -> None:
        """One image was judged."""


class AdaptiveStrength:
    """A learner for each class.

    Args:
        spec: the run's settings; a class whose strength is a range is searched within it, from its middle on; one
            whose strength is a number begins there.
        sources: those that images may be made from.
        low: the least strength, for classes that have no range of their own.
        high: the largest.

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
        """The strength for a source's next image, and what it promises."""
        return self._learners[class_name].expect(class_name, source)

    def observe(self, class_name: str, source: str, strength: float, *, too_alike: bool, unreal: bool) -> None:
        """One image was judged."""
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
