"""Drawings inside a page (SVG)."""

import io
import math
import re
import unicodedata
from collections.abc import Sequence
from html import escape
from itertools import product

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..evaluation.verdict import COMPARED, Difference
from ..messages import count
from .elements import COLOURS, ArmName, ReportWords
from .inputs import ArmFacts, Curve, OperatingCurve


def loss_range(curves: Sequence[Curve]) -> tuple[float, float]:
    """Lower and upper end of a loss axis that holds all curves."""
    values = [value for curve in curves for value in (*curve.train_loss, *curve.val_loss)]
    return (0.0, 1.05 * max(values)) if values else (0.0, 1.0)


def draw_losses(
    curves: Sequence[Curve], *, arm: int, loss_axis: tuple[float, float], identity: str, words: ReportWords
) -> str:
    """Training loss (thin, dashed) and validation loss (solid) of each seed of one arm.

    Args:
        curves: one a seed.
        arm: from 0: which of the page's colours.
        loss_axis: ends of the vertical axis, the same for arms that stand side by side.
        identity: a word of its own in the page.
    """
    lettering = Lettering()
    figure = Figure(figsize=(4.4, 2.7), layout="constrained")
    axes = figure.add_subplot()
    colour = ARMS[arm % COLOURS]
    for index, curve in enumerate(curves):
        names = [lettering(words(key)) if index == 0 else None for key in ("on_training", "on_validation")]
        axes.plot(curve.epochs, curve.train_loss, color=colour, linewidth=1.0, linestyle=(0, (4, 2)), label=names[0])
        axes.plot(curve.epochs, curve.val_loss, color=colour, linewidth=1.8, label=names[1])
        if len(curve.epochs) == 1:
            axes.plot(curve.epochs, curve.val_loss, color=colour, marker="o")
    axes.set_ylim(*loss_axis)
    axes.set_xlabel(lettering(words("epoch")))
    axes.set_ylabel(lettering(words("loss")))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.legend(frameon=False, labelcolor=INK, loc="best")
    quiet(axes)
    return as_svg(figure, identity, lettering)


def draw_differences(differences: Sequence[Difference], *, identity: str, words: ReportWords) -> str:
    """Each defined difference with its interval, beside a line at 0."""
    named = []
    for one in differences:
        metric = COMPARED[one.metric]
        name = words.metric(one.metric)[0]
        named.append((words("higher" if metric.higher_is_better else "lower", name=name), one))
    return draw_intervals(named, [1] * len(named), identity=identity, words=words)


def draw_intervals(
    named: Sequence[tuple[str, Difference]],
    colours: Sequence[int],
    *,
    identity: str,
    words: ReportWords,
    width_in: float = 5.4,
) -> str:
    """Each defined difference under its name with its interval, beside a line at 0.

    Args:
        named: from the top down.
        colours: which of the page's colours each has.
        identity: a word of its own in the page.
        width_in: of the drawing, in inches.
    """
    lettering = Lettering()
    shown = [(*pair, pair[1].value, colour) for pair, colour in zip(named, colours, strict=True)]
    rows = [(name, one, value, ARMS[colour % COLOURS]) for name, one, value, colour in shown if value is not None]
    figure = Figure(figsize=(width_in, 0.75 + 0.42 * max(1, len(rows))), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0.0, color=INK, linewidth=1.0)
    for row, (_, one, value, colour) in enumerate(rows):
        if one.interval is not None:
            ends = [one.interval.low, one.interval.high]
            axes.plot(ends, [row, row], color=colour, linewidth=2.4, solid_capstyle="butt")
        axes.plot([value], [row], marker="o", markersize=7, color=colour)
    axes.set_yticks(range(len(rows)), [lettering(name) for name, *_ in rows])
    axes.set_ylim(max(1, len(rows)) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.set_xlabel(lettering(words("difference")))
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    _without_left_axis(axes)
    return as_svg(figure, identity, lettering)


def draw_balance(
    before: ArmFacts, after: ArmFacts, names: Sequence[ArmName], *, identity: str, words: ReportWords
) -> str:
    """Training images of each class in two arms: a pale bar before, one of real and generated images after.

    Args:
        identity: a word of its own in the page.
    """
    lettering = Lettering()
    classes = list(dict.fromkeys(one.class_name for facts in (before, after) for one in facts.counts))
    old = {one.class_name: one for one in before.counts}
    new = {one.class_name: one for one in after.counts}
    figure = Figure(figsize=(7.4, 1.0 + 0.46 * len(classes)), layout="constrained")
    axes = figure.add_subplot()
    totals = [old[name].total if name in old else 0.0 for name in classes]
    real = [new[name].real + new[name].repeated if name in new else 0.0 for name in classes]
    made = [new[name].generated if name in new else 0.0 for name in classes]
    places = list(range(len(classes)))
    upper, lower = [place - 0.2 for place in places], [place + 0.2 for place in places]
    labels = (f"{names[0]}: {words('total')}", f"{names[1]}: {words('real')}", f"{names[1]}: {words('generated')}")
    thick = 0.36
    pale = axes.barh(upper, totals, thick, color=ARMS[0], alpha=0.4, label=lettering(labels[0]))
    axes.barh(lower, real, thick, color=ARMS[0], label=lettering(labels[1]))
    with rc_context({"hatch.linewidth": 1.6}):
        filled = axes.barh(
            lower, made, thick, left=real, facecolor="none", edgecolor=ARMS[1], hatch="////", label=lettering(labels[2])
        )
    axes.bar_label(pale, [count(value) for value in totals], padding=3, fontsize=8, color=INK)
    sums = [count(one + other) for one, other in zip(real, made, strict=True)]
    axes.bar_label(filled, sums, padding=3, fontsize=8, color=INK)
    axes.set_yticks(places, [lettering(name) for name in classes])
    axes.set_ylim(len(classes) - 0.4, -0.6)
    axes.margins(x=0.08)
    axes.set_xlim(left=0)
    axes.set_xlabel(lettering(words("images")))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    axes.legend(frameon=False, labelcolor=INK, fontsize=9, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3)
    _without_left_axis(axes)
    return as_svg(figure, identity, lettering)


def draw_operating(
    arms: Sequence[tuple[ArmName, Sequence[OperatingCurve]]], *, identity: str, words: ReportWords
) -> str:
    """Miss rate against overkill rate: a thin line a training, a ring where a cut was chosen."""
    lettering = Lettering()
    figure = Figure(figsize=(5.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for label, curves in arms:
        colour = ARMS[label.colour]
        for index, one in enumerate(curves):
            name = lettering(str(label)) if index == 0 else None
            axes.plot(one.overkill_rate, one.miss_rate, color=colour, linewidth=1.1, label=name)
            if one.chosen is None:
                continue
            across, up = one.chosen.overkill_rate.value, one.chosen.miss_rate.value
            if across is not None and up is not None:
                axes.plot([across], [up], "o", markersize=9, markerfacecolor="none", color=colour)
    for set_limits in (axes.set_xlim, axes.set_ylim):
        set_limits(-0.015, 1.015)
    axes.set_xlabel(lettering(words("overkill_rate")))
    axes.set_ylabel(lettering(words("miss_rate")))
    axes.grid(color=LINE, linewidth=0.8)
    axes.legend(frameon=False, labelcolor=INK, loc="upper right")
    quiet(axes)
    return as_svg(figure, identity, lettering)


def _without_left_axis(axes: Axes) -> None:
    quiet(axes)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


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
    """Text of any script in a drawing.

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
