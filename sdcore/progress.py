"""How a long loop reports its progress, without knowing who shows it, and how it is asked to stop."""

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Protocol, TypeVar

T = TypeVar("T")


class ProgressTracker(Protocol):
    """Passes items on one by one while something shows the progress."""

    def __call__(self, items: Sequence[T], title: str) -> Iterable[T]:
        """The items, in order; `title` names what is done with each."""
        ...


def no_progress(items: Sequence[T], title: str) -> Iterable[T]:
    """Pass items on and show nothing."""
    del title
    return items


def progress_bar(items: Sequence[T], title: str) -> Iterable[T]:
    """Pass items on while a bar on stderr shows their number, the rate and the time left."""
    from tqdm import tqdm

    return tqdm(items, desc=title, dynamic_ncols=True)


def print_note(words: str, shown: bool) -> None:
    """Print a line on stderr, above the bars there, if progress is shown at all."""
    if shown:
        from tqdm import tqdm

        tqdm.write(words, file=sys.stderr)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped a long loop between two steps; the message says what is saved and how to go on."""


@contextmanager
def deferred_interrupts(*, several: bool = False, announces: bool = True) -> Iterator[Callable[[], bool]]:
    """Within this, the first Ctrl-C only makes the given function return True; the second one stops at once.

    An exception between any two instructions could leave a half-made step. So the loop asks, and ends between two
    steps. Off the main thread, where Python delivers no signals, nothing is changed.

    With `several` processes that train together, SIGTERM counts as Ctrl-C: torchrun passes on the signal that ends it.
    One of them `announces` the first Ctrl-C on stderr.
    """
    # An event, not a bool: the handler runs in the main thread, and other threads may ask too.
    is_asked = threading.Event()

    def note(number: int, _frame: FrameType | None) -> None:
        if is_asked.is_set():
            raise KeyboardInterrupt
        is_asked.set()
        if number == signal.SIGINT and announces:
            again = "" if several else "; Ctrl-C again stops at once"
            print(f"\nstopping after this step{again}", file=sys.stderr, flush=True)

    if threading.current_thread() is not threading.main_thread():
        yield is_asked.is_set
        return
    signals = (signal.SIGINT, signal.SIGTERM) if several else (signal.SIGINT,)
    former = {one: signal.signal(one, note) for one in signals}
    try:
        yield is_asked.is_set
    finally:
        for one, handler in former.items():
            signal.signal(one, handler)
