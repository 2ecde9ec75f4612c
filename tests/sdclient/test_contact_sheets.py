"""The contact sheet of transplants."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from sdclient.contact_sheets import write_transplant_sheet
from tests.support.compose_material import Material


def test_each_class_has_its_rows(composed: Callable[..., Material]) -> None:
    material = composed(4)
    write_transplant_sheet(material.root / "sheet.png", material.output, per_class=2)
    with Image.open(material.root / "sheet.png") as sheet:
        two = sheet.height
    write_transplant_sheet(material.root / "sheet.png", material.output, per_class=4)
    with Image.open(material.root / "sheet.png") as sheet:
        assert sheet.height > 1.8 * two


def test_a_picture_that_is_gone_leaves_an_empty_frame(composed: Callable[..., Material]) -> None:
    material = composed(1)
    (material.output / "pit" / "2_1.png").unlink()
    write_transplant_sheet(material.root / "sheet.png", material.output)
    assert (material.root / "sheet.png").is_file()
