"""`sheet.png`: for some classes a real picture, its siblings at growing strength, and pictures out of noise."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from sdcore.diffusion_model import PixelCodec
from sdcore.images.contact_sheet import Font, find_font
from sdcore.torch_runtime import MixedPrecision

from .dataset import TrainingSet
from .drawing import middle_square
from .sampling import sample
from .validation import take_by_turns

STRENGTHS = (0.1, 0.3, 0.5, 0.7, 0.9)
PURE = 2
_MOST_CLASSES = 12
_CELL_PX = 96
_GAP_PX = 4
_LABEL_PX = 150
_HEAD_PX = 22
_TEXT_PX = 13


@dataclass(frozen=True)
class SheetRow:
    """A class and its pictures."""

    label: str
    cells: tuple[Image.Image, ...]


def sample_rows(
    network: nn.Module, pictures: TrainingSet, code: PixelCodec, *, size_px: int, precision: MixedPrecision
) -> list[SheetRow]:
    """A row for each of up to 12 classes, of held-out pictures where there are some.

    Args:
        network: the averaged one.
        pictures: real ones, and the classes' names.
        code: how pixels are put.
        size_px: side of the square.
        precision: in which format the network computes.
    """
    device = next(network.parameters()).device
    shown = take_by_turns(pictures.val or pictures.train, len(pictures.classes))
    by_class = {picture.label: picture for picture in reversed(shown)}
    chosen = [by_class[label] for label in sorted(by_class)][:_MOST_CLASSES]
    labels = [picture.label for picture in chosen]
    real = torch.stack([middle_square(picture.pixels, size_px) for picture in chosen])
    columns = [real]
    for number, strength in enumerate((*STRENGTHS, *[1.0] * PURE)):
        seeds = [1000 * number + row for row in range(len(labels))]
        columns.append(
            sample(
                network,
                code,
                real,
                labels,
                no_class=len(pictures.classes),
                strength=strength,
                seeds=seeds,
                precision=precision,
                device=device,
            )
        )
    return [
        SheetRow(pictures.classes[label], tuple(to_image(column[row]) for column in columns))
        for row, label in enumerate(labels)
    ]


def heads_of(strengths: Sequence[float], pure: int) -> list[str]:
    """What stands above the columns of a sheet.

    Args:
        strengths: of the siblings.
        pure: columns of pictures out of noise.
    """
    return ["source", *(f"strength {strength:g}" for strength in strengths), *["from noise"] * pure]


def draw_sheet(rows: Sequence[SheetRow], title: str, heads: Sequence[str] = tuple(heads_of(STRENGTHS, PURE))) -> bytes:
    """The rows as one PNG file.

    Args:
        rows: one or more.
        title: written above.
        heads: one above each column of pictures.
    """
    width = _LABEL_PX + len(heads) * (_CELL_PX + _GAP_PX)
    # A sheet of grey pictures is a third as large in grey.
    mode = "L" if all(cell.mode == "L" for row in rows for cell in row.cells) else "RGB"
    sheet = Image.new(mode, (width, 2 * _HEAD_PX + len(rows) * (_CELL_PX + _GAP_PX)), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP_PX, 3), title, fill="black", font=_font(title))
    for column, head in enumerate(heads):
        draw.text((_LABEL_PX + column * (_CELL_PX + _GAP_PX), _HEAD_PX + 3), head, fill="black", font=_font(head))
    for number, row in enumerate(rows):
        top = 2 * _HEAD_PX + number * (_CELL_PX + _GAP_PX)
        draw.text((_GAP_PX, top + _CELL_PX // 2 - 8), row.label, fill="black", font=_font(row.label))
        for column, cell in enumerate(row.cells):
            shown = cell.convert(mode).resize((_CELL_PX, _CELL_PX), Image.Resampling.NEAREST)
            sheet.paste(shown, (_LABEL_PX + column * (_CELL_PX + _GAP_PX), top))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def to_image(levels: torch.Tensor) -> Image.Image:
    """A picture from (C, H, W) uint8."""
    array = levels.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def _font(text: str) -> Font:
    """A font that can write the text; Pillow's own where none is at hand."""
    return find_font(text, _TEXT_PX) or ImageFont.load_default(_TEXT_PX)
