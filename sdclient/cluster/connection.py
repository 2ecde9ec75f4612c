"""The way into a Ray cluster, with an end to waiting where there is none."""

from __future__ import annotations

import logging
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import MissingExtra, SettingsError

ANSWER_S = 30.0
"""How long a cluster may take to let a program in; Ray itself would try for minutes."""
_CONNECT_S = 5.0
_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/\s]+):(?P<port>\d{1,5})")
_TRY = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False)"
_HOW_TO_START = "start one with 'ray start --head' and join it from each machine with 'ray start --address HOST:6379'"


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be a program of this cluster for as long as the block lasts; one that is connected already stays as it is.

    Signal handlers stay as they were, also within the block.

    Args:
        address: "auto" for the cluster that this machine is a node of, or the head's "HOST:PORT".

    Raises:
        MissingExtra: Ray is not installed.
        SettingsError: no such address, nothing or something else answers there, or this machine is no node of it.
    """
    check_address(address)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtra("'--ray'", "ray") from error
    if ray.is_initialized():
        yield
        return
    _refuse_silence(address)
    _try_out(address)
    with signal_handlers_kept():
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        with signal_handlers_kept():
            ray.shutdown()


@contextmanager
def signal_handlers_kept() -> Iterator[None]:
    """Put back the handlers of SIGINT and SIGTERM after the block.

    `ray.init` sets a handler of SIGTERM and never takes it back: it ends the process with `sys.exit`, also long after
    `ray.shutdown`, and also where the program had one of its own. Off the main thread neither Ray nor we can set one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in former.items():
            if handler is not None:  # None: set by C code, which Python can neither read nor put back
                signal.signal(one, handler)


def check_address(address: str) -> None:
    """Refuse what is no address of a cluster.

    Raises:
        SettingsError: it is none.
    """
    if address == "auto":
        return
    if address.startswith("ray://"):
        raise SettingsError(
            f"--ray {address}: all images would go through Ray's proxy; make this machine a node without processors, "
            "'ray start --address HOST:6379 --num-cpus 0', and give --ray auto"
        )
    found = _HOST_AND_PORT.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise SettingsError(f"--ray {address}: expected auto, or the head's HOST:PORT as 192.168.1.10:6379")


def _refuse_silence(address: str) -> None:
    found = _HOST_AND_PORT.fullmatch(address)
    if found is None:
        return
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), timeout=_CONNECT_S).close()
    except OSError as error:
        raise SettingsError(f"--ray {address}: nothing answers ({error}); {_HOW_TO_START}") from error


def _try_out(address: str) -> None:
    """Let another process go in first: it can be ended, where Ray would wait for minutes and then end the process."""
    try:
        done = subprocess.run(  # noqa: S603 - our own words and an address that was checked
            [sys.executable, "-c", _TRY, address], capture_output=True, timeout=ANSWER_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SettingsError(
            f"--ray {address}: no Ray cluster answers within {ANSWER_S:g} s; check that it is the port of the head "
            f"(6379), that its Ray is of the same version, and that no firewall is between; {_HOW_TO_START}"
        ) from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        words = lines[-1].strip()[:300] if lines else "no reason given"
        raise SettingsError(f"--ray {address}: cannot go in ({words}); this machine must be a node; {_HOW_TO_START}")
