"""The texts of a report: the words in both languages, `report.html` with its curves, and the recommended run file."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from sdcore.messages import MessageCatalogue, Words

from ..diffusion.sampling import to_image
from ..errors import MissingExtra
from .results import Findings, KeepChangeAnswer, Pixels, StrengthFindings
from .stats import LEAST_IMAGES, Figure, Share, StrengthLimits

_TEMPLATE = "report.html.j2"
_SHOWN_PX = 96
_KERNEL_SCALE = 1000

WORDS = MessageCatalogue(
    {
        "undefined": Words("undefined", "未定义"),
        "all": Words("all: counts of all images, means over classes", "全部：计数合计，其余为各类平均"),
        "none_tested": Words("None of the tested strengths lies between those asked about: undefined", "未定义"),
        "strengths": Words("strengths", "重绘幅度"),
        "keeps": Words("Keeps its class", "保持类别"),
        "of_named": Words("of images whose source the classifier names rightly", "其中源图判对者"),
        "changes": Words("Over the floor for 'too alike'", "超出过于相似下限"),
        "both": Words("Both", "两者皆是"),
        "met": Words("met", "达到"),
        "met_unsurely": Words("met, though the interval reaches below", "达到，但区间下限不足"),
        "not_met": Words("not met", "未达到"),
        "not_met_unsurely": Words("not met, though the interval reaches it", "未达到，但区间包含"),
    }
)


def in_both_languages(key: str) -> str:
    """English, then Chinese: the report shows both at once."""
    return f"{WORDS[key].en} {WORDS[key].zh}"


UNDEFINED = in_both_languages("undefined")


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
    """Title, strengths, images from noise and the two floors of each table, that of all classes first."""
    title = in_both_languages("all")
    together = (title, findings.together, findings.out_of_noise, findings.floor_sources, findings.floor_held_out)
    by_class = [(one.name, one.at, one.out_of_noise, one.floor_sources, one.floor_held_out) for one in findings.classes]
    return [together, *by_class]


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


def _x(strength: float) -> float:
    return round(_LEFT + strength * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    return round(_TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM), 1)


def draw_curves(at: Sequence[StrengthFindings], limits: StrengthLimits, *, keep_rate: float, change_rate: float) -> str:
    """The shares that keep their class and that change, with intervals, as an <svg>.

    The two rates are dashed lines; the recommended range is shaded.
    """
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="shares over denoising strength">']
    if limits.is_range and limits.low is not None and limits.high is not None:
        left, top, width, height = _x(limits.low), _y(1), _x(limits.high) - _x(limits.low), _y(0) - _y(1)
        parts.append(f'<rect x="{left}" y="{top}" width="{width:.1f}" height="{height:.1f}" fill="{_RANGE}"/>')
    for share in (0.0, 0.5, 1.0):
        parts.append(_line(_x(0), _y(share), _x(1), _y(share), "#ddd"))
        parts.append(f'<text x="{_LEFT - 4}" y="{_y(share) + 4}" text-anchor="end">{share:.0%}</text>')
    parts += [
        f'<text x="{_x(strength)}" y="{_HEIGHT - 8}" text-anchor="middle">{strength:g}</text>'
        for strength in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    for rate, colour in ((keep_rate, _KEPT), (change_rate, _CHANGED)):
        parts.append(_line(_x(0), _y(rate), _x(1), _y(rate), colour, dashed=True))
    strengths = [one.strength for one in at]
    parts += _curve(strengths, [one.kept_of_named for one in at], _KEPT)
    parts += _curve(strengths, [one.changed for one in at], _CHANGED)
    return "".join([*parts, "</svg>"])


def _curve(strengths: Sequence[float], shares: Sequence[Share], colour: str) -> list[str]:
    parts, points = [], []
    for strength, share in zip(strengths, shares, strict=True):
        if share.rate is None or share.low is None or share.high is None:
            continue
        x, y = _x(strength), _y(share.rate)
        points.append(f"{x},{y}")
        parts.append(_line(x, _y(share.low), x, _y(share.high), colour))
        parts.append(f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>')
    return [f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.5"/>', *parts]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"{dashes}/>'


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
        return [f"{in_both_languages('none_tested')}."]
    strengths = f"{answer.strengths[0]:g} to {answer.strengths[-1]:g}"
    over = f"{WORDS['strengths'].en} {strengths} {WORDS['strengths'].zh}"
    keeps = _verdict(answer.kept, answer.keep_rate, answer.keeps)
    changes = _verdict(answer.changed, answer.change_rate, answer.changes)
    return [
        f"{in_both_languages('keeps')}, {over}: {keeps}",
        f"  {in_both_languages('of_named')}: {share_in_words(answer.kept_of_named)}",
        f"{in_both_languages('changes')}, {over}: {changes}",
        f"{in_both_languages('both')}: {share_in_words(answer.both)}",
    ]


def _verdict(share: Share, rate: float, is_met: bool | None) -> str:
    target = f"asked for {rate:.0%}"
    if is_met is None or share.low is None or share.high is None:
        return f"{UNDEFINED}; {target}"
    is_sure = share.low >= rate if is_met else share.high < rate
    key = ("met" if is_met else "not_met") + ("" if is_sure else "_unsurely")
    return f"{share_in_words(share)}; {target}: {in_both_languages(key)}"


RUN_FILE_NAME = "recommended.toml"


@dataclass(frozen=True)
class RecommendedSampling:
    """The settings of the images that the recommendation is based on, under a WebUI's names."""

    sampler: str
    steps: int
    cfg_scale: float
    native_px: int


def recommended_run_file(
    limits: Mapping[str, StrengthLimits], together: StrengthLimits, sampling: RecommendedSampling, *, model: str
) -> str:
    """The text of the run file: limits of each class, and of all classes together for classes without a range.

    The sampling is in the file too, because strengths hold for these settings alone.
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
    no_range = "# No range for all classes together: see the report."
    lines.append(f"{_range(together)}  # all classes together" if together.is_range else no_range)
    for name, found in limits.items():
        lines.append("")
        if found.is_range:
            lines += [f"[class.{_quoted(name)}]", f"{_range(found)}  # from {found.images} images at each strength"]
        else:
            lines.append(f"# {_quoted(name)}: {describe_no_range(found)}")
    return "\n".join(lines) + "\n"


def describe_no_range(limits: StrengthLimits) -> str:
    """Why a class has no range, in words."""
    if limits.images < LEAST_IMAGES:
        found = f"{limits.images} images whose source the classifier calls by its class"
        return f"undefined, {found}; {LEAST_IMAGES} needed"
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
