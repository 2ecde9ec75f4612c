"""Siblings and images out of noise; the sheet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from sdcore.diffusion_model import PixelCodec
from sdcore.images.contact_sheet import Font, find_font
from sdcore.optional_imports import import_diffusers
from sdcore.torch_runtime import MixedPrecision

from .dataset import TrainingSet
from .session import SCHEDULE, centre_square, take_by_turns

STEPS = 20
GUIDANCE = 2.0
"""How much more of the class than without guidance (1)."""
_BATCH = 32


@torch.no_grad()
def sample(
    network: nn.Module,
    code: PixelCodec,
    levels: torch.Tensor,
    labels: Sequence[int],
    *,
    no_class: int,
    strength: float,
    seeds: Sequence[int],
    precision: MixedPrecision,
    device: torch.device,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
) -> torch.Tensor:
    """Siblings of pictures: noised as far as `strength` says, then cleaned (SDEdit, Meng et al. 2021).

    By DPM++ 2M on Karras' spacing. At strength 1 nothing of the picture is left.

    Args:
        network: the averaged one.
        code: how pixels are put.
        levels: (N, C, H, W) uint8.
        labels: class of each.
        no_class: the label that stands for none.
        strength: above 0, to 1.
        seeds: of the noise of each.
        precision: in which format the network computes.
        device: where the network is.
        steps: of the whole schedule; a strength runs its share of them.
        guidance: 1 makes what the class asks for; above it, what the class asks for more than none does.

    Returns:
        (N, C, H, W) uint8 on the CPU.
    """
    made = []
    for start in range(0, len(labels), _BATCH):
        part = slice(start, start + _BATCH)
        scheduler = import_diffusers().DPMSolverMultistepScheduler(
            **{name: value for name, value in SCHEDULE.items() if name != "clip_sample"}, use_karras_sigmas=True
        )
        scheduler.set_timesteps(steps, device=device)
        begin = steps - int(min(strength, 0.999) * steps) - 1
        scheduler.set_begin_index(begin)
        times = scheduler.timesteps[begin:]
        clean = code.encode(levels[part].to(device))
        noise = torch.stack(
            [torch.randn(clean.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds[part]]
        ).to(device)
        # With sigma 14.6 a trace of the picture would be left.
        current = noise if strength >= 1 else scheduler.add_noise(clean, noise, times[:1])
        wanted = torch.tensor(labels[part], device=device)
        both = torch.cat([wanted, torch.full_like(wanted, no_class)])
        for time in times:
            with precision.autocast():
                found = network(torch.cat([current, current]), time, class_labels=both).sample.float()
            of_class, of_none = found.chunk(2)
            velocity = of_none + guidance * (of_class - of_none)
            current = scheduler.step(velocity, time, current).prev_sample
        made.append(code.decode(current).cpu())
    return torch.cat(made)


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
    real = torch.stack([centre_square(picture.pixels, size_px) for picture in chosen])
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
