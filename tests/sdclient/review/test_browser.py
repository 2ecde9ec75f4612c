"""The review page in a real browser, by keyboard and by mouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Route, expect

from sdclient.manifest import Curation, Manifest
from sdclient.manifest.curation import ACCEPTED, REJECTED
from sdclient.masks.mask import read_mask
from sdclient.review.drawing_service import DrawingService
from sdclient.review.serving import drawing_application, review_application
from tests.support.browser import CHROMIUM, Person, chromium, counters, visit
from tests.support.review import FILES, MASK_BOX, SIZE, build_output, noise_image, write

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def url(output: Path, tmp_path: Path) -> Iterator[str]:
    with review_application(output, masks=tmp_path / "masks") as application, application.in_background() as url:
        yield url


@pytest.fixture
def person(browser: Browser, url: str) -> Iterator[Person]:
    person = visit(browser, url)
    yield person
    person.is_calm()
    person.page.context.close()


def decided(output: Path) -> dict[str, str]:
    """What a person decided, by the manifest."""
    with Manifest(output) as manifest:
        return {one.file: one.verdict for one in Curation(manifest).verdicts() if one.is_by_person}


def soon(found: Callable[[], object], expected: object, person: Person) -> None:
    """Wait until the page's decision has reached the manifest."""
    for _ in range(3000):
        if found() == expected:
            return
        person.page.wait_for_timeout(10)
    assert found() == expected


def test_keys_decide_and_go_on(person: Person, output: Path) -> None:
    person.sees("pad/1_1.png")
    assert counters(person) == {"accepted": 1, "rejected": 3, "undecided": 5}
    person.press("r")
    person.sees("pad/1_2.png")
    person.reads("#status", "Rejected: pad/1_1.png")
    person.press("a")
    person.sees("pad/1_3.png")
    soon(lambda: decided(output), {"pad/1_1.png": REJECTED, "pad/1_2.png": ACCEPTED}, person)
    assert counters(person) == {"accepted": 1, "rejected": 3, "undecided": 5}
    person.press("u")
    person.sees("pad/1_2.png")
    person.reads("#status", "Undone: pad/1_2.png")
    person.reads("#verdict", "rejected · by the filters")
    soon(lambda: decided(output), {"pad/1_1.png": REJECTED}, person)
    person.press("Control+z")
    person.sees("pad/1_1.png")
    person.press("u")
    person.reads("#status", "This page has nothing to undo.")
    assert decided(output) == {}


def test_a_decision_can_be_cleared(person: Person, output: Path) -> None:
    person.press("r")
    person.sees("pad/1_2.png")
    person.press("ArrowLeft")
    person.sees("pad/1_1.png")
    person.reads("#verdict", "rejected · by a person")
    person.press("c")
    person.reads("#verdict", "accepted · by the filters")
    soon(lambda: decided(output), {}, person)


def test_moving_by_key(person: Person) -> None:
    person.press("ArrowRight")
    person.sees("pad/1_2.png")
    person.press("j")
    person.sees("pad/1_3.png")
    person.press("k")
    person.sees("pad/1_2.png")
    person.press("n")
    person.sees("漏铜/1_1.png")
    person.press("n")
    person.reads("#status", "no further class")
    person.press("Shift+N")
    person.sees("pad/1_1.png")
    person.press("ArrowLeft")
    person.reads("#status", "first image")


def test_the_last_image_can_be_decided(person: Person, output: Path) -> None:
    person.select("class", "漏铜")
    person.sees("漏铜/1_1.png")
    person.page.locator("#stage").focus()
    for file in FILES[6:]:
        person.sees(file)
        person.press("a")
    person.reads("#status", "last image")
    soon(lambda: decided(output), dict.fromkeys(FILES[6:], ACCEPTED), person)


def test_a_key_that_is_held_down_decides_once(person: Person, output: Path) -> None:
    person.sees("pad/1_1.png")
    person.page.keyboard.down("a")
    for _ in range(5):
        person.page.keyboard.down("a")  # repeats, as a held key does
    person.page.keyboard.up("a")
    person.sees("pad/1_2.png")
    soon(lambda: decided(output), {"pad/1_1.png": ACCEPTED}, person)


