"""Errors come whole out of another process, whatever they are made with."""

from __future__ import annotations

import pickle

import pytest

from sdclient import SDClientError, errors

MADE: list[errors.SDClientError] = [
    errors.ServerUnreachable("gone", may_have_arrived=True),
    errors.RequestTimedOut("late", phase="read"),
    errors.TooManyRequests("slowly", server_words="later", retry_after_s=2.5),
    errors.RequestRejected("no", status=422, server_words="nope", field="steps"),
    errors.SettingSubstituted("sampler", "Euler", "LMS", "ask again"),
    errors.IncompleteReply("half", asked=4, got=2),
    errors.MissingExtra("'--ray'", "ray"),
    errors.SourceError("焊盘/3.png: damaged"),
]


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_an_error_survives_the_way_to_another_process(error: SDClientError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
