"""A person at the page: Debian's Chromium by keyboard and mouse. Playwright's own browsers are never fetched."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

PATIENCE_MS = 60_000
"""Only a fault waits so long; a machine that is busy with other things is none."""
expect.set_options(timeout=PATIENCE_MS)

WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""


class Person:
    """Somebody who looks at one page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[str] = []
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.add_init_script(WATCH)
        self.asked: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))

    def open(self, url: str) -> Person:
        self.page.goto(url)
        self.page.wait_for_selector("html[data-ready]")
        return self

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def sees(self, file: str) -> None:
        """The pictures of that image are on the screen."""
        self.page.wait_for_selector(f'#stage[data-shown="{file}"]')

    def reads(self, selector: str, words: str) -> None:
        expect(self.page.locator(selector)).to_contain_text(words)

    def value(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)

    def select(self, name: str, value: str) -> None:
        self.page.locator(f'#filter [name="{name}"]').select_option(value)

    def is_calm(self) -> None:
        """Nothing on the console, nothing against the policy, nothing from elsewhere."""
        assert self.said == []
        assert self.value("window.violations") == []
        own = self.page.url.split("/")[2]
        assert {url.split("/")[2] for url in self.asked} == {own}


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def visit(browser: Browser, url: str, **options: Any) -> Person:
    """A person with a window of their own."""
    context: BrowserContext = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    context.set_default_timeout(PATIENCE_MS)
    context.set_default_navigation_timeout(PATIENCE_MS)
    return Person(context.new_page()).open(url)


def counters(person: Person) -> Mapping[str, int]:
    return {
        name: int(person.page.locator(f"#total-{name}").inner_text()) for name in ("accepted", "rejected", "undecided")
    }