def test_views(person: Person) -> None:
    page = person.page
    person.press("d")
    expect(page.locator("#panes")).to_have_attribute("data-view", "difference")
    one, two = np.asarray(noise_image(0, mode="L").convert("RGB")).astype(int), np.asarray(noise_image(100)).astype(int)
    levels = np.abs(one - two).max(axis=2)
    expected = f"largest {levels.max()}, mean {levels.mean():.1f} levels; {(levels > 8).mean() * 100:.1f} % of pixels"
    person.reads("#difference-of", expected)
    drawn = person.value(
        "() => { const c = document.querySelector('canvas.difference');"
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 === 0); }"
    )
    assert np.array_equal(np.array(drawn).reshape(SIZE[1], SIZE[0]), np.minimum(255, levels * 4))
    page.locator("#gain").focus()
    person.press("End")
    person.reads("#gain-value", "×32")
    person.press("s")
    expect(page.locator('[data-pane="base"]')).to_be_visible()
    under = page.locator('[data-pane="candidate"] img.under')
    expect(under).to_be_hidden()
    page.locator("#stage").focus()
    page.keyboard.down(" ")
    expect(under).to_be_visible()
    person.reads("#candidate-label", "source")
    page.keyboard.up(" ")
    expect(under).to_be_hidden()


def test_blinking(person: Person, browser: Browser, url: str) -> None:
    still = visit(browser, url, reduced_motion="reduce")
    for one, stays in ((person, False), (still, True)):
        under = one.page.locator('[data-pane="candidate"] img.under')
        one.page.clock.install()
        one.press("b")
        expect(one.page.locator('[data-pane="base"]')).to_be_hidden()
        for is_source in (True, False, True):
            one.page.clock.run_for(600)
            expect(under).to_be_visible(visible=is_source and not stays)
        if stays:
            one.press("x")
            expect(under).to_be_visible()
        one.press("b")
        expect(one.page.locator('[data-pane="base"]')).to_be_visible()
        expect(under).to_be_hidden()
    still.page.context.close()


def test_zoom_and_pan_are_one_for_both(person: Person) -> None:
    transforms = "() => [...document.querySelectorAll('.layer')].map((e) => e.style.transform)"
    person.press("1")
    person.reads("#zoom-value", "100 %")
    person.press("+", "+")
    before = person.value(transforms)
    assert before[0] == before[1]
    person.press("Shift+ArrowRight")
    moved = person.value(transforms)
    assert moved[0] == moved[1] != before[0]
    box = person.page.locator('[data-pane="candidate"] .window').bounding_box()
    assert box is not None
    person.page.mouse.move(box["x"] + 100, box["y"] + 100)
    person.page.mouse.wheel(0, -100)
    expect(person.page.locator("#zoom-value")).to_have_text("195 %")
    person.page.mouse.down()
    person.page.mouse.move(box["x"] + 130, box["y"] + 140)
    person.page.mouse.up()
    last = person.value(transforms)
    assert last[0] == last[1] != moved[0]
    person.press("0")
    assert int(person.page.locator("#zoom-value").inner_text().split()[0]) % 100 == 0  # whole pixels
    rendering = "getComputedStyle(document.querySelector('.layer.enlarged img.candidate')).imageRendering"
    assert person.value(rendering) == "pixelated"


def test_the_mask_is_drawn_around_what_is_white(person: Person) -> None:
    left, top, right, bottom = MASK_BOX
    path = person.page.locator('[data-pane="candidate"] .outline .over').get_attribute("d")
    assert path == f"M{left} {top}L{right} {top}L{right} {bottom}L{left} {bottom}Z"
    person.press("m")
    expect(person.page.locator('[data-pane="candidate"] .outline')).to_be_hidden()
    person.press("m", "ArrowRight")
    person.sees("pad/1_2.png")
    expect(person.page.locator(".outline path")).to_have_count(0)
    expect(person.page.locator("#mask-toggle")).to_be_disabled()


