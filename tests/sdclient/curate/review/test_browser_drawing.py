"""Drawing masks in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from sdclient.masks.mask import read_mask
from sdclient.review.drawing_service import DrawingService
from sdclient.review.serving import drawing_application, review_application
from tests.support.browser import CHROMIUM, Person, chromium, visit
from tests.support.review import SIZE, build_output

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def person(browser: Browser, tmp_path: Path) -> Iterator[Person]:
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


def at(person: Person, x: float, y: float) -> tuple[float, float]:
    """Where a place of the picture, px, is on the screen."""
    box = person.page.locator("#picture").bounding_box()
    assert box is not None
    return box["x"] + x * box["width"] / SIZE[0], box["y"] + y * box["height"] / SIZE[1]


def drag(person: Person, *points: tuple[float, float]) -> None:
    mouse = person.page.mouse
    mouse.move(*at(person, *points[0]))
    mouse.down()
    for point in points[1:]:
        mouse.move(*at(person, *point), steps=4)
    mouse.up()


def mask(tmp_path: Path, name: str = "pad/1.png") -> np.ndarray[Any, Any]:
    return np.asarray(read_mask(tmp_path / "masks" / name, SIZE))


def test_a_rectangle_by_mouse(person: Person, tmp_path: Path) -> None:
    drag(person, (10, 8), (20, 16))
    person.reads("#place", "not saved")
    person.press("s")
    person.reads("#said", "Mask saved: pad/1.png")
    expected = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    expected[8:16, 10:20] = 255
    found = mask(tmp_path)
    assert found[9:15, 11:19].all()
    assert not found[:7].any()
    assert not found[18:].any()
    assert np.count_nonzero(found != expected) <= 2 * (10 + 8)  # an edge of one pixel, by where the pointer fell
    person.reads("#mask-state", "has a mask")
    person.reads("#done", "1 of 4 sources have a mask")
    expect(person.page.locator("#former .over")).to_have_count(1)


def test_lasso_polygon_brush_and_eraser(person: Person, tmp_path: Path) -> None:
    person.press("l")
    drag(person, (2, 2), (12, 2), (12, 12), (2, 12), (2, 3))
    person.press("p")
    for corner in ((20, 2), (30, 2), (30, 12), (20, 12)):
        person.page.mouse.click(*at(person, *corner))
    person.press("Enter")
    person.press("b")
    drag(person, (4, 25), (40, 25))
    person.press("e", "r")
    drag(person, (18, 20), (26, 30))
    person.press("s")
    person.reads("#said", "Mask saved")
    found = mask(tmp_path)
    assert found[7, 7] == found[7, 25] == found[25, 10] == found[25, 35] == 255
    assert found[25, 22] == found[7, 16] == found[16, 40] == 0


def test_undo_discard_and_delete(person: Person, tmp_path: Path) -> None:
    drag(person, (1, 1), (5, 5))
    drag(person, (10, 10), (20, 20))
    person.press("u", "s")
    person.reads("#said", "Mask saved")
    assert not mask(tmp_path)[11:, 11:].any()
    drag(person, (10, 10), (20, 20))
    person.page.get_by_role("button", name="Discard drawing").click()
    person.page.locator("#stage").focus()
    person.press("s")
    person.reads("#said", "Nothing is drawn yet.")
    person.page.get_by_role("button", name="Delete mask").click()
    person.reads("#said", "Mask deleted")
    person.reads("#mask-state", "no mask")
    assert not (tmp_path / "masks/pad/1.png").exists()


def test_by_keyboard_alone(person: Person, tmp_path: Path) -> None:
    for side, value in (("left", 4), ("top", 5), ("right", 14), ("bottom", 9)):
        person.page.locator(f'[name="{side}"]').press("Control+a")
        person.page.keyboard.type(str(value))
    person.press("Enter")
    person.reads("#place", "not saved")
    person.page.locator("#save-next").focus()
    person.press("Enter")
    person.sees("pad/2.tif")
    found = mask(tmp_path)
    rows, columns = np.nonzero(found)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (4, 5, 14, 9)


def test_an_unsaved_drawing_is_not_left_by_accident(person: Person) -> None:
    drag(person, (1, 1), (9, 9))
    person.press("ArrowRight")
    person.reads("#said", "not saved: pad/1.png")
    person.sees("pad/1.png")
    person.press("u", "ArrowRight")
    person.sees("pad/2.tif")
    person.page.locator("#sources").select_option("漏铜/1.bmp")
    person.sees("漏铜/1.bmp")
    person.page.locator("#stage").focus()
    person.press("ArrowRight")
    person.reads("#said", "last image")


def test_zooming_keeps_the_pointer_on_its_pixel(person: Person, tmp_path: Path) -> None:
    person.press("+", "+", "Shift+ArrowLeft")
    drag(person, (20, 10), (24, 14))
    person.press("s")
    person.reads("#said", "Mask saved")
    rows, columns = np.nonzero(mask(tmp_path))
    assert abs(columns.min() - 20) <= 1
    assert abs(rows.max() + 1 - 14) <= 1


def test_growing_is_chosen_on_the_page(person: Person, tmp_path: Path) -> None:
    person.page.locator("#grow").fill("3")
    person.page.locator("#stage").focus()
    drag(person, (20.2, 14.2), (21.8, 15.8))
    person.press("s")
    person.reads("#said", "Mask saved")
    rows, columns = np.nonzero(mask(tmp_path))
    assert columns.max() - columns.min() + 1 == 2 + 2 * 3
    assert rows.max() - rows.min() + 1 == 2 + 2 * 3


def test_from_the_review_and_back(browser: Browser, tmp_path: Path) -> None:
    output = build_output(tmp_path)
    with (
        review_application(output, masks=tmp_path / "masks") as application,
        application.in_background() as url,
    ):
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


def test_the_drawing_shows_on_the_picture(person: Person) -> None:
    drag(person, (10, 8), (20, 16))
    pixel = person.value("[...document.getElementById('drawn').getContext('2d').getImageData(15, 12, 1, 1).data]")
    assert pixel == [227, 0, 109, 255]
