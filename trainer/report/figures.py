"""Drawings of a report as SVG text whose colours follow the page, light or dark.

Class and folder names may be in any script, which the drawing library's own font lacks; so figures carry
English words alone, and names stand in the page's text beside them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..verdict import COMPARED, Difference
from .inputs import Curve

_INK = "#010203"
_LINE = "#010204"
_ARMS = ("#010205", "#010206", "#010207")
_PAGE_COLOURS = {
    _INK: "currentColor",
    _LINE: "var(--line)",
    **{colour: f"var(--arm-{index})" for index, colour in enumerate(_ARMS)},
}
"""Colours used while drawing, each replaced by what the page defines."""


def loss_range(curves: Sequence[Curve]) -> tuple[float, float]:
    """Lower and upper end of a loss axis that holds all curves."""
    values = [value for curve in curves for value in (*curve.train_loss, *curve.val_loss)]
    return (0.0, 1.05 * max(values)) if values else (0.0, 1.0)


def draw_losses(curves: Sequence[Curve], *, arm: int, loss_axis: tuple[float, float], identity: str) -> str:
    """Training loss (thin, dashed) and validation loss (solid) of each seed of one arm.

    Args:
        curves: one a seed.
        arm: 0, 1 or 2: which of the page's colours.
        loss_axis: ends of the vertical axis, the same for arms that stand side by side.
        identity: a word of its own in the page.
    """
    figure = Figure(figsize=(4.4, 2.7), layout="constrained")
    axes = figure.add_subplot()
    for index, curve in enumerate(curves):
        words = ("training", "validation") if index == 0 else (None, None)
        axes.plot(
            curve.epochs, curve.train_loss, color=_ARMS[arm], linewidth=1.0, linestyle=(0, (4, 2)), label=words[0]
        )
        axes.plot(curve.epochs, curve.val_loss, color=_ARMS[arm], linewidth=1.8, label=words[1])
        if len(curve.epochs) == 1:
            axes.plot(curve.epochs, curve.val_loss, color=_ARMS[arm], marker="o")
    axes.set_ylim(*loss_axis)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    axes.legend(frameon=False, labelcolor=_INK, loc="best")
    _quiet(axes)
    return _as_svg(figure, identity)


def draw_differences(differences: Sequence[Difference], *, identity: str) -> str:
    """Each defined difference with its interval, beside a line at 0."""
    shown = [(one, one.value) for one in differences if one.value is not None]
    figure = Figure(figsize=(5.4, 0.75 + 0.42 * max(1, len(shown))), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0.0, color=_INK, linewidth=1.0)
    for row, (one, value) in enumerate(shown):
        if one.interval is not None:
            axes.plot(
                [one.interval.low, one.interval.high],
                [row, row],
                color=_ARMS[1],
                linewidth=2.4,
                solid_capstyle="butt",
            )
        axes.plot([value], [row], marker="o", markersize=7, color=_ARMS[1])
    axes.set_yticks(range(len(shown)), [_with_direction(one.metric) for one, _ in shown])
    axes.set_ylim(max(1, len(shown)) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.set_xlabel("difference")
    axes.grid(axis="x", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    _quiet(axes)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return _as_svg(figure, identity)


def _with_direction(metric: str) -> str:
    name = COMPARED[metric]
    return f"{name.english} ({'higher' if name.higher_is_better else 'lower'} is better)"


def _quiet(axes: Axes) -> None:
    """Only the axis lines that carry numbers."""
    axes.patch.set_visible(False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_LINE)
    axes.tick_params(colors=_INK, labelsize=9)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)


def _as_svg(figure: Figure, identity: str) -> str:
    figure.patch.set_visible(False)
    text = io.StringIO()
    # Text stays text: the reader's browser draws it in its own font.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": identity}):
        FigureCanvasSVG(figure)
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Several drawings share one page: their names must not meet.
    svg = re.sub(r'\bid="', f'id="{identity}-', svg)
    svg = re.sub(r'href="#', f'href="#{identity}-', svg)
    svg = svg.replace("url(#", f"url(#{identity}-")
    for drawn, shown in _PAGE_COLOURS.items():
        svg = svg.replace(drawn, shown)
    return svg
