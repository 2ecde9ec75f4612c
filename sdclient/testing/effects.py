"""What can go wrong with one request (plain data), and the holding up of one."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeAlias

LONGEST_WAIT_S = 30.0


class Held:
    """A request that is held up; release it with `release`, or by leaving a `with` block.

    Args:
        longest_s: after so long it goes on by itself, so that a mistake in a test does not hang for ever.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._arrived = threading.Event()
        self._released = threading.Event()

    def wait_until_arrived(self, timeout_s: float = LONGEST_WAIT_S) -> None:
        """Wait until the request is being held.

        Raises:
            AssertionError: it did not come in time.
        """
        if not self._arrived.wait(timeout_s):
            raise AssertionError(f"no request came within {timeout_s:g} s to be held up")

    def release(self) -> None:
        """Let it go on."""
        self._released.set()

    def hold(self) -> None:
        """Hold the calling thread; for the server's side."""
        self._arrived.set()
        self._released.wait(self._longest_s)

    def __enter__(self) -> Held:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


@dataclass(frozen=True)
class Reset:
    """Drop the connection without a word."""


@dataclass(frozen=True)
class Truncate:
    """Send half of the reply, then drop the connection."""


@dataclass(frozen=True)
class Answer:
    """Send this instead of the reply."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Substitute:
    """Have the server use other values than those asked for, by request field."""

    changes: Mapping[str, Any]


@dataclass(frozen=True)
class ShortReply:
    """Take images out of the reply, as an interrupt does."""

    missing: int


@dataclass(frozen=True)
class Delay:
    """Hold the request up."""

    held: Held


Effect: TypeAlias = Reset | Truncate | Answer | Substitute | ShortReply | Delay


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong with one request."""

    name: str
    effect: Effect
    after: bool
    """Whether the server does the work first."""
