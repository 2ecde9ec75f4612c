"""When to try again and how long to wait first: a pure policy; clock, sleep and chance are handed in."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from .errors import RequestTimedOut, ServerLoading, ServerUnreachable, TooManyRequests, WebUIError

_T = TypeVar("_T")


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential back-off with jitter, capped."""

    attempts: int = 3
    """How often to try in all; 1 never tries again."""
    first_wait_s: float = 0.3
    """Wait after the first failure; each further one waits `factor` times longer."""
    factor: float = 3.0
    longest_wait_s: float = 30.0
    """Cap on a wait; a longer `Retry-After` of the server is not waited for."""
    jitter_rate: float = 0.25
    """Share of a wait that chance adds at most, so that many clients do not come back at once."""

    def __post_init__(self) -> None:
        """Refuse a policy that makes no sense."""
        if self.attempts < 1 or self.first_wait_s < 0 or self.factor < 1 or self.longest_wait_s < 0:
            raise ValueError(f"{self}: expected attempts >= 1, waits >= 0, factor >= 1")

    def wait_s(self, failures: int, error: WebUIError, chance: float = 0.0) -> float | None:
        """Seconds to wait before the next try, or None to give up.

        Args:
            failures: how many tries have failed, from 1.
            error: the last failure.
            chance: a random number in [0, 1).
        """
        if failures >= self.attempts or not is_transient(error):
            return None
        wait = min(self.first_wait_s * self.factor ** (failures - 1), self.longest_wait_s)
        wait = min(wait * (1 + self.jitter_rate * chance), self.longest_wait_s)
        if isinstance(error, TooManyRequests) and error.retry_after_s is not None:
            return error.retry_after_s if error.retry_after_s <= self.longest_wait_s else None
        return wait


NEVER = RetryPolicy(attempts=1)


def is_transient(error: WebUIError) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, RequestTimedOut):
        return error.phase == "connect"
    if isinstance(error, ServerLoading):
        return error.status in (502, 503, 504)  # others have waited long, or wait for a person
    return isinstance(error, ServerUnreachable | TooManyRequests)


@dataclass(frozen=True)
class Retrier:
    """A policy with a clock."""

    policy: RetryPolicy = field(default_factory=RetryPolicy)
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random

    def call(self, attempt: Callable[[], _T]) -> _T:
        """Call until it succeeds or the policy gives up; for requests that change nothing.

        Raises:
            WebUIError: the last failure.
        """
        failures = 0
        while True:
            try:
                return attempt()
            except WebUIError as error:
                failures += 1
                wait = self.policy.wait_s(failures, error, self.chance())
                if wait is None:
                    raise
                self.sleep(wait)
