"""Images from a model: variants of a source, images from noise, and the sheet that shows both."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from sdcore.diffusion_model import PixelCodec
from sdcore.images.contact_sheet import find_font
from sdcore.optional_imports import import_diffusers
from sdcore.torch_runtime import MixedPrecision

from .dataset import TrainingSet
from .session import SCHEDULE, centre_square, take_by_turns

STEPS = 20
GUIDANCE = 2.0
"""Classifier-free guidance: above 1, the difference between the class and no class is amplified."""
_BATCH = 32


@dataclass(frozen=True)
class SampleOptions:
    """Settings of `sample`."""

    strength: float
    """Denoising strength, above 0 and up to 1; at 1 nothing of the source is left."""
    no_class: int
    """The label that means no class."""
    device: torch.device
    """Device of the network."""
    precision: MixedPrecision
    steps: int = STEPS
    """Of the whole schedule; a strength below 1 runs its share of them."""
    guidance: float = GUIDANCE


@torch.no_grad()
def sample(
    network: nn.Module,
    codec: PixelCodec,
    levels: torch.Tensor,
    labels: Sequence[int],
    seeds: Sequence[int],
    options: SampleOptions,
) -> torch.Tensor:
    """Variants of images: noised according to the strength, then denoised (SDEdit, Meng et al. 2021).

    The sampler is DPM++ 2M with Karras' noise levels. Each image has its own seed for the noise, so it does not depend
    on the other images of its batch.

    Args:
        levels: (N, C, H, W) uint8, the sources.

    Returns:
        (N, C, H, W) uint8 on the CPU.
    """
    device, steps, strength = options.device, options.steps, options.strength
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
        clean = codec.encode(levels[part].to(device))
        noise = torch.stack(
            [torch.randn(clean.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds[part]]
        ).to(device)
        # `add_noise` would leave a trace of the source: even at the highest noise level, sigma is only 14.6.
        current = noise if strength >= 1 else scheduler.add_noise(clean, noise, times[:1])
        wanted = torch.tensor(labels[part], device=device)
        both = torch.cat([wanted, torch.full_like(wanted, options.no_class)])
        for time in times:
            with options.precision.autocast():
                found = network(torch.cat([current, current]), time, class_labels=both).sample.float()
            of_class, of_none = found.chunk(2)
            velocity = of_none + options.guidance * (of_class - of_none)
            current = scheduler.step(velocity, time, current).prev_sample
        made.append(codec.decode(current).cpu())
    return torch.cat(made)


STRENGTHS = (0.1, 0.3, 0.5, 0.7, 0.9)
PURE = 2
_MOST_CLASSES = 12
_CELL_PX = 96
_GAP_PX = 4
_LABEL_PX = 150
_TITLE_PX = 22
_TEXT_PX = 13


@dataclass(frozen=True)
class SheetRow:
    """A class and its images."""

    label: str
    cells: tuple[Image.Image, ...]


def sample_rows(
    network: nn.Module, data: TrainingSet, codec: PixelCodec, *, size_px: int, precision: MixedPrecision
) -> list[SheetRow]:
    """A row for each of up to 12 classes, from held-out images if there are any."""
    device = next(network.parameters()).device
    shown = take_by_turns(data.val or data.train, len(data.classes))
    by_class = {image.label: image for image in reversed(shown)}
    chosen = [by_class[label] for label in sorted(by_class)][:_MOST_CLASSES]
    labels = [image.label for image in chosen]
    real = torch.stack([centre_square(image.pixels, size_px) for image in chosen])
    columns = [real]
    for number, strength in enumerate((*STRENGTHS, *[1.0] * PURE)):
        seeds = [1000 * number + row for row in range(len(labels))]
        options = SampleOptions(strength, no_class=len(data.classes), device=device, precision=precision)
        columns.append(sample(network, codec, real, labels, seeds, options))
    return [
        SheetRow(data.classes[label], tuple(to_image(column[row]) for column in columns))
        for row, label in enumerate(labels)
    ]


def column_titles(strengths: Sequence[float], pure: int) -> list[str]:
    """The titles of a sheet's columns; `pure` is the number of columns of images from noise."""
    return ["source", *(f"strength {strength:g}" for strength in strengths), *["from noise"] * pure]


def draw_sheet(
    rows: Sequence[SheetRow], title: str, titles: Sequence[str] = tuple(column_titles(STRENGTHS, PURE))
) -> bytes:
    """The rows as one PNG file."""
    pitch = _CELL_PX + _GAP_PX
    # A sheet of grey images is a third as large in grey.
    mode = "L" if all(cell.mode == "L" for row in rows for cell in row.cells) else "RGB"
    sheet = Image.new(mode, (_LABEL_PX + len(titles) * pitch, 2 * _TITLE_PX + len(rows) * pitch), "white")
    draw = ImageDraw.Draw(sheet)

    def write(place: tuple[int, int], text: str) -> None:
        font = find_font(text, _TEXT_PX) or ImageFont.load_default(_TEXT_PX)
        draw.text(place, text, fill="black", font=font)

    write((_GAP_PX, 3), title)
    for column, column_title in enumerate(titles):
        write((_LABEL_PX + column * pitch, _TITLE_PX + 3), column_title)
    for number, row in enumerate(rows):
        top = 2 * _TITLE_PX + number * pitch
        write((_GAP_PX, top + _CELL_PX // 2 - 8), row.label)
        for column, cell in enumerate(row.cells):
            shown = cell.convert(mode).resize((_CELL_PX, _CELL_PX), Image.Resampling.NEAREST)
            sheet.paste(shown, (_LABEL_PX + column * pitch, top))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def to_image(levels: torch.Tensor) -> Image.Image:
    """An image from (C, H, W) uint8."""
    array = levels.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
