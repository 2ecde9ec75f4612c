"""Boxes as the text of a YOLO or a Pascal VOC file, as `sdclient.boxes` and trainers of detectors read them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from ..boxes import Box

MARK = "# written by sdclient export; change classes.txt, not this file"
"""First line of a `data.yaml` of ours."""


def yolo_text(boxes: Sequence[Box], numbers: Mapping[str, int], width_px: int, height_px: int) -> str:
    """A line a box: class number, centre x, centre y, width, height, in shares of the picture; "" for no box.

    Args:
        boxes: in px of the upright picture.
        numbers: class -> its number, from 0.
        width_px: width of the picture.
        height_px: its height.
    """
    lines = []
    for box in boxes:
        across, down = (box.left + box.right) / 2 / width_px, (box.top + box.bottom) / 2 / height_px
        size = (box.right - box.left) / width_px, (box.bottom - box.top) / height_px
        # Eight digits: in a picture of 10,000 px an edge is off by less than a thousandth of a pixel.
        lines.append(" ".join([str(numbers[box.class_name]), *(f"{one:.8f}" for one in (across, down, *size))]) + "\n")
    return "".join(lines)


def voc_text(file_name: str, boxes: Sequence[Box], width_px: int, height_px: int, channels: int) -> str:
    """An annotation file; edges are px from 0, xmax and ymax exclusive, as `sdclient crop` reads them.

    Args:
        file_name: of the picture, without folders.
        boxes: in px of the upright picture.
        width_px: width of the picture.
        height_px: its height.
        channels: 1 for grey, 3 for colour.
    """
    objects = "".join(
        f"  <object>\n    <name>{escape(box.class_name)}</name>\n    <bndbox>"
        f"<xmin>{box.left:g}</xmin><ymin>{box.top:g}</ymin><xmax>{box.right:g}</xmax><ymax>{box.bottom:g}</ymax>"
        "</bndbox>\n  </object>\n"
        for box in boxes
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f"<annotation>\n  <filename>{escape(file_name)}</filename>\n"
        f"  <size><width>{width_px}</width><height>{height_px}</height><depth>{channels}</depth></size>\n"
        f"{objects}</annotation>\n"
    )


def data_yaml(root: str, classes: Sequence[str]) -> str:
    """What `yolov5 train --data` and `yolo detect train data=` read.

    In ASCII, other letters escaped, since YOLOv5 reads it in the system's own code page. The path is absolute, for a
    relative one means another folder to each of them.

    Args:
        root: absolute path of the data set.
        classes: in the order of their numbers.
    """
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(classes))
    return (
        f"{MARK}\npath: {json.dumps(root)}\ntrain: images/train\nval: images/val\nnc: {len(classes)}\nnames:\n{names}"
    )
