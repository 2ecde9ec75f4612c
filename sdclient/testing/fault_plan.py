"""The planned faults, and the server's messages for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

ANY = "*"
GENERATING = frozenset({"img2img", "txt2img"})
LONGEST_WAIT_S = 30.0


class Held:
    """A request that is held up; release it with `release`, or by leaving a `with` block.

    After `longest_s` it goes on by itself, so that a mistake in a test does not hang forever.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._arrived = threading.Event()
        self._released = threading.Event()

    def wait_until_arrived(self, timeout_s: float = LONGEST_WAIT_S) -> None:
        """Wait until the request is held.

        Raises:
            AssertionError: it did not come in time.
        """
        if not self._arrived.wait(timeout_s):
            raise AssertionError(f"no request came within {timeout_s:g} s to be held up")

    def release(self) -> None:
        """Let the request go on."""
        self._released.set()

    def hold(self) -> None:
        """Hold the calling thread; called by the server."""
        self._arrived.set()
        self._released.wait(self._longest_s)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(frozen=True)
class Reset:
    """Drop the connection without a reply."""


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
    """Have the server use other values than the requested ones."""

    changes: Mapping[str, Any]
    """Request field -> value."""


@dataclass(frozen=True)
class ShortReply:
    """Remove images from the reply, as an interrupt does."""

    missing: int


@dataclass(frozen=True)
class Delay:
    """Hold the request up."""

    held: Held


Effect: TypeAlias = Reset | Truncate | Answer | Substitute | ShortReply | Delay


@dataclass(frozen=True)
class Fault:
    """One fault of one request."""

    name: str
    effect: Effect
    after: bool
    """Whether the server does the work first."""


@dataclass
class _Planned:
    fault: Fault
    on: frozenset[str]
    times: int
    used: int = 0

    def fits(self, path: str) -> bool:
        last = path.rstrip("/").rpartition("/")[2]
        return self.used < self.times and (ANY in self.on or last in self.on)