def test_the_other_parent(person: Person) -> None:
    expect(person.page.locator("#other-parent")).to_be_hidden()
    person.select("class", "漏铜")
    person.sees("漏铜/1_1.png")
    person.page.locator("#stage").focus()
    person.press("ArrowRight")
    person.sees("漏铜/1_2.png")
    person.press("ArrowRight")
    person.sees("漏铜/1_3.png")
    person.reads("#base-name", "Normal/5.png")
    person.press("o")
    person.reads("#base-name", "漏铜/1.bmp")
    person.press("o")
    person.reads("#base-name", "Normal/5.png")


def test_facts_are_shown_in_words(person: Person) -> None:
    person.select("reason", "noise")
    person.sees("pad/2_1.png")
    person.reads("#why", "noise")
    person.reads("#why", "face")
    person.reads("#scores", "grey noise beyond the base's")
    person.reads("#scores", "does not apply")
    person.reads("#facts", "<b>macro</b>")
    assert person.page.locator("#facts b").count() == 0


def test_filters(person: Person) -> None:
    person.press("f")
    assert person.value("document.activeElement.name") == "class"
    person.select("state", "undecided")
    person.reads("#listed", "5 images listed")
    person.sees("pad/1_3.png")
    person.select("state", "all")
    person.select("score", "noise")
    person.page.locator('[name="low"]').fill("0.25")
    person.page.locator('[name="high"]').fill("0.65")
    person.page.locator('[name="high"]').press("Tab")
    person.reads("#listed", "4 images listed")
    person.select("order", "highest")
    person.page.locator("#stage").focus()
    person.press("n")
    person.sees("漏铜/1_1.png")
    person.page.get_by_role("button", name="Show all").click()
    person.reads("#listed", "9 images listed")
    person.page.get_by_role("button", name="漏铜").click()
    person.sees("漏铜/1_1.png")
    person.reads("#total-class", "漏铜")
    assert counters(person) == {"accepted": 0, "rejected": 1, "undecided": 2}
    person.select("state", "reviewed")
    person.reads("#nothing", "No image fits this filter.")
    person.press("a")  # nothing to decide about


def test_a_step_waits_for_the_requested_list(person: Person) -> None:
    held: list[Route] = []
    person.page.route("**/api/list*", lambda route: held.append(route))
    person.select("state", "undecided")
    person.page.locator("#stage").focus()
    person.press("n", "j")
    person.page.wait_for_timeout(50)
    assert person.value("document.querySelector('#stage').dataset.shown") == "pad/1_1.png"
    held[0].continue_()
    person.sees("漏铜/1_3.png")
    person.reads("#listed", "5 images listed")


def cell(person: Person, file: str) -> str:
    return f'.cell[data-file="{file}"]'


def selected(person: Person) -> list[str]:
    found: list[str] = person.value(
        "[...document.querySelectorAll('.cell[aria-selected=true]')].map((e) => e.dataset.file)"
    )
    return found


def test_a_grid_by_mouse(person: Person, output: Path) -> None:
    person.page.locator("#mode-grid").click()
    expect(person.page.locator(".cell")).to_have_count(9)
    person.page.locator(cell(person, FILES[1])).click()
    person.page.locator(cell(person, FILES[3])).click(modifiers=["Shift"])
    expect(person.page.locator("#selected")).to_have_text("3 selected")
    assert selected(person) == FILES[1:4]
    person.page.locator(cell(person, FILES[2])).click(modifiers=["Control"])
    person.page.locator(f"{cell(person, FILES[8])} .tick").click()
    assert selected(person) == [FILES[1], FILES[3], FILES[8]]
    person.page.locator("#many-accept").click()
    person.reads("#status", "3 images accepted")
    expect(person.page.locator("#selected")).to_have_text("0 selected")
    soon(lambda: decided(output), dict.fromkeys([FILES[1], FILES[3], FILES[8]], ACCEPTED), person)
    expect(person.page.locator(cell(person, FILES[1]))).to_have_class("cell is-accepted by-person")
    person.page.locator("#many-undo").click()
    person.reads("#status", "Undone for 3 images")
    soon(lambda: decided(output), {}, person)
    person.page.locator(cell(person, FILES[4])).dblclick()
    person.sees(FILES[4])


