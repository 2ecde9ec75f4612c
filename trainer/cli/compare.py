"""The command `compare`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from sdcore.cli import PATH, Output

from ..messages import UNDEFINED, count, metric_names, number, percent, percent_range, signed, signed_range, text

if TYPE_CHECKING:
    from ..evaluation.arms import ArmResult
    from ..evaluation.compare import Comparison, Contrast
    from ..evaluation.metrics import RateDefinition


@click.command()
@click.argument("baseline", metavar="A", type=PATH)
@click.argument("candidate", metavar="B", type=PATH)
@click.argument("data", required=False, type=PATH)
@click.option("--control", type=PATH, help="An arm with equally many classically augmented images.")
@click.option("--normal", default="Normal", help="The class of images without a defect.")
@click.option("--abnormal", default="Abnormal", help="The label of unnamed defects.")
@click.option(
    "--report",
    "report_path",
    type=PATH,
    help="Write one self-contained file: HTML, or for the endings .md and .json Markdown or JSON.",
)
@click.option("--format", "kind", type=click.Choice(["html", "md", "json"]), help="Of the report, whatever its ending.")
@click.option("--lang", type=click.Choice(["en", "zh"]), default="en", help="Of the report; zh is Chinese.")
@click.option(
    "--note", "notes", multiple=True, help="A caveat for the report, as 'the boards are drawn'; may be repeated."
)
@click.option(
    "--worth", type=float, help="A difference worth having, as 0.02: says how many test images it takes to see it."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def compare(
    baseline: Path,
    candidate: Path,
    data: Path | None,
    control: Path | None,
    normal: str,
    abnormal: str,
    report_path: Path | None,
    kind: Literal["html", "md", "json"] | None,
    lang: Literal["en", "zh"],
    notes: tuple[str, ...],
    worth: float | None,
    as_json: bool,
) -> None:
    """Say whether B is better than A on the same test images.

    A and B are each a run, a folder of seed-* runs, or a predictions.csv; runs need DATA. Differences are B
    minus A, with 95 % intervals in which test groups and training seeds are both random.

    \b
    Examples:
      trainer compare runs/baseline runs/augmented data --report report.html
      trainer compare runs/baseline runs/augmented data --report report.html --lang zh
      trainer compare a/predictions.csv b/predictions.csv
    """
    from ..evaluation.arms import load_arm, name_arms
    from ..evaluation.compare import compare as compare_arms, comparison_as_json

    if report_path is not None:
        from ..report.elements import choose_format

        choose_format(report_path, kind)  # refuses a wrong name before the models run, which takes long
    elif kind is not None:
        raise click.UsageError("--format is of the report; name its file with --report")
    paths = [baseline, candidate, *([control] if control else [])]
    arms = [load_arm(path, data, name=name) for path, name in zip(paths, name_arms(paths), strict=True)]
    comparison = compare_arms(*arms, normal=normal, abnormal=abnormal, worth=worth)
    if report_path is not None:
        from ..report.collect import collect_inputs
        from ..report.compare_report import write_report

        given = [baseline, candidate, *([data] if data else [])]
        options = [*(["--control", str(control)] if control else []), "--normal", normal, "--abnormal", abnormal]
        options += ["--worth", f"{worth:g}"] if worth is not None else []
        options += [part for note in notes for part in ("--note", note)]
        options += ["--format", kind] if kind is not None else []
        options += ["--lang", lang] if lang != "en" else []
        command = shlex.join(["trainer", "compare", *map(str, given), *options, "--report", str(report_path)])
        inputs = collect_inputs(comparison, arms, data, commands=[command], notes=notes, abnormal=abnormal)
        write_report(report_path, inputs, language=lang, kind=kind)
    out = Output(json=as_json)
    out.document(lambda: comparison_as_json(comparison))
    _show(out, comparison)
    if report_path is not None:
        out.line(f"Report: {report_path}")


def _show(out: Output, comparison: Comparison) -> None:
    from ..evaluation.metrics import NAMED_WRONG, RATE_DEFINITIONS

    out.line(f"Side by side on {comparison.images} test images")
    arms = comparison.arms
    rows = [
        [f"{one.english} {one.chinese}\n{one.formula}", *(_rate_cell(arm, one) for arm in arms)]
        for one in (*RATE_DEFINITIONS, NAMED_WRONG)
    ]
    for name, spreads in (
        ("macro-F1 宏平均 F1", [arm.macro_f1 for arm in arms]),
        ("AUROC of 1-p(Normal)", [arm.auroc for arm in arms]),
    ):
        means = (number(one.mean) + (f" ± {one.sd:.3f}" if one.sd is not None else "") for one in spreads)
        rows.append([name, *means])
    out.table(["rate\nformula", *(f"{arm.name}\n{len(arm.seeds)} seed(s)" for arm in arms)], rows)
    for contrast in (comparison.against_baseline, comparison.against_control):
        if contrast is not None:
            _show_contrast(out, contrast)
    for note in comparison.notes:
        out.line(f"Note: {text(note)}")
    out.line(text(comparison.verdict.sentence), bold=True)


def _rate_cell(arm: ArmResult, one: RateDefinition) -> str:
    """Mean and spread over the seeds with the count, and the interval below."""
    from ..evaluation.metrics import NAMED_WRONG

    rate = arm.named_wrong if one is NAMED_WRONG else arm.rates[one.key]
    if rate is None:
        return UNDEFINED
    spread = f" ± {100 * rate.spread.sd:.2f}" if rate.spread.sd is not None else ""
    return f"{percent(rate.spread.mean)}{spread}  {count(rate.count)}/{rate.of}\n{percent_range(rate.interval)}"


def _show_contrast(out: Output, contrast: Contrast) -> None:
    """One arm minus another; p-values of recalls are corrected for their number."""
    out.line(f"{contrast.second} minus {contrast.first}")
    out.table(
        ["figure", "difference", "95 % interval"],
        [
            [" ".join(metric_names(one.metric)), signed(one.value), signed_range(one.interval)]
            for one in contrast.differences
        ],
    )
    rows = []
    for recall in contrast.recalls:
        p_values = ["undefined" if p is None else f"{p:.3g}" for p in (recall.p_value, recall.p_holm)]
        rows.append([recall.name, str(recall.support), signed(recall.value), signed_range(recall.interval), *p_values])
    if rows:
        out.table(["recall 召回率 of class", "images", "difference", "95 % interval", "p", "p (Holm)"], rows)
    for test in contrast.mcnemar:
        out.line(
            f"McNemar {test.first_seed} / {test.second_seed}: right in {contrast.first} alone {test.only_first}, "
            f"in {contrast.second} alone {test.only_second}, exact p = {test.p_value:.4g}"
        )
    if contrast.worth is not None:
        out.line(text(contrast.worth.sentence))
