from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from trainer.assemble import assemble
from trainer.errors import LeakageError
from trainer.leakage import refuse_shared_pixels


def test_the_same_pixels_in_two_parts_are_refused_whatever_the_format(data: Path) -> None:
    with Image.open(data / "train" / "dirt" / "1.png") as picture:
        picture.convert("RGB").save(data / "test" / "dirt" / "99.bmp")
    with pytest.raises(LeakageError, match=r"1\.png = .*99\.bmp: the same pixels .*1 such picture"):
        assemble(data)


def test_a_single_colour_in_two_parts_is_counted_and_allowed(data: Path) -> None:
    for part in ("train", "val"):
        Image.new("RGB", (32, 32), "black").save(data / part / "Normal" / "flat.png")
    assert assemble(data).summary["single_coloured_across_parts"] == 2


def test_twins_within_one_part_and_no_files_at_all_are_no_leak(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture = Image.new("L", (8, 8))
        picture.putpixel((1, 1), 255)
        picture.save(tmp_path / name)
    assert refuse_shared_pixels({"train": [tmp_path / "a.png", tmp_path / "b.png"], "val": []}) == 0
    assert refuse_shared_pixels({}) == 0
