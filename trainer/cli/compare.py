"""`trainer compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from rich.table import Table

    from ..evaluation.compare import Comparison, Contrast


@click.command()
@click.argument("baseline", metavar="A", type=click.Path(path_type=Path))
@click.argument("candidate", metavar="B", type=click.Path(path_type=Path))
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option("--control", type=click.Path(path_type=Path), help="An arm with as many classically augmented images.")
@click.option("--normal", default="Normal", show_default=True, help="The class of images without a defect.")
@click.option("--abnormal", default="Abnormal", show_default=True, help="The label of unnamed defects.")
@click.option(
    "--report",
    "report_path",
    type=click.Path(path_type=Path),
    help="Write one self-contained file: HTML, or Markdown or JSON by its ending .md or .json.",
)
@click.option("--format", "kind", type=click.Choice(["html", "md", "json"]), help="Of the report, whatever its ending.")
@click.option(
    "--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="Of the report; zh is Chinese."
)
@click.option(
    "--note", "notes", multiple=True, help="A caveat for the report, as 'the boards are drawn'; may be repeated."
)
@click.option(
    "--worth",
    type=float,
    help="A difference worth having, as 0.02: says how many test images it takes to see it.",
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
    import json
    import shlex

    from ..evaluation.arms import load_arm, name_arms
    from ..evaluation.compare import compare as compare_arms
    from ..evaluation.compare import comparison_as_json

    if report_path is not None:
        from ..report.elements import choose_format

        # Before the models are run, which takes long.
        choose_format(report_path, kind)
    elif kind is not None:
        raise click.UsageError("--format is of the report; name its file with --report")
    paths = [baseline, candidate, *([control] if control else [])]
    arms = [load_arm(path, data, name=name) for path, name in zip(paths, name_arms(paths), strict=True)]
    comparison = compare_arms(
        arms[0], arms[1], arms[2] if control else None, normal=normal, abnormal=abnormal, worth=worth
    )
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
    if as_json:
        click.echo(json.dumps(comparison_as_json(comparison), indent=2))
    else:
        _show(comparison)
        if report_path is not None:
            click.echo(f"Report: {report_path}")


def _show(comparison: Comparison) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ..evaluation.metrics import NAMED_WRONG, RATE_DEFINITIONS
    from ..messages import UNDEFINED, count, metric_names, number, percent, percent_range, signed, signed_range, text

    console = Console(highlight=False)
    console.print(f"Side by side on {comparison.images} test images")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_lines=True)
    table.add_column("rate\n[dim]formula[/dim]")
    for arm in comparison.arms:
        table.add_column(f"{escape(arm.name)}\n[dim]{len(arm.seeds)} seed(s)[/dim]", justify="right")
    for one in (*RATE_DEFINITIONS, NAMED_WRONG):
        cells = []
        for arm in comparison.arms:
            rate = arm.named_wrong if one is NAMED_WRONG else arm.rates[one.key]
            if rate is None:
                cells.append(UNDEFINED)
                continue
            spread = f" ± {100 * rate.spread.sd:.2f}" if rate.spread.sd is not None else ""
            cells.append(
                f"{percent(rate.spread.mean)}{spread}  {count(rate.count)}/{rate.of}\n"
                f"[dim]{percent_range(rate.interval)}[/dim]"
            )
        table.add_row(f"{one.english} {one.chinese}\n[dim]{one.formula}[/dim]", *cells)
    for name, spreads in (
        ("macro-F1 宏平均 F1", [arm.macro_f1 for arm in comparison.arms]),
        ("AUROC of 1-p(Normal)", [arm.auroc for arm in comparison.arms]),
    ):
        table.add_row(name, *(number(one.mean) + (f" ± {one.sd:.3f}" if one.sd is not None else "") for one in spreads))
    console.print(table)
    for contrast in (comparison.against_baseline, comparison.against_control):
        if contrast is None:
            continue
        console.print(f"{escape(contrast.second)} minus {escape(contrast.first)}")
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("figure")
        for heading in ("difference", "95 % interval"):
            table.add_column(heading, justify="right")
        for difference in contrast.differences:
            table.add_row(
                " ".join(metric_names(difference.metric)), signed(difference.value), signed_range(difference.interval)
            )
        console.print(table)
        if contrast.recalls:
            console.print(_recalls(contrast))
        for test in contrast.mcnemar:
            console.print(
                f"McNemar {escape(test.first_seed)} / {escape(test.second_seed)}: right in "
                f"{escape(contrast.first)} alone {test.only_first}, in {escape(contrast.second)} alone "
                f"{test.only_second}, exact p = {test.p_value:.4g}"
            )
        if contrast.worth is not None:
            console.print(text(contrast.worth.sentence))
    for note in comparison.notes:
        console.print(f"Note: {escape(text(note))}")
    console.print(f"[bold]{escape(text(comparison.verdict.sentence))}[/bold]")


def _recalls(contrast: Contrast) -> Table:
    """Recall by class, with p-values corrected for their number."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from ..messages import signed, signed_range

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("recall 召回率 of class")
    for heading in ("images", "difference", "95 % interval", "p", "p (Holm)"):
        table.add_column(heading, justify="right")
    for one in contrast.recalls:
        p_values = ["undefined" if p is None else f"{p:.3g}" for p in (one.p_value, one.p_holm)]
        table.add_row(escape(one.name), str(one.support), signed(one.value), signed_range(one.interval), *p_values)
    return table
