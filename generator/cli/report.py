"""The command `report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sdcore.cli import PATH, Output

from ..errors import SettingsError

if TYPE_CHECKING:
    from ..report.results import Findings


@click.command()
@click.argument("model", metavar="MODEL", type=PATH)
@click.argument("data", metavar="DATA", type=PATH)
@click.option(
    "--classifier",
    metavar="FILE",
    required=True,
    type=PATH,
    help="ONNX file of 'trainer export RUN --features'; RUN trained on real images only.",
)
@click.option("-o", "--output", metavar="FOLDER", type=PATH, help="Where to write.  [default: MODEL/report]")
@click.option(
    "--per-class", default=24, show_default=True, help="Number of sources, and of images from noise, per class."
)
@click.option("--strengths", metavar="N,N,..", help="Denoising strengths to test.  [default: 0.1 to 0.9, and 0.25]")
@click.option(
    "--asked",
    default="0.25:0.5",
    show_default=True,
    metavar="LOW:HIGH",
    help="Range of strengths for which --keep and --change are checked.",
)
@click.option("--keep", "keep_rate", default=0.9, show_default=True, help="Share of images that must keep their class.")
@click.option(
    "--change", "change_rate", default=0.5, show_default=True, help="Share of images that must not be too similar."
)
@click.option("--k", default=3, show_default=True, help="Neighbour that sets the radius in precision and recall.")
@click.option("--steps", default=20, show_default=True, help="Sampling steps, DPM++ 2M Karras.")
@click.option("--cfg-scale", default=2.0, show_default=True, help="Guidance towards the class; 1 is none.")
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--threads", type=int, help="CPU threads. Without it: all that this process may use.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON document.")
def report(
    model: Path,
    data: Path,
    classifier: Path,
    output: Path | None,
    strengths: str | None,
    asked: str,
    as_json: bool,
    **settings: Any,
) -> None:
    """Judge MODEL: how good its images are, whether it copies, and which denoising strengths suit each class.

    DATA is the data set MODEL was trained on, with train/ and, for unbiased results, val/; test/ is not read. Writes
    report.html, report.json, sheet.png, and recommended.toml for 'sdclient generate --config'.

    \b
    Examples:
      trainer export runs/real-only --features
      generator report models/pads data --classifier runs/real-only/best.onnx
      sdclient generate sources output --plan plan.csv --config models/pads/report/recommended.toml
    """
    from ..report.results import make_settings
    from ..report.run import make_report as judge, write_report

    if strengths is not None:
        settings["strengths"] = _numbers(strengths, ",", "--strengths")
    settings["asked"] = _numbers(asked, ":", "--asked")
    findings = judge(model, data, classifier, make_settings(**settings), progress=True)
    written = write_report(findings, output or model / "report")
    out = Output(json=as_json)
    out.document(findings.as_json)
    out.line(_words(findings))
    out.line(f"Wrote {written[0]} and, beside it, {', '.join(path.name for path in written[1:])}")


def _numbers(text: str, between: str, option: str) -> tuple[float, ...]:

    try:
        return tuple(float(part) for part in text.split(between))
    except ValueError as error:
        example = f"numbers separated by {between!r}, as 0.2{between}0.4"
        raise SettingsError(f"{option}: found {text!r}; expected {example}") from error


def _words(findings: Findings) -> str:
    from ..report.page import answer_in_words, figure_in_words, limits_in_words, share_in_words

    lines = answer_in_words(findings.answer)
    lines.append("Recommended denoising strengths 推荐重绘幅度:")
    lines += [f"  {one.name}: {limits_in_words(one.limits)}" for one in findings.classes]
    lines.append("Copies of training images 复制训练图像, and distance to them relative to real images 距离比:")
    lines += [
        f"  {one.name}: {share_in_words(one.nearness.copies)}, {figure_in_words(one.nearness.pixel_ratio)}"
        for one in findings.classes
    ]
    return "\n".join([*lines, *findings.notes])
