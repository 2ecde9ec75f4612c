"""Whether a run still gets anywhere, and when it is to be given up."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..errors import WebUIError

_MOST_TRIES_IN_VAIN = 12
"""Failed tries, without one success, after which a run is stopped: what fails every image is no bad luck."""


class StallDetector:
    """Whether a run still gets anywhere."""

    def __init__(self, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._last_made = clock()
        self._away: WebUIError | None = None
        self._tries_in_vain = 0
        self._any_made = False
        self._error: WebUIError | None = None

    def made(self) -> None:
        """Images were made."""
        self._last_made = self._clock()
        self._away = None
        self._any_made = True

    def was_away(self, error: WebUIError) -> None:
        """A server did not answer."""
        self._away = error

    def failed(self, tries: int, error: WebUIError | None) -> None:
        """Tries failed; `error` is the server's fault, None for spoiled images."""
        self._tries_in_vain += tries
        self._error = error

    def give_up_if_stalled(self) -> None:
        """Stop a run that makes nothing.

        Raises:
            WebUIError: servers were away for too long, or every try has failed from the start.
        """
        if self._away is not None and self._clock() - self._last_made > self._patience_s:
            raise self._away
        if not self._any_made and self._error is not None and self._tries_in_vain >= _MOST_TRIES_IN_VAIN:
            raise self._error
