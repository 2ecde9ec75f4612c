"""The strengths to choose from for each class, out of a run's settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ..batch.draws import Choice, Range
from ..batch.run_file import RunSpec
from ..errors import SettingsError
from ..sources import Source
from .strength import Expectation, StrengthLearner, StrengthRange

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


class FixedStrength:
    """One strength for all, whatever comes back; what following a source is to be compared with."""

    def __init__(self, strength: float) -> None:
        self._expectation = Expectation(strength, 1.0)

    def expect(self, class_name: str, source: str) -> Expectation:
        """The one strength."""
        return self._expectation

    def observe(self, class_name: str, source: str, strength: float, *, too_alike: bool, unreal: bool) -> None:
        """Nothing follows from it."""


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
