"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def bar(items: Sequence[T], title: str) -> Iterable[T]:
    """Pass items on while a bar shows their number, the rate and the time left."""
    from tqdm import tqdm

    return tqdm(items, desc=title, dynamic_ncols=True)
