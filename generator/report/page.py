"""The texts of a report: `report.html` with its curves, sentences, and the recommended run file."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..diffusion.sampling import to_image
from ..errors import MissingExtra
from .results import Findings, KeepChangeAnswer, Pixels, StrengthFindings
from .stats import LEAST_IMAGES, Figure, Share, StrengthLimits

_TEMPLATE = "report.html.j2"
_SHOWN_PX = 96
_KERNEL_SCALE = 1000


def draw_page(findings: Findings) -> str:
    """The HTML of the page.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    try:
        from sdcore.pages import template_environment
    except ModuleNotFoundError as error:
        raise MissingExtra("the report's page (jinja2)", "diffusion") from error
    environment = template_environment(Path(__file__).parent / "templates")
    environment.filters |= {
        "share": share_in_words,
        "figure": figure_in_words,
        "rate": rate_in_words,
        "limits": limits_in_words,
        "kernel": lambda figure: figure_in_words(_scaled(figure)),
        "picture": _image,
    }
    curves = {
        one.name: draw_curves(
            one.at, one.limits, keep_rate=findings.settings.keep_rate, change_rate=findings.settings.change_rate
        )
        for one in findings.classes
    }
    return environment.get_template(_TEMPLATE).render(
        found=findings,
        curves=curves,
        tables=_tables(findings),
        answer=answer_in_words(findings.answer),
        sheet=_data_uri(findings.sheet),
        scale=_KERNEL_SCALE,
    )


def _tables(findings: Findings) -> list[tuple[Any, ...]]:
    """Title, strengths, images out of noise and the two floors of each table; first that of all classes."""
    together = (
        "all: counts of all images, means over classes 全部：计数合计，其余为各类平均",
        findings.together,
        findings.out_of_noise,
        findings.floor_sources,
        findings.floor_held_out,
    )
    return [
        together,
        *((one.name, one.at, one.out_of_noise, one.floor_sources, one.floor_held_out) for one in findings.classes),
    ]


def _scaled(figure: Figure) -> Figure:
    """A kernel distance in thousandths, the usual unit."""
    return Figure(*(None if end is None else end * _KERNEL_SCALE for end in (figure.value, figure.low, figure.high)))


def _image(pixels: Pixels) -> str:
    """(C, S, S) as a data URI."""
    image = to_image(torch.from_numpy(pixels)).resize((_SHOWN_PX, _SHOWN_PX), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return _data_uri(buffer.getvalue())


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


_WIDTH, _HEIGHT = 330, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 8, 8, 24
_KEPT, _CHANGED, _RANGE = "#1f6fb2", "#c2571a", "#e3efdc"


@dataclass(frozen=True)
class _Axes:
    """Strength and share, each 0 to 1 -> coordinates in the drawing."""

    def x(self, strength: float) -> float:
        return round(_LEFT + strength * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, share: float) -> float:
        return round(_TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM), 1)


