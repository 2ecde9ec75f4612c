"""Miss rate against overkill for every cut through the defect score, as a drawing."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sdcore.files import write_bytes_atomically

from ..at_cut import AtCut, CutRates
from ..errors import EvaluationError, SettingsError
from .counts_figure import SUFFIXES, families_for

_INK = "#333333"
_TEST = "#1f6fb4"
_VALIDATION = "#c8501e"
_MISS = ("miss rate", "漏检率")
_OVERKILL = ("overkill rate", "过杀率")
_PROMISES_SHOWN = 10.0
"""How many times the promised miss rate the vertical axis reaches, if that is less than all."""


def check_suffix(path: Path) -> None:
    """Refuse a file name before any work is done.

    Raises:
        SettingsError: it is neither PNG nor SVG nor PDF.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"{path}: found the suffix {path.suffix!r}; expected one of {', '.join(SUFFIXES)}")


def draw_curve(path: Path, at_cut: AtCut) -> None:
    """Draw the curves of test and, where known, validation images, the chosen cut marked on each.

    Raises:
        SettingsError: the suffix is none of PNG, SVG and PDF.
        EvaluationError: there are no defects, or no good images, so that there is no curve.
        OSError: the file cannot be written.
    """
    check_suffix(path)
    suffix = path.suffix.lower()
    families = families_for("".join(_MISS[1] + _OVERKILL[1]))
    content = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "curve", "font.family": families or ["DejaVu Sans"]}):
        figure = _draw(at_cut, chinese=families is not None)
        FigureCanvasAgg(figure)
        metadata = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[suffix]
        figure.savefig(content, format=suffix[1:], dpi=150, metadata=metadata)
    write_bytes_atomically(path, content.getvalue())


def _draw(at_cut: AtCut, *, chinese: bool) -> Figure:
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.add_subplot()
    sets = [("validation", at_cut.validation, _VALIDATION, "--"), ("test", at_cut.test, _TEST, "-")]
    highest = 0.0
    for name, rates, colour, line in sets:
        if rates is None:
            continue
        if not (np.isfinite(rates.curve.miss_rate) & np.isfinite(rates.curve.overkill_rate)).all():
            raise EvaluationError(
                f"the {name} images are all defective or all good, so there is no curve of miss rate against overkill; "
                "leave --curve out"
            )
        bad = rates.binary.tp + rates.binary.fn
        axes.plot(
            rates.curve.overkill_rate,
            rates.curve.miss_rate,
            color=colour,
            linestyle=line,
            linewidth=1.6,
            # Between two cuts nothing better can be had, so the line goes round the worse corner.
            drawstyle="steps-pre",
            label=f"{name}: {bad} defects, {rates.images - bad} good images",
        )
        miss, overkill = _at(rates)
        highest = max(highest, miss)
        axes.plot([overkill], [miss], marker="o", markersize=8, color=colour, clip_on=False, zorder=5)
    promise = at_cut.point.max_miss_rate
    if promise is not None:
        axes.axhline(promise, color=_INK, linewidth=0.9, linestyle=":", label=f"promised: {100 * promise:.4g} %")
    top = 1.0 if promise is None else min(1.0, max(_PROMISES_SHOWN * promise, 1.6 * highest))
    axes.set_ylim(0.0, top)
    axes.set_xlim(0.0, 1.0)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %", decimals=None))
    axes.set_xlabel(" ".join(_OVERKILL if chinese else _OVERKILL[:1]))
    axes.set_ylabel(" ".join(_MISS if chinese else _MISS[:1]))
    axes.set_title(f"dots: the cut {at_cut.point.cut:.4g}", loc="left", fontsize=10, color=_INK)
    axes.grid(color="#dfe2e4", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(frameon=False, fontsize=9, labelcolor=_INK, loc="outside lower left", ncols=2)
    return figure


def _at(rates: CutRates) -> tuple[float, float]:
    found = rates.binary.rates
    return found["miss_rate"].value or 0.0, found["overkill_rate"].value or 0.0