def test_a_grid_by_keyboard(person: Person, output: Path) -> None:
    person.press("g")
    expect(person.page.locator(cell(person, FILES[0]))).to_be_focused()
    person.press("Shift+ArrowRight", "Shift+ArrowRight")
    expect(person.page.locator("#selected")).to_have_text("3 selected")
    person.press("r")
    soon(lambda: decided(output), dict.fromkeys(FILES[:3], REJECTED), person)
    person.press("End")
    expect(person.page.locator(cell(person, FILES[8]))).to_be_focused()
    person.press(" ", "Home", "ArrowRight", " ")
    assert selected(person) == [FILES[1], FILES[8]]
    person.press("Escape", "Control+a")
    expect(person.page.locator("#selected")).to_have_text("9 selected")
    person.press("Escape", "a")  # with nothing selected, the one with the focus
    person.reads("#status", f"Accepted: {FILES[1]}")
    expect(person.page.locator(cell(person, FILES[2]))).to_be_focused()
    person.press("Enter")
    person.sees(FILES[2])


def test_a_selection_reaches_over_pages(browser: Browser, tmp_path: Path) -> None:
    output = build_output(tmp_path)
    with Manifest(output, create=True) as manifest:
        first = next(manifest.images())
        sha256 = write(output / "zz/1_1.png", noise_image(3))
        for k in range(1, 61):
            (output / f"zz/1_{k}.png").write_bytes((output / "zz/1_1.png").read_bytes())
        manifest.add(
            replace(first, file=f"zz/1_{k}.png", class_name="zz", k=k, sha256=sha256, key=f"zz{k}", mask="")
            for k in range(1, 61)
        )
    with review_application(output) as application, application.in_background() as url:
        person = visit(browser, url + "#mode=grid")
        person.page.locator("#page-size").select_option("24")
        person.reads("#page-of", "Page 1 of 3")
        person.page.locator(cell(person, "pad/10_1.png")).click()
        person.press("PageDown")
        person.reads("#page-of", "Page 2 of 3")
        person.press("PageUp")
        person.reads("#page-of", "Page 1 of 3")
        person.press("Shift+PageDown")
        person.reads("#page-of", "Page 2 of 3")
        expect(person.page.locator("#selected")).to_have_text("25 selected")
        person.press("a")
        person.reads("#status", "25 images accepted")
        soon(lambda: len(decided(output)), 25, person)
        person.press("u")
        soon(lambda: len(decided(output)), 0, person)
        person.page.locator("#page-last").click()
        person.reads("#page-of", "Page 3 of 3")
        person.is_calm()
        person.page.context.close()


def test_two_tabs_do_not_overwrite_each_other(browser: Browser, url: str, output: Path) -> None:
    one, two = visit(browser, url), visit(browser, url)
    one.sees("pad/1_1.png")
    two.sees("pad/1_1.png")
    one.press("r")
    soon(lambda: decided(output), {"pad/1_1.png": REJECTED}, one)
    two.press("a")
    two.reads("#alarms", "pad/1_1.png was not changed: it is rejected now")
    assert decided(output) == {"pad/1_1.png": REJECTED}
    two.sees("pad/1_2.png")
    two.page.get_by_role("button", name="Show it").click()
    two.sees("pad/1_1.png")
    two.reads("#verdict", "rejected · by a person")
    two.press("a")  # it has been seen now, so it may be changed
    soon(lambda: decided(output), {"pad/1_1.png": ACCEPTED}, two)
    one.press("u")
    one.reads("#status", "This page has nothing to undo.")
    assert decided(output) == {"pad/1_1.png": ACCEPTED}
    one.press("ArrowLeft")
    one.value("dispatchEvent(new Event('focus'))")  # as when a person returns to the page
    one.reads("#verdict", "accepted")
    for person in (one, two):
        person.is_calm()
        person.page.context.close()


