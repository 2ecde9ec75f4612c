"""Runs commands as a user would type them: in the foreground, in the background, and the embedded server."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

_SERVER_START_S = 60.0
_POLL_S = 0.25


class StepFailed(Exception):
    """A step of the chain did not end well; the message is one line."""


@contextlib.contextmanager
def server(log: Path, *options: object) -> Iterator[str]:
    """The embedded server on a free loopback port, stopped at the end whatever happens; gives its address.

    Args:
        log: file for its words.
        options: further ones of `sdclient serve`.

    Raises:
        StepFailed: it ended, or did not answer in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = ["sdclient", "serve", "--port", port, *options]
    print(f"$ {as_typed(command)}   (in the background; its words go to {log})", flush=True)
    process = start(command, log)
    try:
        # A system proxy must not be asked for a loopback address.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + _SERVER_START_S
        while True:
            if process.poll() is not None:
                raise StepFailed(f"the embedded server ended at once: {last_line(log)}")
            with contextlib.suppress(urllib.error.URLError, OSError):
                opener.open(f"{url}/sdapi/v1/options", timeout=5).close()
                break
            if time.monotonic() > deadline:
                raise StepFailed(f"the embedded server did not answer within {_SERVER_START_S:.0f} s; see {log}")
            time.sleep(_POLL_S)
        yield url
    finally:
        stop(process)


def say(words: str) -> None:
    """Announce a step."""
    print(f"\n# {words}", flush=True)


def run(*command: object, may_fall_short: bool = False) -> None:
    """Print a command as a user would type it and run it in the foreground.

    Args:
        command: its words.
        may_fall_short: take exit code 1 too, with which a command says that it made less than was planned.

    Raises:
        StepFailed: it ended with another exit code than 0; it has said why.
    """
    print(f"$ {as_typed(command)}", flush=True)
    code = subprocess.run(_argv(command), env=_environment(), check=False).returncode  # noqa: S603 - no shell
    if code != 0 and not (may_fall_short and code == 1):
        raise StepFailed(f"'{command[0]} {command[1]}' ended with code {code}; its own words are above")


def start(command: Sequence[object], log: Path) -> subprocess.Popen[bytes]:
    """Start a command in the background, its output in a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        return subprocess.Popen(  # noqa: S603 - our own command, no shell
            _argv(command), env=_environment(), stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a background process and wait until it is gone."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def as_typed(command: Sequence[object]) -> str:
    """A command as a user would type it in this system's shell."""
    words = [str(word) for word in command]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def last_line(log: Path) -> str:
    """The last line with words in a log file."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), f"no words in {log}")


def _argv(command: Sequence[object]) -> list[str]:
    # The package's own module by this interpreter, so that no console script has to be on the PATH.
    return [sys.executable, "-m", *map(str, command)]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}