class FaultPlan:
    """Faults to come. Each request meets the first planned one that fits it and is not used up.

    Common parameters of the methods:

    times: the number of requests that meet the fault.
    on: the last part of the path, for example "options"; "*" is any request. Default: the generating calls,
        "img2img" and "txt2img".
    after: the server does the work first, and only its reply is lost. A client that simply sends such a job again
        has it made twice.

    Args:
        refuse: called with the number of further connections to refuse.
        stop_refusing: called when no more connections are to be refused.
    """

    def __init__(self, refuse: Callable[[int], None], stop_refusing: Callable[[], None]) -> None:
        self._refuse = refuse
        self._stop_refusing = stop_refusing
        self._changing = threading.Lock()  # the test plans in its thread, the server takes faults in others
        self._planned: list[_Planned] = []
        self._refusals = _Planned(Fault("refuse", Reset(), after=False), frozenset(), 0)

    def refuse(self, times: int = 1) -> None:
        """Refuse the next connections: at once, before any other fault, for any request.

        Only connections of this process are counted, and exactly only if they are made one after the other; for
        another process, see `WebUIServer.down`.
        """
        _check_times(times)
        with self._changing:
            self._refusals.times += times
        self._refuse(times)

    def reset(self, times: int = 1, *, on: str | None = None, after: bool = False) -> None:
        """Break the connection once the request has arrived."""
        self._plan("reset", Reset(), times, on, after=after)

    def truncate(self, times: int = 1, *, on: str | None = None) -> None:
        """Break the connection after half of the reply; the server did the work."""
        self._plan("truncate", Truncate(), times, on, after=True)

    def status(
        self,
        code: int,
        times: int = 1,
        *,
        on: str | None = None,
        after: bool = False,
        body: Mapping[str, Any] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        """Send an unsuccessful reply, for example 503, or 429 with `retry_after_s` as its header `Retry-After`.

        The default of `body`, the reply's JSON, is the one that a WebUI sends for an internal failure.
        """
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        answer = Answer(code, body if body is not None else failure(code), headers)
        self._plan(f"status {code}", answer, times, on, after=after)

    def out_of_memory(self, times: int = 1, *, on: str | None = None) -> None:
        """Run out of GPU memory, with the message of a WebUI with CUDA."""
        self._plan("out of memory", Answer(500, OUT_OF_MEMORY, {}), times, on)

    def nan(self, times: int = 1, *, on: str | None = None) -> None:
        """Let the model compute no image, with the message of a WebUI."""
        self._plan("nan", Answer(500, NAN, {}), times, on)

    def substitute(
        self,
        times: int = 1,
        *,
        on: str | None = None,
        sampler: str | None = None,
        scheduler: str | None = None,
        seed: int | None = None,
        steps: int | None = None,
        width: int | None = None,
        height: int | None = None,
    ) -> None:
        """Let the server silently use another value, which only `info` reports.

        Raises:
            ValueError: nothing to substitute.
        """
        values = {"sampler_name": sampler, "scheduler": scheduler, "seed": seed, "steps": steps}
        values |= {"width": width, "height": height}
        changes = {field: value for field, value in values.items() if value is not None}
        if not changes:
            raise ValueError("substitute: name what to use instead, for example sampler='Euler'")
        self._plan("substitute", Substitute(changes), times, on)

    def short_reply(self, missing: int = 1, times: int = 1, *, on: str | None = None) -> None:
        """Send `missing` images fewer than requested, with status 200 and all seeds, as after an interrupt."""
        if missing < 1:
            raise ValueError(f"short_reply: missing is {missing}; expected 1 or more")
        self._plan("short reply", ShortReply(missing), times, on)

    def delay(self, longest_s: float = LONGEST_WAIT_S, *, on: str | None = None, after: bool = False) -> Held:
        """Hold one request up until it is released, at most `longest_s`.

        A generating job is held when its turn comes: the server works on it, `/progress` shows it, and others queue.
        With `after` the job is done already, and only the reply is late.
        """
        held = Held(longest_s)
        self._plan("delay", Delay(held), 1, on, after=after)
        return held

    @property
    def used(self) -> int:
        """Number of faults that have happened."""
        with self._changing:
            return sum(planned.used for planned in (*self._planned, self._refusals))

    def clear(self) -> None:
        """Cancel the faults that have not happened, release the held requests, and listen again."""
        self.release_all()
        with self._changing:
            for planned in (*self._planned, self._refusals):
                planned.times = planned.used
        self._stop_refusing()

    def assert_all_used(self) -> None:
        """Check that every planned fault has happened as often as planned.

        Raises:
            AssertionError: names those that have not.
        """
        with self._changing:
            left = [
                f"{planned.fault.name} ({planned.used} of {planned.times})"
                for planned in (self._refusals, *self._planned)
                if planned.used < planned.times
            ]
        if left:
            raise AssertionError(f"planned, but did not happen: {', '.join(left)}")

    def take(self, path: str) -> Fault | None:
        """The fault that this request meets; called by the server."""
        with self._changing:
            for planned in self._planned:
                if planned.fits(path):
                    planned.used += 1
                    return planned.fault
        return None

    def count_refusal(self) -> None:
        """Count a refused connection; called by the server."""
        with self._changing:
            self._refusals.used += 1

    def release_all(self) -> None:
        """Release all held requests."""
        with self._changing:
            effects = [planned.fault.effect for planned in self._planned]
        for effect in effects:
            if isinstance(effect, Delay):
                effect.held.release()

    def _plan(self, name: str, effect: Effect, times: int, on: str | None, *, after: bool = False) -> None:
        _check_times(times)
        paths = GENERATING if on is None else frozenset({on.rstrip("/").rpartition("/")[2]})
        with self._changing:
            self._planned.append(_Planned(Fault(name, effect, after), paths, times))


def _check_times(times: int) -> None:
    if times < 1:
        raise ValueError(f"times is {times}; expected 1 or more")


def failure(status: int) -> dict[str, Any]:
    """The body of a failure without details."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "planned by the test"
    return {"error": "HTTPException", "detail": phrase, "body": "", "errors": ""}


OUT_OF_MEMORY = {
    "error": "OutOfMemoryError",
    "detail": "",
    "body": "",
    "errors": "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 7.78 GiB of which "
    "5.12 GiB is free.",
}
"""The body of a 500 when the GPU's memory is too small; the exception's name and first words are PyTorch's."""

NAN = {
    "error": "NansException",
    "detail": "",
    "body": "",
    "errors": "A tensor with all NaNs was produced in Unet. Use --disable-nan-check commandline argument to disable "
    "this check.",
}
"""The body of a 500 when the model computed not-a-number."""
