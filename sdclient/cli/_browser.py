"""Telling the address of a page, and opening it."""

from __future__ import annotations

import json
import threading
import webbrowser
from collections.abc import Callable

import click


def announce(command: str, *, open_browser: bool, as_json: bool) -> Callable[[str], None]:
    """What to call with a page's address once it answers.

    Args:
        command: who serves it.
        open_browser: open it in the browser, too.
        as_json: print it for a script.
    """

    def tell(url: str) -> None:
        words = json.dumps({"url": url}) if as_json else f"{command}: {url}\nStop it with Ctrl-C."
        click.echo(words)
        if open_browser:
            # A browser may take its time, and the page is served meanwhile.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    return tell
