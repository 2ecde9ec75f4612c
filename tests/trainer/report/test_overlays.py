from __future__ import annotations

import numpy as np
from PIL import Image

from trainer.models.explain import HeatBox
from trainer.report.overlays import LEAST_PX, MOST_PX, Line, blend_heat, can_write, draw_overlay

CYAN = (0, 220, 255)


def box_around(x0: int, y0: int, x1: int, y1: int) -> HeatBox:
    return HeatBox((x0 + x1) // 2, (y0 + y1) // 2, x0, y0, x1, y1, 0.5)


def test_the_frame_lies_on_the_box_and_the_cross_on_the_peak() -> None:
    picture = Image.new("L", (64, 32), 128)
    panel = np.asarray(blend_heat(picture, np.zeros((8, 8)), box_around(10, 8, 20, 24)))
    factor = LEAST_PX // 64
    assert panel.shape == (32 * factor, 64 * factor, 3)
    rows, columns = np.nonzero((panel == CYAN).all(axis=2))
    assert abs(columns.min() - 10 * factor) <= 2
    assert abs(columns.max() - (20 * factor - 1)) <= 2
    assert abs(rows.min() - 8 * factor) <= 2
    assert abs(rows.max() - (24 * factor - 1)) <= 2
    assert tuple(panel[16 * factor + factor // 2, 15 * factor + factor // 2]) == CYAN
    assert tuple(panel[5, 5]) == (128, 128, 128)


def test_a_frame_at_the_very_border_is_still_drawn_on_all_sides() -> None:
    panel = np.asarray(blend_heat(Image.new("L", (256, 256)), np.zeros((4, 4)), box_around(0, 0, 256, 256)))
    cyan = (panel == CYAN).all(axis=2)
    assert cyan[:4, 100].any()
    assert cyan[-4:, 100].any()
    assert cyan[100, :4].any()
    assert cyan[100, -4:].any()


def test_heat_colours_its_place_and_nothing_else() -> None:
    heat = np.zeros((16, 16))
    heat[12:, :4] = 1.0
    panel = np.asarray(blend_heat(Image.new("L", (256, 256), 255), heat, None)).astype(int)
    assert panel[250, 5, 0] - panel[250, 5, 2] > 150
    assert tuple(panel[5, 250]) == (255, 255, 255)


def test_large_pictures_are_shrunk_and_small_ones_enlarged() -> None:
    assert max(blend_heat(Image.new("L", (4000, 1000)), np.zeros((2, 2)), None).size) == MOST_PX
    assert blend_heat(Image.new("L", (3, 1)), np.zeros((2, 2)), None).size == (258, 86)
    assert blend_heat(Image.new("L", (5000, 1)), np.zeros((2, 2)), None).size == (MOST_PX, 1)


def test_without_heat_there_is_one_panel_and_words_are_never_cut() -> None:
    picture = Image.new("RGB", (256, 256))
    line = Line("short", "short")
    alone = draw_overlay(picture, None, None, [line])
    both = draw_overlay(picture, np.zeros((2, 2)), None, [line])
    assert both.width == 2 * alone.width - 8
    assert draw_overlay(picture, None, None, [Line("w" * 200, "")]).width > 1000
    assert draw_overlay(picture, None, None, []).height < alone.height


def test_what_no_font_can_write_is_replaced_and_never_drawn_as_boxes() -> None:
    picture = Image.new("RGB", (256, 64))
    chinese = draw_overlay(picture, None, None, [Line("predicted 划痕", "predicted class no. 1")], system_fonts=())
    plain = draw_overlay(picture, None, None, [Line("predicted class no. 1", "")], system_fonts=())
    assert chinese.tobytes() == plain.tobytes()
    assert not can_write("划痕", system_fonts=())
    assert not can_write("划痕", system_fonts=("no-such-font.ttf",))
    assert can_write("scratch, p = 0.5", system_fonts=())
