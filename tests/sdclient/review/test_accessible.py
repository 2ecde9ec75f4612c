"""Whether everybody can use the page: names, contrast, focus, sizes, by keyboard alone, at any width.

The checks are our own, after the success criteria of WCAG 2.2 that they name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from sdclient.manifest import Curation, Manifest
from sdclient.manifest.curation import ACCEPTED
from sdclient.review.serving import review_application
from tests.support.browser import CHROMIUM, Person, chromium, visit
from tests.support.review import FILES, build_output

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

LOOK = (Path(__file__).parent / "look.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_output(tmp_path_factory.mktemp("accessible"))


@pytest.fixture(scope="module")
def url(output: Path) -> Iterator[str]:
    with review_application(output, masks=output.parent / "masks") as application, application.in_background() as url:
        yield url


def check(person: Person, lang: str) -> None:
    found: dict[str, Any] = person.value(LOOK)
    assert found["lang"] == lang  # 3.1.1
    assert found["title"]  # 2.4.2
    assert found["landmarks"] == []
    assert found["headings"][0] == 1
    steps = zip(found["headings"], found["headings"][1:], strict=False)
    assert all(after - before <= 1 for before, after in steps)  # 1.3.1
    for name in ("unnamed", "twice", "deadReferences"):  # 4.1.2
        assert found[name] == [], name
    assert found["withoutAlt"] == 0  # 1.1.1
    assert found["texts"] > 20
    assert found["pale"] == []  # 1.4.3
    assert found["faintEdges"] == []  # 1.4.11
    assert found["small"] == []  # 2.5.8
    assert found["outside"] == []  # 1.4.10
    assert found["wide"] <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_page_can_be_read(browser: Browser, url: str, scheme: str, width: int, lang: str) -> None:
    size = {"width": width, "height": 800}
    person = visit(browser, f"{url}&lang={lang}", viewport=size, color_scheme=scheme, reduced_motion="reduce")
    tag = {"en": "en", "zh": "zh-Hans"}[lang]
    person.sees("pad/1_1.png")
    person.value("document.querySelector('#filter-panel').open = true")
    for keys in ([], ["d"], ["b"], ["s", "g"], ["Control+a"]):
        person.press(*keys)
        check(person, tag)
    person.press("?")
    check(person, tag)
    person.press("Escape")
    person.page.goto(f"{url.partition('?')[0]}draw?lang={lang}")
    person.page.wait_for_selector("html[data-ready]")
    check(person, tag)
    person.is_calm()
    person.page.context.close()


def test_the_checks_see_faults(browser: Browser, url: str) -> None:
    person = visit(browser, url)
    person.value("document.querySelector('main').insertAdjacentHTML('beforeend',"
                 "'<button></button><p class=\"place\" id=\"listed\">pale</p><img><a href=\"#\">i</a>')")  # fmt: skip
    person.value("document.querySelector('main > p.place').style.setProperty('color', '#999')")
    person.value("document.querySelector('main > p.place').style.setProperty('width', '3000px')")
    found = person.value(LOOK)
    assert len(found["unnamed"]) == len(found["pale"]) == len(found["twice"]) == found["withoutAlt"] == 1
    assert found["wide"] > 0
    assert found["outside"]
    assert found["small"]
    person.page.context.close()


def focused(person: Person) -> dict[str, Any]:
    found: dict[str, Any] = person.value(
        """() => {
          const e = document.activeElement;
          const style = getComputedStyle(e);
          const box = e.getBoundingClientRect();
          return { id: e.id, tag: e.tagName, text: e.textContent.trim().slice(0, 40), name: e.name ?? "",
            ring: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
            inSight: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
            at: [...document.querySelectorAll("*")].indexOf(e) };
        }"""
    )
    return found


def test_tab_goes_through_everything_in_order_and_is_seen(browser: Browser, url: str) -> None:
    person = visit(browser, url)
    person.sees("pad/1_1.png")
    seen: list[dict[str, Any]] = []
    while True:
        person.press("Tab")
        now = focused(person)
        if now["tag"] == "BODY" or (seen and now["at"] == seen[0]["at"]):
            break
        assert len(seen) < 100, "a trap"  # 2.1.2
        seen.append(now)
    assert [one["at"] for one in seen] == sorted(one["at"] for one in seen)  # 2.4.3
    assert [one for one in seen if one["ring"] < 2 or not one["inSight"]] == []  # 2.4.7, 2.4.11
    assert seen[0]["text"] == "Skip to the images"
    ids = [one["id"] or one["name"] for one in seen]
    for needed in (
        "mode-grid",
        "help-button",
        "class",
        "state",
        "reason",
        "score",
        "reload",
        "accept",
        "reject",
        "undo",
        "next",
    ):
        assert needed in ids
    person.page.context.close()


def tab_to(person: Person, wanted: str) -> None:
    for _ in range(80):
        person.press("Tab")
        now = focused(person)
        if wanted in (now["id"], now["name"]):
            return
    raise AssertionError(f"{wanted} was not reached")


def test_a_review_by_keyboard_alone_without_letters(browser: Browser, tmp_path: Path) -> None:
    """From opening the page to decisions in the manifest: Tab, Enter, Space and arrows alone."""
    output = build_output(tmp_path)
    with review_application(output) as application, application.in_background() as url:
        person = visit(browser, url)
        person.sees("pad/1_1.png")
        tab_to(person, "help-button")
        person.press("Enter")
        expect(person.page.locator("#help")).to_be_visible()
        tab_to(person, "keys-on")
        person.press(" ", "Escape")
        expect(person.page.locator("#help")).to_be_hidden()
        assert focused(person)["id"] == "help-button"  # the focus comes back
        person.press("a")  # 2.1.4: letters are off
        person.sees("pad/1_1.png")
        tab_to(person, "class")
        person.press("ArrowDown", "ArrowDown")
        person.sees("漏铜/1_1.png")
        tab_to(person, "reject")
        person.press("Enter")
        person.sees("漏铜/1_2.png")
        person.reads("#status", "Rejected: 漏铜/1_1.png")  # 4.1.3
        assert person.page.locator("#status").get_attribute("aria-live") == "polite"
        assert focused(person)["id"] == "reject"  # the focus stays for the next one
        tab_to(person, "accept")
        person.press(" ")
        person.sees("漏铜/1_3.png")
        person.page.locator("#stage").focus()
        person.page.keyboard.press("Home")
        tab_to(person, "next")
        person.page.wait_for_load_state("networkidle")
        with Manifest(output) as manifest:
            by_person = {one.file: one.verdict for one in Curation(manifest).verdicts() if one.is_by_person}
        assert by_person == {"漏铜/1_1.png": "rejected", "漏铜/1_2.png": ACCEPTED}
        person.is_calm()
        person.page.context.close()


def test_the_grid_tells_a_reader_what_it_shows(browser: Browser, url: str) -> None:
    person = visit(browser, f"{url}#mode=grid")
    listbox = person.page.get_by_role("listbox", name="Images")
    expect(listbox).to_have_attribute("aria-multiselectable", "true")
    first = person.page.get_by_role("option", name=f"{FILES[0]}, accepted")
    expect(first).to_have_attribute("aria-selected", "false")
    expect(listbox.get_by_role("option")).to_have_count(9)
    assert person.page.locator(".cell[tabindex='0']").count() == 1  # one stop for Tab, arrows within
    person.page.context.close()


def test_the_language_is_switched_and_the_place_kept(browser: Browser, url: str) -> None:
    person = visit(browser, url)
    person.press("ArrowRight", "ArrowRight")
    person.sees("pad/1_3.png")
    person.page.get_by_role("link", name="中文").click()
    person.sees("pad/1_3.png")
    person.reads("#accept", "采用")
    person.reads("#place", "第 3 张，共 9 张")
    person.press("ArrowRight")
    person.sees("pad/2_1.png")
    person.reads("#why", "噪声")
    person.reads("#why", "人脸")
    assert person.value("document.documentElement.lang") == "zh-Hans"
    person.page.get_by_role("link", name="English").click()
    person.sees("pad/2_1.png")
    person.reads("#accept", "Accept")
    person.is_calm()
    person.page.context.close()
