"""Drawings as files: counts, miss/overkill curve, diagnosis."""

import io
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findSystemFonts, fontManager, get_font
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sdcore.files import write_bytes_atomically

from ..data.dataset import Counts
from ..errors import EvaluationError, SettingsError
from ..evaluation.diagnosis import Diagnosis
from ..evaluation.history import EpochRecord
from ..evaluation.loss_trends import Trend
from ..evaluation.operating_point import ThresholdRates, ThresholdReport

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
        figure = _draw_counts(counts, names, "" if numbered else title)
        FigureCanvasAgg(figure)
        metadata = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[suffix]
        figure.savefig(content, format=suffix[1:], dpi=150, metadata=metadata)
    write_bytes_atomically(path, content.getvalue())
    return Drawn(path, numbered)


def _draw_counts(counts: Counts, names: list[str], title: str) -> Figure:
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


def draw_curve(path: Path, at_cut: ThresholdReport) -> None:
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
        figure = _draw_cut(at_cut, chinese=families is not None)
        FigureCanvasAgg(figure)
        metadata = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[suffix]
        figure.savefig(content, format=suffix[1:], dpi=150, metadata=metadata)
    write_bytes_atomically(path, content.getvalue())


def _draw_cut(at_cut: ThresholdReport, *, chinese: bool) -> Figure:
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


def _at(rates: ThresholdRates) -> tuple[float, float]:
    found = rates.binary.rates
    return found["miss_rate"].value or 0.0, found["overkill_rate"].value or 0.0


_TRAIN = "#1f6fb4"
_VAL = "#c8501e"
_WINDOW = "#f0ece2"


def draw_diagnosis(epochs: Sequence[EpochRecord], diagnosis: Diagnosis, *, title: str = "") -> bytes:
    """A PNG: both losses, each with the line through its window and that line's interval, and macro-F1 below.

    Args:
        title: in front of the kind; ASCII, as the drawing library's font lacks other scripts.
    """
    figure = Figure(figsize=(7.0, 5.0), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    evidence = diagnosis.evidence
    numbers = [one.epoch for one in epochs]
    if evidence.train is not None:
        for axes in (upper, lower):
            axes.axvspan(evidence.train.first - 0.5, evidence.train.last + 0.5, color=_WINDOW, zorder=0)
    for losses, trend, colour, word in (
        ([one.train_loss for one in epochs], evidence.train, _TRAIN, "training loss"),
        ([one.val_loss for one in epochs], evidence.val, _VAL, "validation loss"),
    ):
        shown = [loss if math.isfinite(loss) else math.nan for loss in losses]
        upper.plot(numbers, shown, color=colour, linewidth=1.0, marker="o", markersize=2.5, alpha=0.7, label=word)
        if trend is not None:
            _draw_trend(upper, trend, colour)
        for number, loss in zip(numbers, losses, strict=True):
            if not math.isfinite(loss):
                upper.axvline(number, color=colour, linewidth=1.0, linestyle="dotted")
    if evidence.floor:
        upper.axhline(evidence.floor, color=_TRAIN, linewidth=0.8, linestyle=(0, (4, 3)), label="least training loss")
    positive = [loss for one in epochs for loss in (one.train_loss, one.val_loss) if 0.0 < loss < math.inf]
    if positive:
        upper.set_yscale("log" if max(positive) > 20.0 * min(positive) else "linear")
    upper.set_ylabel("loss")
    upper.legend(frameon=False, fontsize=8, labelcolor=_INK)
    upper.set_title(f"{title}: {diagnosis.kind}" if title else diagnosis.kind, loc="left", fontsize=11, color=_INK)
    f1 = [one.val_macro_f1 for one in epochs]
    has_f1 = any(map(math.isfinite, f1))
    lower.plot(numbers, f1 if has_f1 else [one.val_accuracy for one in epochs], color=_INK, linewidth=1.2)
    if evidence.best_epoch is not None:
        lower.axvline(evidence.best_epoch, color=_INK, linewidth=0.8, linestyle="dotted")
    lower.set_ylim(0.0, 1.02)
    lower.set_ylabel("macro-F1" if has_f1 else "accuracy")
    lower.set_xlabel("epoch (shaded: the window; dotted: the best epoch)")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (upper, lower):
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _draw_trend(axes: Axes, trend: Trend, colour: str) -> None:
    """The line, and the fan of slopes in its interval about the window's middle."""
    x = np.linspace(trend.first, trend.last, 50)
    middle = (trend.first + trend.last) / 2.0
    height = trend.level - trend.slope * (trend.last - middle)
    axes.plot(x, np.exp(height + trend.slope * (x - middle)), color=colour, linewidth=2.2)
    ends = [np.exp(height + slope * (x - middle)) for slope in (trend.low, trend.high)]
    axes.fill_between(x, np.minimum(*ends), np.maximum(*ends), color=colour, alpha=0.18, linewidth=0)
