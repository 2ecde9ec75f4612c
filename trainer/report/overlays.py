"""Heat maps over images, the folder of explanations."""

import io
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from sdcore.files import write_bytes_atomically
from sdcore.images.contact_sheet import SYSTEM_FONTS, Font, find_font
from sdcore.pages import ImageTile, PageSection, TileGroup, write_image_page

from ..data.transforms import read_rgb
from ..errors import SettingsError
from ..models.explain import Explanation, HeatBox, scale_box, write_explanations

LEAST_PX, MOST_PX = 256, 1024
"""A picture is enlarged by a whole factor until its longer side has the first, or shrunk to the second."""

_TEXT_PX, _LINE_PX, _GAP_PX = 15, 20, 8
_HEAT_COLOUR = np.array([255.0, 90.0, 0.0])
_MOST_HEAT = 0.75
"""How much of the picture the hottest place hides."""
_FRAME = ((0, 0, 0, 5), (0, 220, 255, 2))
"""Red, green, blue and width: dark below bright, to be seen on black, white and heat."""


@dataclass(frozen=True)
class Line:
    """A line of words under a picture."""

    text: str
    instead: str
    """What to write where no font on this computer has all characters of `text`; plain English."""


def blend_heat(picture: Image.Image, heat: npt.NDArray[np.float64], box: HeatBox | None) -> Image.Image:
    """The picture with its heat over it, the box framed and the peak crossed.

    Args:
        heat: (h, w) in [0, 1] over the whole picture, of any resolution.
        box: in pixels of the picture; None for no frame.
    """
    panel = _fit(picture)
    pixels = np.asarray(panel, dtype=np.float64)
    layer = Image.fromarray(heat.astype(np.float32)).resize(panel.size, Image.Resampling.BILINEAR)
    alpha = _MOST_HEAT * np.clip(np.asarray(layer, dtype=np.float64), 0, 1)[..., None]
    blended = Image.fromarray(np.rint((1 - alpha) * pixels + alpha * _HEAT_COLOUR).astype(np.uint8))
    if box is not None:
        _draw_box(blended, scale_box(box, size=picture.size, to=panel.size))
    return blended


def draw_overlay(
    picture: Image.Image,
    heat: npt.NDArray[np.float64] | None,
    box: HeatBox | None,
    lines: Sequence[Line],
    *,
    system_fonts: Sequence[str] = SYSTEM_FONTS,
) -> Image.Image:
    """The picture, beside it its heat map, below them words.

    Args:
        picture: upright, in colour or grey.
        heat: as `blend_heat`; None leaves the picture alone.
        system_fonts: file names of fonts to try for what Pillow's own font cannot write.
    """
    panels = [_fit(picture)]
    if heat is not None:
        panels.append(blend_heat(picture, heat, box))
    written = [_writable(line, system_fonts) for line in lines]
    width = sum(panel.width + _GAP_PX for panel in panels) + _GAP_PX
    width = max([width, *(round(font.getlength(text)) + 2 * _GAP_PX for font, text in written)])
    height = panels[0].height + 2 * _GAP_PX
    sheet = Image.new("RGB", (width, height + _LINE_PX * len(lines) + _GAP_PX * bool(lines)), "white")
    draw = ImageDraw.Draw(sheet)
    left = _GAP_PX
    for panel in panels:
        sheet.paste(panel, (left, _GAP_PX))
        # Without a line around it, a white picture has no edge on white paper.
        draw.rectangle((left - 1, _GAP_PX - 1, left + panel.width, _GAP_PX + panel.height), outline=(110, 110, 110))
        left += panel.width + _GAP_PX
    for number, (font, text) in enumerate(written):
        draw.text((_GAP_PX, height + number * _LINE_PX), text, font=font, fill="black")
    return sheet


def can_write(text: str, *, system_fonts: Sequence[str] = SYSTEM_FONTS) -> bool:
    """Whether some font at hand has every character of the text."""
    return find_font(text, _TEXT_PX, system_fonts=system_fonts) is not None