def test_the_same_decision_on_two_pages_is_no_conflict(browser: Browser, url: str, output: Path) -> None:
    one, two = visit(browser, url), visit(browser, url)
    for person in (one, two):
        person.press("r")
        person.sees("pad/1_2.png")
    soon(lambda: decided(output), {"pad/1_1.png": REJECTED}, two)
    two.page.wait_for_load_state("networkidle")
    assert two.page.locator("#alarms .alarm").count() == 0
    for person in (one, two):
        person.page.context.close()


def test_closing_loses_nothing(browser: Browser, output: Path) -> None:
    with review_application(output) as application, application.in_background() as url:
        person = visit(browser, url)
        person.press("a")
        person.sees("pad/1_2.png")
        person.press("r")
        person.sees("pad/1_3.png")
        person.page.reload()
        person.sees("pad/1_3.png")  # the address keeps the place
        person.press("u")  # and the page keeps what it can undo
        person.sees("pad/1_2.png")
        person.press("r")
        person.sees("pad/1_3.png")
        person.page.close()
    assert decided(output) == {"pad/1_1.png": ACCEPTED, "pad/1_2.png": REJECTED}
    with review_application(output) as application, application.in_background() as url:
        person = visit(browser, url)
        person.sees("pad/1_3.png")  # where the review stopped
        person.reads("#reviewed", "2 of 9")
        person.press("g")
        person.reads(f"{cell(person, 'pad/1_1.png')} .mark", "✓")
        person.page.context.close()


def test_a_program_that_ended_is_reported_and_nothing_is_lost(browser: Browser, output: Path) -> None:
    with review_application(output) as application:
        with application.in_background() as url:
            person = visit(browser, url)
            person.sees("pad/1_1.png")
        person.press("a")
        person.reads("#alarms", "1 decisions are not saved yet")
        assert person.page.get_by_role("button", name="Try again").is_visible()
        person.page.context.close()
    assert decided(output) == {}


def test_missing_and_changed_files_say_so(browser: Browser, url: str, output: Path) -> None:
    (output / "pad/1_1.png").unlink()
    write(output / "pad/1_2.png", noise_image(5))
    person = visit(browser, url)
    person.reads("#faults", "The file of the candidate is missing: pad/1_1.png")
    expect(person.page.locator('[data-pane="candidate"] .unreadable')).to_be_visible()
    person.press("a")
    person.reads("#status", "cannot be accepted")
    person.press("ArrowRight")
    person.sees("pad/1_2.png")
    person.reads("#faults", "is not the one that was recorded: pad/1_2.png")
    person.press("r")
    soon(lambda: decided(output), {"pad/1_2.png": REJECTED}, person)
    person.page.context.close()


def test_new_images_are_reported(person: Person, output: Path) -> None:
    with Manifest(output, create=True) as manifest:
        first = next(manifest.images())
        sha256 = write(output / "pad/0_1.png", noise_image(8))
        manifest.add([replace(first, file="pad/0_1.png", source="pad/0.png", sha256=sha256, key="0", mask="")])
    person.value("dispatchEvent(new Event('focus'))")  # as when a person returns to the page
    person.reads("#listed", "9 images listed, 1 new or gone since")
    person.press("l")
    person.reads("#listed", "10 images listed")


def test_an_output_without_images_says_so(browser: Browser, tmp_path: Path) -> None:
    Manifest(tmp_path, create=True).close()
    with review_application(tmp_path) as application, application.in_background() as url:
        person = visit(browser, url)
        person.reads("#nothing", "no image yet")
        person.press("a", "n", "g", "ArrowRight", " ")
        person.is_calm()
        person.page.context.close()


def test_sixteen_bits_are_shown(person: Person) -> None:
    person.press("ArrowRight", "ArrowRight", "ArrowRight")
    person.sees("pad/2_1.png")
    base = "document.querySelector('[data-pane=base] img.base')"
    assert person.value(f"[{base}.naturalWidth, {base}.naturalHeight]") == list(SIZE)


