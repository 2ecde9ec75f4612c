"""Explanations -> a folder of overlays, explain.csv and a page to look through."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from sdcore.files import write_bytes_atomically

from ..errors import SettingsError
from ..explain import Explanation, read_upright, write_explanations
from .overlay import Line, blend_heat, can_write, draw_overlay
from .sheet import Group, Section, Tile, write_sheet

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
    tiles: dict[str, list[Tile]] = {}
    counts: dict[str, int] = {}
    legend: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="trainer-explain-") as scratch:
        for found in explanations:
            picture = read_upright(found.path)
            names = _plain_names(found, legend)
            sheet = draw_overlay(picture, found.heat, found.box, _lines(found, names))
            _save(output / OVERLAYS_NAME / f"{found.image}.png", sheet)
            counts[found.predicted] = counts.get(found.predicted, 0) + 1
            if counts[found.predicted] <= _SHOWN_A_CLASS:
                shown = tiles.setdefault(found.predicted, [])
                shown.append(Tile(found.image, found.path, _words(found)))
                if found.heat is not None:
                    panel = Path(scratch, f"{len(rows)}.png")
                    blend_heat(picture, found.heat, found.box).save(panel)
                    shown.append(Tile("heat", panel, _place(found)))
            rows.append(replace(found, heat=None))
        write_explanations(output / TABLE_NAME, rows)
        boxed = {row.predicted for row in rows if row.box is not None}
        sections = [
            Section(
                title=name,
                chinese="",
                words=f"{counts[name]} predicted {name}.",
                total=counts[name],
                groups=(Group(tuple(tiles[name]), more=max(0, counts[name] - _SHOWN_A_CLASS)),),
            )
            for name in sorted(tiles, key=lambda name: (name not in boxed, name))
        ]
        write_sheet(
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
