"""Numbers on the command line."""

from __future__ import annotations

import math
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A float range that takes neither "nan" nor "inf", which compare as within any bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or a usage error."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class NumberPair(click.ParamType):  # type: ignore[type-arg]  # generic in newer click alone
    """LOW:HIGH, or one number for both.

    Args:
        kind: what numbers.
    """

    name = "LOW:HIGH"

    def __init__(self, kind: type[int] | type[float]) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The two numbers, or a usage error."""
        low, colon, high = str(value).partition(":")
        try:
            return self._kind(low), self._kind(high if colon else low)
        except ValueError:
            self.fail(f"{value!r}; expected LOW:HIGH or one number, as {param.default if param else '1:2'}", param, ctx)