@pytest.fixture
def browser_drawing_person(browser: Browser, tmp_path: Path) -> Iterator[Person]:
    build_output(tmp_path)
    with (
        drawing_application(DrawingService(tmp_path / "sources", tmp_path / "masks")) as application,
        application.in_background() as url,
    ):
        person = visit(browser, url)
        person.page.locator("#grow").fill("0")
        person.page.locator("#feather").fill("0")
        person.page.locator("#stage").focus()
        yield person
        person.is_calm()
        person.page.context.close()


def at(browser_drawing_person: Person, x: float, y: float) -> tuple[float, float]:
    """Where a place of the image, px, is on the screen."""
    box = browser_drawing_person.page.locator("#picture").bounding_box()
    assert box is not None
    return box["x"] + x * box["width"] / SIZE[0], box["y"] + y * box["height"] / SIZE[1]


def drag(browser_drawing_person: Person, *points: tuple[float, float]) -> None:
    mouse = browser_drawing_person.page.mouse
    mouse.move(*at(browser_drawing_person, *points[0]))
    mouse.down()
    for point in points[1:]:
        mouse.move(*at(browser_drawing_person, *point), steps=4)
    mouse.up()


def mask(tmp_path: Path, name: str = "pad/1.png") -> np.ndarray[Any, Any]:
    return np.asarray(read_mask(tmp_path / "masks" / name, SIZE))


def test_a_rectangle_by_mouse(browser_drawing_person: Person, tmp_path: Path) -> None:
    drag(browser_drawing_person, (10, 8), (20, 16))
    browser_drawing_person.reads("#place", "not saved")
    browser_drawing_person.press("s")
    browser_drawing_person.reads("#status", "Mask saved: pad/1.png")
    expected = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    expected[8:16, 10:20] = 255
    found = mask(tmp_path)
    assert found[9:15, 11:19].all()
    assert not found[:7].any()
    assert not found[18:].any()
    assert np.count_nonzero(found != expected) <= 2 * (10 + 8)  # an edge of one pixel, by where the pointer fell
    browser_drawing_person.reads("#mask-state", "has a mask")
    browser_drawing_person.reads("#done", "1 of 4 sources have a mask")
    expect(browser_drawing_person.page.locator("#former .over")).to_have_count(1)


def test_lasso_polygon_brush_and_eraser(browser_drawing_person: Person, tmp_path: Path) -> None:
    browser_drawing_person.press("l")
    drag(browser_drawing_person, (2, 2), (12, 2), (12, 12), (2, 12), (2, 3))
    browser_drawing_person.press("p")
    for corner in ((20, 2), (30, 2), (30, 12), (20, 12)):
        browser_drawing_person.page.mouse.click(*at(browser_drawing_person, *corner))
    browser_drawing_person.press("Enter")
    browser_drawing_person.press("b")
    drag(browser_drawing_person, (4, 25), (40, 25))
    browser_drawing_person.press("e", "r")
    drag(browser_drawing_person, (18, 20), (26, 30))
    browser_drawing_person.press("s")
    browser_drawing_person.reads("#status", "Mask saved")
    found = mask(tmp_path)
    assert found[7, 7] == found[7, 25] == found[25, 10] == found[25, 35] == 255
    assert found[25, 22] == found[7, 16] == found[16, 40] == 0


def test_undo_discard_and_delete(browser_drawing_person: Person, tmp_path: Path) -> None:
    drag(browser_drawing_person, (1, 1), (5, 5))
    drag(browser_drawing_person, (10, 10), (20, 20))
    browser_drawing_person.press("u", "s")
    browser_drawing_person.reads("#status", "Mask saved")
    assert not mask(tmp_path)[11:, 11:].any()
    drag(browser_drawing_person, (10, 10), (20, 20))
    browser_drawing_person.page.get_by_role("button", name="Discard drawing").click()
    browser_drawing_person.page.locator("#stage").focus()
    browser_drawing_person.press("s")
    browser_drawing_person.reads("#status", "Nothing is drawn yet.")
    browser_drawing_person.page.get_by_role("button", name="Delete mask").click()
    browser_drawing_person.reads("#status", "Mask deleted")
    browser_drawing_person.reads("#mask-state", "no mask")
    assert not (tmp_path / "masks/pad/1.png").exists()


