"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any


def bar(title: str, unit: str) -> Callable[[Sequence[Any]], Iterable[Any]]:
    """A function that passes items on while a bar shows their number, rate and the time left."""

    def track(items: Sequence[Any]) -> Iterable[Any]:
        from tqdm import tqdm

        return tqdm(items, desc=title, unit=unit, unit_scale=False, dynamic_ncols=True)

    return track
