"""What stands on a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from PIL import Image, ImageFont

from sdcore.images.contact_sheet import CELL_PX, Cell, Row, can_write, draw_sheet

RED, BLUE = (255, 0, 0), (0, 0, 255)


def cell(colour: tuple[int, int, int] = BLUE, size: tuple[int, int] = (30, 30), caption: str = "") -> Cell:
    return Cell(Image.new("RGB", size, colour), caption)


def sheet_of(labels: Sequence[str], **options: Sequence[str]) -> tuple[Image.Image, dict[str, str]]:
    drawn = draw_sheet(["source"], [Row(label, (cell(),)) for label in labels], **options)
    return drawn.image, dict(drawn.legend)


def pixels_of(image: Image.Image, colour: tuple[int, int, int]) -> int:
    return sum(count for count, found in image.getcolors(image.width * image.height) or [] if found == colour)


def test_every_image_fills_its_cell_and_keeps_its_aspect() -> None:
    rows = [Row("a", (cell(RED), cell(BLUE, (60, 30)))), Row("b", (cell(BLUE, (7, 14)), cell(RED, (900, 900))))]
    drawn = draw_sheet(["source", "1"], rows).image
    assert pixels_of(drawn, RED) == 2 * CELL_PX**2
    assert pixels_of(drawn, BLUE) == 2 * CELL_PX * CELL_PX // 2


def test_grey_black_and_white_and_deep_images_are_drawn() -> None:
    cells = tuple(Cell(Image.new(mode, (8, 8)), "") for mode in ("L", "1", "RGBA", "P"))
    drawn = draw_sheet(["source", "1", "2", "3"], [Row("a", cells)]).image
    assert pixels_of(drawn, (0, 0, 0)) >= 4 * CELL_PX**2


def test_a_spoiled_image_has_a_red_frame_and_red_words() -> None:
    def red(is_marked: bool) -> int:
        drawn = draw_sheet(["source"], [Row("a", (Cell(Image.new("L", (8, 8)), "noise 0.91", is_marked),))])
        return pixels_of(drawn.image, (200, 0, 0))

    assert red(False) == 0
    assert red(True) > 3 * 4 * CELL_PX


def test_a_missing_image_leaves_an_empty_frame() -> None:
    drawn = draw_sheet(["source"], [Row("", (Cell(None, ""),))]).image
    assert pixels_of(drawn, (110, 110, 110)) > 4 * CELL_PX


def test_pillows_own_font_lacks_chinese_and_has_ascii() -> None:
    font = ImageFont.load_default(14)
    assert can_write("scratch 10.png", font)
    assert not can_write("焊盘", font)
    assert not can_write("pad 焊", font)
    assert can_write("", font)


def test_without_a_font_a_chinese_class_becomes_one_number_with_a_legend() -> None:
    image, legend = sheet_of(["焊盘\n1.png", "焊盘\n2.png", "scratch\n1.png", "基材\n1.png"], system_fonts=())
    assert legend == {"no. 1": "焊盘", "no. 2": "基材"}
    as_numbers, none = sheet_of(["no. 1\n1.png", "no. 1\n2.png", "scratch\n1.png", "no. 2\n1.png"])
    assert none == {}
    assert image.tobytes() == as_numbers.tobytes()


def test_a_font_that_is_not_there_is_passed_over() -> None:
    _, legend = sheet_of(["焊盘"], system_fonts=("no-such-font.ttf",))
    assert legend == {"no. 1": "焊盘"}


def test_with_a_chinese_font_the_class_is_written() -> None:
    name = "NotoSerifCJK-Bold.ttc"
    try:
        font = ImageFont.truetype(name, 14)
    except OSError:
        pytest.skip(f"the font {name} is not installed here")
    assert can_write("焊盘", font)
    written, legend = sheet_of(["焊盘"], system_fonts=(name,))
    assert legend == {}
    assert written.tobytes() != sheet_of(["no. 1"])[0].tobytes()


def test_long_words_are_broken_and_no_text_leaves_its_column() -> None:
    image, _ = sheet_of(["averylongnameofaclasswithoutanyspace" * 3])
    short, _ = sheet_of(["a"])
    assert image.size == short.size
    left_of_image = image.crop((121, 0, 129, image.height))
    assert left_of_image.getextrema() == ((255, 255), (255, 255), (255, 255))


def test_a_sheet_of_nothing_is_paper() -> None:
    assert draw_sheet([], []).image.size[1] > 0