def draw_curves(at: Sequence[StrengthFindings], limits: StrengthLimits, *, keep_rate: float, change_rate: float) -> str:
    """The shares that keep their class and that change, with intervals and the recommended range, as an <svg>.

    Args:
        at: the findings at each strength.
        limits: a range is shaded where there is one.
        keep_rate: drawn as a dashed line.
        change_rate: drawn as a dashed line.
    """
    axes = _Axes()
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="shares over denoising strength">']
    if limits.is_range and limits.low is not None and limits.high is not None:
        left, right = axes.x(limits.low), axes.x(limits.high)
        parts.append(
            f'<rect x="{left}" y="{axes.y(1)}" width="{right - left:.1f}" height="{axes.y(0) - axes.y(1):.1f}" '
            f'fill="{_RANGE}"/>'
        )
    for share in (0.0, 0.5, 1.0):
        parts.append(_line(axes.x(0), axes.y(share), axes.x(1), axes.y(share), "#ddd"))
        parts.append(f'<text x="{_LEFT - 4}" y="{axes.y(share) + 4}" text-anchor="end">{share:.0%}</text>')
    parts += [
        f'<text x="{axes.x(strength)}" y="{_HEIGHT - 8}" text-anchor="middle">{strength:g}</text>'
        for strength in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    parts.append(_line(axes.x(0), axes.y(keep_rate), axes.x(1), axes.y(keep_rate), _KEPT, dashed=True))
    parts.append(_line(axes.x(0), axes.y(change_rate), axes.x(1), axes.y(change_rate), _CHANGED, dashed=True))
    strengths = [one.strength for one in at]
    parts += _curve(axes, strengths, [one.kept_of_named for one in at], _KEPT)
    parts += _curve(axes, strengths, [one.changed for one in at], _CHANGED)
    return "".join([*parts, "</svg>"])


def _curve(axes: _Axes, strengths: Sequence[float], shares: Sequence[Share], colour: str) -> list[str]:
    parts, points = [], []
    for strength, share in zip(strengths, shares, strict=True):
        if share.rate is None or share.low is None or share.high is None:
            continue
        x, y = axes.x(strength), axes.y(share.rate)
        points.append(f"{x},{y}")
        parts.append(_line(x, axes.y(share.low), x, axes.y(share.high), colour))
        parts.append(f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>')
    return [f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.5"/>', *parts]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"{dashes}/>'


UNDEFINED = "undefined 未定义"


def share_in_words(share: Share) -> str:
    """Like "23/24 96 % (79-100)"."""
    if share.rate is None or share.low is None or share.high is None:
        return UNDEFINED
    return f"{share.count}/{share.of} {share.rate:.0%} ({100 * share.low:.0f}-{100 * share.high:.0f})"


def figure_in_words(figure: Figure, digits: int = 2) -> str:
    """Like "0.83 (0.71 to 0.95)"; without an interval where it has none."""
    if figure.value is None:
        return UNDEFINED
    if figure.low is None or figure.high is None:
        return f"{figure.value:.{digits}f}"
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def rate_in_words(rate: float | None) -> str:
    """Like "0.52"."""
    return UNDEFINED if rate is None else f"{rate:.2f}"


def limits_in_words(limits: StrengthLimits) -> str:
    """The range, or why there is none."""
    return f"{limits.low:g} - {limits.high:g}" if limits.is_range else describe_no_range(limits)


def answer_in_words(answer: KeepChangeAnswer) -> list[str]:
    """Whether images keep their class and change, a sentence each."""
    if not answer.strengths:
        return ["None of the tested strengths lies between those asked about: undefined 未定义."]
    over = f"strengths {answer.strengths[0]:g} to {answer.strengths[-1]:g} 重绘幅度"
    of_named = share_in_words(answer.kept_of_named)
    changes = _verdict(answer.changed, answer.change_rate, answer.changes)
    return [
        f"Keeps its class 保持类别, {over}: {_verdict(answer.kept, answer.keep_rate, answer.keeps)}",
        f"  of images whose source the classifier names rightly 其中源图判对者: {of_named}",
        f"Over the floor for 'too alike' 超出过于相似下限, {over}: {changes}",
        f"Both 两者皆是: {share_in_words(answer.both)}",
    ]


def _verdict(share: Share, rate: float, is_met: bool | None) -> str:
    asked = f"asked for {rate:.0%}"
    if is_met is None or share.low is None or share.high is None:
        return f"{UNDEFINED}; {asked}"
    if is_met:
        sure = "met 达到" if share.low >= rate else "met, though the interval reaches below 达到，但区间下限不足"
    else:
        sure = "not met 未达到" if share.high < rate else "not met, though the interval reaches it 未达到，但区间包含"
    return f"{share_in_words(share)}; {asked}: {sure}"


RUN_FILE_NAME = "recommended.toml"


@dataclass(frozen=True)
class RecommendedSampling:
    """The settings of the images that the recommendation rests on, in the words of a WebUI."""

    sampler: str
    steps: int
    cfg_scale: float
    native_px: int


def recommended_run_file(
    limits: Mapping[str, StrengthLimits], together: StrengthLimits, sampling: RecommendedSampling, *, model: str
) -> str:
    """The text of the run file.

    Args:
        limits: of each class.
        together: of all classes, for classes without a range of their own.
        sampling: written into the file, since strengths hold for these settings alone.
        model: name of the model, for a comment.
    """
    lines = [
        f"# Denoising strengths for the model {model!r}, as 'generator report' found them.",
        "#   sdclient serve --engine diffusion --model MODEL",
        f"#   sdclient generate SOURCES OUTPUT --plan plan.csv --config {RUN_FILE_NAME}",
        "# With --until-accepted each source's own strength is searched within its class's range.",
        "# Remove the sections of classes that you have no sources of.",
        f"sampler = {_quoted(sampling.sampler)}",
        f"steps = {sampling.steps}",
        f"cfg_scale = {sampling.cfg_scale:g}",
        'prompt = "{class}"',
    ]
    # `native_px` of `sdclient` must be a multiple of 8, at least 64; without it images get the size of their source.
    if sampling.native_px >= 64 and sampling.native_px % 8 == 0:
        lines.append(f"native_px = {sampling.native_px}")
    if together.is_range:
        lines.append(f"{_range(together)}  # all classes together")
    else:
        lines.append("# No range for all classes together: see the report.")
    for name, found in limits.items():
        lines.append("")
        if found.is_range:
            lines += [f"[class.{_quoted(name)}]", f"{_range(found)}  # from {found.images} images at each strength"]
        else:
            lines.append(f"# {_quoted(name)}: {describe_no_range(found)}")
    return "\n".join(lines) + "\n"


def describe_no_range(limits: StrengthLimits) -> str:
    """Why a class has no range, in sampling."""
    if limits.images < LEAST_IMAGES:
        return (
            f"undefined, {limits.images} images whose source the classifier calls by its class; {LEAST_IMAGES} needed"
        )
    if limits.high is None:
        return "no range: its class is lost at the least tested strength already"
    if limits.low is None:
        return "no range: too few of its images changed at any tested strength"
    return (
        f"no range: enough images change only from {limits.low:g} on, and enough keep their class only to "
        f"{limits.high:g}"
    )


def _range(limits: StrengthLimits) -> str:
    return f"denoising_strength = {{min = {limits.low:g}, max = {limits.high:g}}}"


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are among TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
