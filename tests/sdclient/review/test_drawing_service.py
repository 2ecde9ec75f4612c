"""Masks of drawings, without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from sdclient.errors import MaskError, SourceError
from sdclient.masks.mask import read_mask
from sdclient.review.drawing_service import Drawing, DrawingService, Shape
from sdclient.review.serving import drawing_application
from tests.support.review import SIZE, build_output
from tests.support.review_page import Page

NAME = "pad/1.png"


@pytest.fixture
def service(tmp_path: Path) -> DrawingService:
    build_output(tmp_path)
    return DrawingService(tmp_path / "sources", tmp_path / "masks")


def rectangle(left: float, top: float, right: float, bottom: float, *, erases: bool = False) -> Shape:
    return Shape(kind="rectangle", points=((left, top), (right, bottom)), erases=erases)


def saved(service: DrawingService, *shapes: Shape, **options: Any) -> np.ndarray[Any, Any]:
    service.save(NAME, Drawing(shapes=shapes, **options))
    return np.asarray(read_mask(service.masks / "pad" / "1.png", SIZE))


def white(box: tuple[int, int, int, int]) -> np.ndarray[Any, Any]:
    expected = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    expected[box[1] : box[3], box[0] : box[2]] = 255
    return expected


@pytest.mark.parametrize(
    ("corners", "box"),
    [
        ((3, 4, 10, 12), (3, 4, 10, 12)),
        ((10, 12, 3, 4), (3, 4, 10, 12)),
        ((3.2, 4.9, 9.1, 11.5), (3, 4, 10, 12)),  # every pixel it touches
        ((-5, -5, 500, 2), (0, 0, 48, 2)),
        ((0, 0, 48, 32), (0, 0, 48, 32)),
    ],
)
def test_a_rectangle_covers_the_pixels_it_touches(
    service: DrawingService, corners: tuple[float, float, float, float], box: tuple[int, int, int, int]
) -> None:
    assert np.array_equal(saved(service, rectangle(*corners)), white(box))


def test_an_area_covers_what_its_line_encloses(service: DrawingService) -> None:
    area = Shape(kind="area", points=((5, 5), (15, 5), (15, 20), (5, 20)))
    mask = saved(service, area)
    assert set(np.unique(mask)) == {0, 255}
    assert (mask[6:19, 6:14] == 255).all()
    assert (mask[22:] == 0).all()
    assert (mask[:, 17:] == 0).all()


def test_a_stroke_is_as_wide_as_its_brush(service: DrawingService) -> None:
    stroke = Shape(kind="stroke", points=((10, 16), (30, 16)), width_px=6)
    mask = saved(service, stroke)
    assert 5 <= (mask[:, 20] == 255).sum() <= 7
    across = np.flatnonzero(mask[:, 20])
    assert abs((across[0] + across[-1]) / 2 - 15.5) <= 0.5
    dot = saved(service, Shape(kind="stroke", points=((20, 10),), width_px=9))
    assert dot.any()
    rows, columns = np.nonzero(dot)
    assert abs(rows.mean() - 9.5) <= 0.5
    assert abs(columns.mean() - 19.5) <= 0.5
    assert 7 <= columns.max() - columns.min() + 1 <= 10


def test_what_is_erased_is_black_again_unless_drawn_later(service: DrawingService) -> None:
    mask = saved(service, rectangle(0, 0, 20, 20), rectangle(5, 5, 15, 15, erases=True), rectangle(8, 8, 10, 10))
    expected = white((0, 0, 20, 20))
    expected[5:15, 5:15] = 0
    expected[8:10, 8:10] = 255
    assert np.array_equal(mask, expected)


def test_growing_and_feathering_are_chosen(service: DrawingService) -> None:
    mask = saved(service, rectangle(20, 12, 24, 16), grow_px=2, feather_px=3)
    row = mask[13].tolist()
    assert row[18:26] == [255] * 8
    assert row[14:18] == [0, 64, 128, 191]
    assert row[:15] == [0] * 15


def test_a_drawing_is_added_to_the_existing_mask_only_when_chosen(service: DrawingService) -> None:
    saved(service, rectangle(0, 0, 10, 10))
    kept = saved(service, rectangle(20, 0, 30, 10), rectangle(0, 0, 5, 10, erases=True), keeps_former=True)
    assert np.array_equal(kept, white((5, 0, 10, 10)) | white((20, 0, 30, 10)))
    assert np.array_equal(saved(service, rectangle(40, 0, 48, 10)), white((40, 0, 48, 10)))


def test_an_empty_drawing_is_refused_and_changes_nothing(service: DrawingService) -> None:
    before = saved(service, rectangle(0, 0, 10, 10))
    for shapes in ((), (rectangle(0, 0, 10, 10), rectangle(0, 0, 10, 10, erases=True)), (rectangle(90, 90, 99, 99),)):
        with pytest.raises(MaskError, match="nothing is drawn"):
            service.save(NAME, Drawing(shapes=shapes))
    assert np.array_equal(np.asarray(read_mask(service.masks / "pad/1.png", SIZE)), before)


@pytest.mark.parametrize(
    "bad",
    [
        {"shapes": [{"kind": "rectangle", "points": []}]},
        {"shapes": [{"kind": "circle", "points": [[0, 0]]}]},
        {"shapes": [{"kind": "area", "points": [["nan", 0]]}]},
        {"shapes": [{"kind": "area", "points": [[1e9, 0]]}]},
        {"shapes": [{"kind": "stroke", "points": [[0, 0]], "width_px": 0}]},
        {"shapes": [], "grow_px": -1},
        {"shapes": [], "feather_px": 5000},
    ],
)
def test_a_malformed_drawing_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Drawing.model_validate(bad)


def test_a_mask_of_another_size_is_not_added_to(service: DrawingService) -> None:
    (service.masks / "pad").mkdir(parents=True)
    Image.new("L", (5, 5), 255).save(service.masks / "pad" / "1.png")
    with pytest.raises(MaskError, match="5 x 5 px"):
        saved(service, rectangle(0, 0, 5, 5), keeps_former=True)
    assert saved(service, rectangle(0, 0, 5, 5)).shape == (32, 48)


def test_the_mask_of_a_turned_photograph_is_upright(tmp_path: Path) -> None:
    folder = tmp_path / "sources" / "pad"
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(folder / "1.jpg", exif=exif)
    service = DrawingService(tmp_path / "sources", tmp_path / "masks")
    source = service.save("pad/1.jpg", Drawing(shapes=(rectangle(0, 0, 5, 40),)))
    assert source is not None
    assert (source["width"], source["height"]) == (20, 40)
    with Image.open(tmp_path / "masks/pad/1.png") as mask:
        assert (mask.size, mask.getbbox()) == ((20, 40), (0, 0, 5, 40))


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    build_output(tmp_path)
    with (
        drawing_application(DrawingService(tmp_path / "sources", tmp_path / "masks")) as application,
        application.in_background() as url,
    ):
        page = Page(url)
        yield page
        page.session.close()


def test_drawing_needs_no_output(page: Page, tmp_path: Path) -> None:
    assert "Draw masks" in page.html
    assert page.get("/api/counts").status_code == 404
    names = page.get("/api/sources").json()
    assert [one["name"] for one in names] == ["pad/1.png", "pad/2.tif", "pad/10.png", "漏铜/1.bmp"]
    drawing = {"shapes": [{"kind": "rectangle", "points": [[1, 1], [5, 5]]}], "grow_px": 1}
    source = page.post("/api/mask", drawing, name="漏铜/1.bmp").json()
    assert source["mask"]
    assert np.asarray(read_mask(tmp_path / "masks" / "漏铜" / "1.png", SIZE)).any()
    assert page.get("/api/source-picture", name="漏铜/1.bmp", mask=True).headers["content-type"] == "image/png"
    gone = page.session.delete(
        f"{page.base}/api/mask", params={"name": "漏铜/1.bmp"}, json={}, headers={"X-Review-Key": page.key}, timeout=20
    )
    assert gone.json()["mask"] == ""
    assert not (tmp_path / "masks" / "漏铜" / "1.png").exists()


@pytest.mark.parametrize("name", ["../secret.png", "pad/77.png", "", "pad/1.png/../../x"])
def test_a_request_cannot_name_a_path(page: Page, name: str, tmp_path: Path) -> None:
    drawing = {"shapes": [{"kind": "rectangle", "points": [[1, 1], [5, 5]]}]}
    assert page.post("/api/mask", drawing, name=name).status_code == 404
    assert page.get("/api/source-picture", name=name).status_code == 404
    assert page.get("/api/source", name=name).status_code == 404
    assert not (tmp_path / "masks").exists()


def test_an_empty_drawing_is_refused_with_a_message(page: Page) -> None:
    reply = page.post("/api/mask", {"shapes": []}, name="pad/1.png")
    assert reply.status_code == 422
    assert "nothing is drawn" in reply.json()["detail"]


def test_sources_that_are_not_numbered_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError), drawing_application(DrawingService(tmp_path, tmp_path / "masks")):
        pass
