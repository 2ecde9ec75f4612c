from __future__ import annotations

import signal
import threading

import pytest

from sdcore.progress import deferred_interrupts


def test_the_first_interrupt_only_asks_and_the_second_stops(capsys: pytest.CaptureFixture[str]) -> None:
    former = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), deferred_interrupts() as asked:  # noqa: PT012
        assert not asked()
        signal.raise_signal(signal.SIGINT)
        assert asked()
        assert "Ctrl-C again stops at once" in capsys.readouterr().err
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second one was not heard")
    assert signal.getsignal(signal.SIGINT) is former


def test_another_thread_trains_without_signals() -> None:
    asked_in_thread: list[bool] = []

    def work() -> None:
        with deferred_interrupts() as asked:
            asked_in_thread.append(asked())

    former = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked_in_thread == [False]
    assert signal.getsignal(signal.SIGINT) is former
