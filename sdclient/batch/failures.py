"""What a failed request means for the run (pure)."""

from __future__ import annotations

from enum import Enum

from ..errors import (
    BadImage,
    IncompleteReply,
    ModelProducedNaN,
    NotAWebUI,
    RequestTimedOut,
    ServerFault,
    ServerLoading,
    ServerOutOfMemory,
    ServerUnreachable,
    SettingSubstituted,
    TooManyRequests,
    UnexpectedReply,
    WebUIError,
)


class FailureKind(Enum):
    """What to do about a failure."""

    SERVER_AWAY = "set the server aside and do the work elsewhere"
    SMALLER_BATCH = "send fewer images at once"
    TRY_AGAIN = "try these images again within their budget, then give them up"
    STOP = "the same would happen to every image"


_AWAY = (ServerUnreachable, ServerLoading, RequestTimedOut, TooManyRequests, NotAWebUI)
_AGAIN = (ModelProducedNaN, ServerFault, IncompleteReply, SettingSubstituted, BadImage, UnexpectedReply)


def classify_failure(error: WebUIError) -> FailureKind:
    """What a failed request means.

    A fault of the image or of the moment may pass; a request that the server refuses, a setting it does not have or a
    password it does not take would fail the whole run the same way.
    """
    if isinstance(error, ServerOutOfMemory):
        return FailureKind.SMALLER_BATCH
    if isinstance(error, _AWAY):
        return FailureKind.SERVER_AWAY
    if isinstance(error, _AGAIN):
        return FailureKind.TRY_AGAIN
    return FailureKind.STOP
