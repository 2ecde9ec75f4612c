"""Drawings as SVG text for a page: its colours, light or dark, and its fonts, so that no letter is missing."""

from __future__ import annotations

import io
import math
import re
import unicodedata
from html import escape
from itertools import product

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from .pieces import COLOURS

INK = "#010203"
LINE = "#010204"
ARMS = tuple(f"#0102{5 + index:02x}" for index in range(COLOURS))
_PAGE_COLOURS = {
    INK: "currentColor",
    LINE: "var(--line)",
    **{colour: f"var(--arm-{index})" for index, colour in enumerate(ARMS)},
}
"""Colours used while drawing, each replaced by what the page defines."""

_NARROW_EM = 0.6


class Lettering:
    """ReportWords of any script in a drawing.

    The drawing library has no Chinese of its own, and a dollar begins a formula for it. So it lays out stand-ins of
    the same width, which are replaced in the finished SVG; the reader's browser has the letters.
    """

    def __init__(self) -> None:
        self._stand_ins: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """What to draw in place of `text`."""
        text = " ".join(text.split())
        if not text or (text.isascii() and "$" not in text):
            return text
        if text not in self._stand_ins:
            self._stand_ins[text] = self._new(text)
        return self._stand_ins[text]

    def restore(self, svg: str) -> str:
        """The SVG with the words in place."""
        for text, stand_in in self._stand_ins.items():
            svg = svg.replace(f">{stand_in}</text>", f">{escape(text, quote=False)}</text>")
        return svg

    def _new(self, text: str) -> str:
        wide = sum(1.0 if unicodedata.east_asian_width(letter) in "WF" else _NARROW_EM for letter in text)
        length = max(2, math.ceil(wide))
        used = set(self._stand_ins.values())
        # Each of these letters is as wide as a Chinese one.
        while True:
            for letters in product("m@W", repeat=length):
                if "".join(letters) not in used:
                    return "".join(letters)
            length += 1


def quiet(axes: Axes) -> None:
    """Only the axis lines that carry numbers."""
    axes.patch.set_visible(False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)
    axes.tick_params(colors=INK, labelsize=9)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.set_axisbelow(True)


def as_svg(figure: Figure, identity: str, lettering: Lettering) -> str:
    """The drawing as text.

    Args:
        figure: drawn in the colours of this module.
        identity: a word of its own in the page.
        lettering: that its words were drawn with.
    """
    figure.patch.set_visible(False)
    text = io.StringIO()
    # Text stays text: the reader's browser draws it in its own font.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": identity}):
        FigureCanvasSVG(figure)
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # What the library notes beside each text is the stand-in.
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    # Several drawings share one page: their names must not meet.
    svg = re.sub(r'\bid="', f'id="{identity}-', svg)
    svg = re.sub(r'href="#', f'href="#{identity}-', svg)
    svg = svg.replace("url(#", f"url(#{identity}-")
    for drawn, shown in _PAGE_COLOURS.items():
        svg = svg.replace(drawn, shown)
    return lettering.restore(svg)
