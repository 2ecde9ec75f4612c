"""`report.html`: everything in one file, pictures included."""

from __future__ import annotations

import base64
import io
from typing import Any

import torch
from PIL import Image

from ..errors import MissingExtra
from ..sheet import to_image
from .curves import draw_curves
from .figures import Figure
from .material import Pixels
from .results import Findings
from .words import answer_in_words, figure_in_words, limits_in_words, rate_in_words, share_in_words

_TEMPLATE = "report.html.j2"
_SHOWN_PX = 96
_KERNEL_SCALE = 1000


def draw_page(findings: Findings) -> str:
    """The page as text.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise MissingExtra("the report's page (jinja2)", "diffusion") from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("generator.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "share": share_in_words,
        "figure": figure_in_words,
        "rate": rate_in_words,
        "limits": limits_in_words,
        "kernel": lambda figure: figure_in_words(_scaled(figure)),
        "picture": _picture,
    }
    curves = {
        one.name: draw_curves(
            one.at,
            one.limits,
            keep_rate=findings.settings.keep_rate,
            change_rate=findings.settings.change_rate,
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
    """Name, strengths, pictures out of noise and the two floors; all classes first."""
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
    """A kernel distance in thousandths, as such distances are usually told."""
    return Figure(*(None if end is None else end * _KERNEL_SCALE for end in (figure.value, figure.low, figure.high)))


def _picture(pixels: Pixels) -> str:
    """(C, S, S) as a data URI."""
    image = to_image(torch.from_numpy(pixels)).resize((_SHOWN_PX, _SHOWN_PX), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return _data_uri(buffer.getvalue())


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
