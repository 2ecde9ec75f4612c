"""What shall go wrong, and the server's words when it does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, TypeAlias

ANY = "*"
GENERATING = frozenset({"img2img", "txt2img"})


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

    What the methods have in common:

    times: how many requests it happens to.
    on: the last part of the path, for example "options"; "*" is any request. Default: the generating calls,
        "img2img" and "txt2img".
    after: the server does the work first, and only its reply is lost. A client that simply sends such a job again
        has it made twice.

    Args:
        refuse: called with how many more connections to refuse.
        stop_refusing: called when none is to be refused any more.
    """

    def __init__(self, refuse: Callable[[int], None], stop_refusing: Callable[[], None]) -> None:
        self._refuse = refuse
        self._stop_refusing = stop_refusing
        self._changing = threading.Lock()
        self._planned: list[_Planned] = []
        self._refusals = _Planned(Fault("refuse", Reset(), after=False), frozenset(), 0)

    def refuse(self, times: int = 1) -> None:
        """Nothing listens for the next connections: at once, before any other fault, whatever they want to ask.

        Counts the connections of this process, exactly where they are made one after the other; for another
        process's, see `WebUIServer.down`.
        """
        _check_times(times)
        with self._changing:
            self._refusals.times += times
        self._refuse(times)

    def reset(self, times: int = 1, *, on: str | None = None, after: bool = False) -> None:
        """The connection breaks once the request has arrived."""
        self._plan("reset", Reset(), times, on, after=after)

    def truncate(self, times: int = 1, *, on: str | None = None) -> None:
        """Half of the reply comes, then the connection breaks; the server did the work."""
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
        """An unsuccessful answer, 503 for example, or 429 with how long to wait.

        Args:
            body: the answer's JSON; default: what a WebUI says when something in it fails.
            retry_after_s: the header `Retry-After`, in whole seconds.
        """
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        answer = Answer(code, body if body is not None else failure(code), headers)
        self._plan(f"status {code}", answer, times, on, after=after)

    def out_of_memory(self, times: int = 1, *, on: str | None = None) -> None:
        """The GPU's memory does not suffice, in the words of a WebUI with CUDA."""
        self._plan("out of memory", Answer(500, OUT_OF_MEMORY, {}), times, on)

    def nan(self, times: int = 1, *, on: str | None = None) -> None:
        """The model computes no picture, in the words of a WebUI."""
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
        """The server silently uses another value, and says so in `info` alone.

        Raises:
            ValueError: nothing to substitute.
        """
        wanted = {
            "sampler_name": sampler,
            "scheduler": scheduler,
            "seed": seed,
            "steps": steps,
            "width": width,
            "height": height,
        }
        changes = {field: value for field, value in wanted.items() if value is not None}
        if not changes:
            raise ValueError("substitute: name what to use instead, for example sampler='Euler'")
        self._plan("substitute", Substitute(changes), times, on)

    def short_reply(self, missing: int = 1, times: int = 1, *, on: str | None = None) -> None:
        """So many images fewer than asked come, with status 200 and all seeds, as after an interrupt."""
        if missing < 1:
            raise ValueError(f"short_reply: missing is {missing}; expected 1 or more")
        self._plan("short reply", ShortReply(missing), times, on)

    def delay(self, longest_s: float = LONGEST_WAIT_S, *, on: str | None = None, after: bool = False) -> Held:
        """Hold one request up until it is released.

        A generating job is held in its turn: the server works on it, `/progress` shows it, and others queue. With
        `after` it is done already, and only the reply is late.

        Args:
            longest_s: after so long it goes on by itself.
        """
        held = Held(longest_s)
        self._plan("delay", Delay(held), 1, on, after=after)
        return held

    @property
    def used(self) -> int:
        """How many faults have happened."""
        with self._changing:
            return sum(planned.used for planned in (*self._planned, self._refusals))

    def clear(self) -> None:
        """Forget what has not happened, release what is held up, and listen again."""
        self.release_all()
        with self._changing:
            for planned in (*self._planned, self._refusals):
                planned.times = planned.used
        self._stop_refusing()

    def assert_all_used(self) -> None:
        """Every planned fault has happened as often as planned.

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
        """The fault that this request meets; for the server's side."""
        with self._changing:
            for planned in self._planned:
                if planned.fits(path):
                    planned.used += 1
                    return planned.fault
        return None

    def count_refusal(self) -> None:
        """A connection was refused; for the server's side."""
        with self._changing:
            self._refusals.used += 1

    def release_all(self) -> None:
        """Release whatever is held up, because the server ends."""
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
    """The body of a failure about which nothing more is known."""
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
"""The body of a 500 when the GPU's memory does not suffice; the exception's name and first words are PyTorch's."""

NAN = {
    "error": "NansException",
    "detail": "",
    "body": "",
    "errors": "A tensor with all NaNs was produced in Unet. Use --disable-nan-check commandline argument to disable "
    "this check.",
}
"""The body of a 500 when the model computed not-a-number."""