def _fit(picture: Image.Image) -> Image.Image:
    rgb = picture.convert("RGB")
    longest = max(rgb.size)
    if longest > MOST_PX:
        size = (max(1, rgb.width * MOST_PX // longest), max(1, rgb.height * MOST_PX // longest))
        return rgb.resize(size, Image.Resampling.LANCZOS)
    factor = -(-LEAST_PX // longest)
    return rgb.resize((rgb.width * factor, rgb.height * factor), Image.Resampling.NEAREST)


def _draw_box(panel: Image.Image, box: HeatBox) -> None:
    draw = ImageDraw.Draw(panel)
    for red, green, blue, width in _FRAME:
        grow = width // 2
        corners = (box.x0 - grow, box.y0 - grow, box.x1 - 1 + grow, box.y1 - 1 + grow)
        inside = (
            max(0, corners[0]), max(0, corners[1]), min(panel.width - 1, corners[2]), min(panel.height - 1, corners[3])
        )  # fmt: skip
        draw.rectangle(inside, outline=(red, green, blue), width=width)
    for red, green, blue, width in _FRAME:
        draw.line((box.peak_x - 6, box.peak_y, box.peak_x + 6, box.peak_y), fill=(red, green, blue), width=width)
        draw.line((box.peak_x, box.peak_y - 6, box.peak_x, box.peak_y + 6), fill=(red, green, blue), width=width)


def _writable(line: Line, system_fonts: Sequence[str]) -> tuple[Font, str]:
    font = find_font(line.text, _TEXT_PX, system_fonts=system_fonts)
    return (ImageFont.load_default(_TEXT_PX), line.instead) if font is None else (font, line.text)


TABLE_NAME = "explain.csv"
PAGE_NAME = "index.html"
OVERLAYS_NAME = "overlays"

_SHOWN_A_CLASS = 60


@dataclass(frozen=True)
class WrittenExplanations:
    """What was written."""

    rows: tuple[Explanation, ...]
    """In order of the images, without their heat maps."""
    legend: dict[str, str]
    """ReportWords in the overlays -> the class name they stand for, which no font on this computer can write."""


def check_output(output: Path, images: Path) -> None:
    """Refuse a folder that must not be written.

    Raises:
        SettingsError: it is not empty, or lies among the images, which would be explained with the next ones.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        what = "holds files already" if output.is_dir() else "is a file"
        raise SettingsError(f"{output}: {what}; expected a new or empty folder, choose another -o")
    if images.is_dir() and images.resolve() in (output.resolve(), *output.resolve().parents):
        raise SettingsError(f"{output}: lies among the images of {images}; choose an -o outside of it")


def write_folder(output: Path, explanations: Iterable[Explanation]) -> WrittenExplanations:
    """Write `overlays/<image>.png` for each image, explain.csv and index.html.

    Args:
        output: as `check_output` allows.
        explanations: taken one at a time; their heat maps are not kept.

    Raises:
        OSError: a file cannot be written.
    """
    rows: list[Explanation] = []
    tiles: dict[str, list[ImageTile]] = {}
    counts: dict[str, int] = {}
    legend: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="trainer-explain-") as scratch:
        for found in explanations:
            picture = read_rgb(found.path)
            names = _plain_names(found, legend)
            sheet = draw_overlay(picture, found.heat, found.box, _lines(found, names))
            _save(output / OVERLAYS_NAME / f"{found.image}.png", sheet)
            counts[found.predicted] = counts.get(found.predicted, 0) + 1
            if counts[found.predicted] <= _SHOWN_A_CLASS:
                shown = tiles.setdefault(found.predicted, [])
                shown.append(ImageTile(found.image, found.path, _words(found)))
                if found.heat is not None:
                    panel = Path(scratch, f"{len(rows)}.png")
                    blend_heat(picture, found.heat, found.box).save(panel)
                    shown.append(ImageTile("heat", panel, _place(found)))
            rows.append(replace(found, heat=None))
        write_explanations(output / TABLE_NAME, rows)
        boxed = {row.predicted for row in rows if row.box is not None}
        sections = [
            PageSection(
                title=name,
                chinese="",
                words=f"{counts[name]} predicted {name}.",
                total=counts[name],
                groups=(TileGroup(tuple(tiles[name]), more=max(0, counts[name] - _SHOWN_A_CLASS)),),
            )
            for name in sorted(tiles, key=lambda name: (name not in boxed, name))
        ]
        write_image_page(
            output / PAGE_NAME,
            "Where the classifier looked",
            sections,
            words="The box holds the hottest region, the cross is its peak. Heat shows what moved the answer, which "
            "need not be the defect: a box far from any defect is a reason to doubt the answer.",
        )
    return WrittenExplanations(tuple(rows), legend)


def _plain_names(found: Explanation, legend: dict[str, str]) -> dict[str, str]:
    """Class name -> a number for it, entered in the legend where no font can write the name."""
    names = {}
    for name in (found.predicted, found.explained):
        known = next((instead for instead, meant in legend.items() if meant == name), None)
        if known is None and not can_write(name):
            known = f"class no. {len(legend) + 1}"
            legend[known] = name
        names[name] = known or name
    return names


def _lines(found: Explanation, names: dict[str, str]) -> list[Line]:
    def line(text: str, name: str) -> Line:
        return Line(text.format(name), text.format(names[name]))

    lines = [line(f"predicted {{}}, p = {found.probability:.3f}", found.predicted)]
    if found.explained_probability is not None:
        lines.append(line(f"heat: {{}}, p = {found.explained_probability:.3f}", found.explained))
    lines += [Line(words, words) for words in _place(found).split("; ")]
    return lines


def _words(found: Explanation) -> str:
    words = f"p = {found.probability:.3f}"
    if found.explained_probability is None:
        return f"{words}; {found.note}"
    return f"{words}; {found.explained} {found.explained_probability:.3f}"


def _place(found: Explanation) -> str:
    box = found.box
    if box is None:
        return found.note
    return f"box x {box.x0}-{box.x1}, y {box.y0}-{box.y1}; {100 * box.share:.0f} % of the heat"


def _save(path: Path, sheet: Image.Image) -> None:
    content = io.BytesIO()
    sheet.save(content, "PNG")
    write_bytes_atomically(path, content.getvalue())
