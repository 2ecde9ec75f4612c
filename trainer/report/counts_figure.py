"""Counts -> a drawing of the balance of classes."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findSystemFonts, fontManager, get_font
from matplotlib.ticker import MaxNLocator

from sdcore.files import write_bytes_atomically

from ..counts import Counts
from ..errors import SettingsError

SUFFIXES = (".png", ".svg", ".pdf")

_COLOURS = ("#0072b2", "#e69f00", "#009e73")
_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "SimHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Noto Sans CJK JP",
    "Arial Unicode MS",
)
"""Fonts that have Chinese, tried in this order."""
_FILES = re.compile(r"Sans.*(CJK|SC)|msyh|PingFang|Hiragino|simhei|wqy|Arial ?Unicode", re.IGNORECASE)
"""What the files of such fonts are called."""
_PLAIN = "DejaVu Sans"


@dataclass(frozen=True)
class Drawn:
    """A drawing that is in place."""

    path: Path
    numbered: bool
    """Whether classes stand by number, in their order, since no font at hand has the letters of their names."""


def draw_counts(path: Path, counts: Counts, *, title: str = "") -> Drawn:
    """A bar for each class and part, with its number; the suffix of `path` chooses PNG, SVG or PDF.

    Raises:
        SettingsError: another suffix.
        OSError: the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SettingsError(f"{path}: found the suffix {suffix!r}; expected one of {', '.join(SUFFIXES)}")
    labels = list(counts.images)
    # In an SVG words stay words, which the reader's program draws in fonts of its own.
    families = [_PLAIN] if suffix == ".svg" else families_for("".join(labels) + title)
    numbered = families is None
    names = [str(place) for place, _ in enumerate(labels, start=1)] if numbered else labels
    content = io.BytesIO()
    with (
        rc_context({"svg.fonttype": "none", "svg.hashsalt": "counts", "font.family": families or [_PLAIN]}),
        warnings.catch_warnings(),
    ):
        if suffix == ".svg":
            warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = _draw(counts, names, "" if numbered else title)
        FigureCanvasAgg(figure)
        metadata = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[suffix]
        figure.savefig(content, format=suffix[1:], dpi=150, metadata=metadata)
    write_bytes_atomically(path, content.getvalue())
    return Drawn(path, numbered)


def _draw(counts: Counts, names: list[str], title: str) -> Figure:
    bars = len(names) * len(counts.parts)
    figure = Figure(figsize=(7.5, 1.3 + 0.26 * bars + 0.2 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    thickness = 0.8 / len(counts.parts)
    for place, part in enumerate(counts.parts):
        numbers = [row[part] for row in counts.images.values()]
        heights = [row + (place - (len(counts.parts) - 1) / 2) * thickness for row in range(len(names))]
        drawn = axes.barh(heights, numbers, height=0.92 * thickness, color=_COLOURS[place], label=part)
        axes.bar_label(drawn, labels=[str(number) for number in numbers], padding=3, fontsize=8)
    # A dollar would begin a formula.
    axes.set_yticks(range(len(names)), [name.replace("$", r"\$") for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.margins(x=0.1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(left=0)
    axes.set_xlabel("images")
    axes.grid(axis="x", color="#dfe2e4", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if title:
        axes.set_title(title.replace("$", r"\$"), loc="left")
    if len(counts.parts) > 1:
        axes.legend(frameon=False, loc="best")
    return figure


def families_for(text: str) -> list[str] | None:
    """Fonts that together have every letter; None when those at hand do not."""
    letters = {ord(letter) for letter in text}
    families = _families_at_hand(letters)
    if families is None and _add_new_fonts():
        families = _families_at_hand(letters)
    return families


def _families_at_hand(letters: set[int]) -> list[str] | None:
    missing = _missing(_PLAIN, letters)
    families = [_PLAIN]
    there = {entry.name for entry in fontManager.ttflist}
    for name in _FONTS:
        if missing and name in there and (left := _missing(name, missing)) != missing:
            missing = left
            families.append(name)
    return None if missing else families


def _add_new_fonts() -> bool:
    """Make fonts known that were installed after the drawing library made its list; whether there was any."""
    known = {entry.fname for entry in fontManager.ttflist}
    new = [file for file in findSystemFonts() if file not in known and _FILES.search(Path(file).name)]
    for file in new:
        fontManager.addfont(file)
    return bool(new)


def _missing(family: str, letters: set[int]) -> set[int]:
    font = get_font(fontManager.findfont(FontProperties(family=[family])))
    return {letter for letter in letters if not font.get_char_index(letter)}