def test_by_keyboard_alone(browser_drawing_person: Person, tmp_path: Path) -> None:
    for side, value in (("left", 4), ("top", 5), ("right", 14), ("bottom", 9)):
        browser_drawing_person.page.locator(f'[name="{side}"]').press("Control+a")
        browser_drawing_person.page.keyboard.type(str(value))
    browser_drawing_person.press("Enter")
    browser_drawing_person.reads("#place", "not saved")
    browser_drawing_person.page.locator("#save-next").focus()
    browser_drawing_person.press("Enter")
    browser_drawing_person.sees("pad/2.tif")
    found = mask(tmp_path)
    rows, columns = np.nonzero(found)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (4, 5, 14, 9)


def test_an_unsaved_drawing_is_not_left_by_accident(browser_drawing_person: Person) -> None:
    drag(browser_drawing_person, (1, 1), (9, 9))
    browser_drawing_person.press("ArrowRight")
    browser_drawing_person.reads("#status", "not saved: pad/1.png")
    browser_drawing_person.sees("pad/1.png")
    browser_drawing_person.press("u", "ArrowRight")
    browser_drawing_person.sees("pad/2.tif")
    browser_drawing_person.page.locator("#sources").select_option("漏铜/1.bmp")
    browser_drawing_person.sees("漏铜/1.bmp")
    browser_drawing_person.page.locator("#stage").focus()
    browser_drawing_person.press("ArrowRight")
    browser_drawing_person.reads("#status", "last image")


def test_zooming_keeps_the_pointer_on_its_pixel(browser_drawing_person: Person, tmp_path: Path) -> None:
    browser_drawing_person.press("+", "+", "Shift+ArrowLeft")
    drag(browser_drawing_person, (20, 10), (24, 14))
    browser_drawing_person.press("s")
    browser_drawing_person.reads("#status", "Mask saved")
    rows, columns = np.nonzero(mask(tmp_path))
    assert abs(columns.min() - 20) <= 1
    assert abs(rows.max() + 1 - 14) <= 1


def test_growing_is_chosen_on_the_page(browser_drawing_person: Person, tmp_path: Path) -> None:
    browser_drawing_person.page.locator("#grow").fill("3")
    browser_drawing_person.page.locator("#stage").focus()
    drag(browser_drawing_person, (20.2, 14.2), (21.8, 15.8))
    browser_drawing_person.press("s")
    browser_drawing_person.reads("#status", "Mask saved")
    rows, columns = np.nonzero(mask(tmp_path))
    assert columns.max() - columns.min() + 1 == 2 + 2 * 3
    assert rows.max() - rows.min() + 1 == 2 + 2 * 3


def test_from_the_review_and_back(browser: Browser, tmp_path: Path) -> None:
    output = build_output(tmp_path)
    with review_application(output, masks=tmp_path / "masks") as application, application.in_background() as url:
        person = visit(browser, url)
        person.press("ArrowRight", "ArrowRight", "ArrowRight")
        person.sees("pad/2_1.png")
        person.press("w")
        person.page.wait_for_url("**/draw**")
        person.sees("pad/2.tif")
        person.page.get_by_role("link", name="Back to the review").click()
        person.sees("pad/2_1.png")
        person.is_calm()
        person.page.context.close()


def test_without_masks_nothing_can_be_drawn(browser: Browser, tmp_path: Path) -> None:
    with review_application(build_output(tmp_path)) as application, application.in_background() as url:
        person = visit(browser, url)
        assert person.page.locator("#draw-link").count() == 0
        person.press("w")
        person.sees("pad/1_1.png")
        person.page.context.close()


def test_the_drawing_shows_on_the_image(browser_drawing_person: Person) -> None:
    drag(browser_drawing_person, (10, 8), (20, 16))
    pixel = browser_drawing_person.value(
        "[...document.getElementById('drawn').getContext('2d').getImageData(15, 12, 1, 1).data]"
    )
    assert pixel == [227, 0, 109, 255]
