"""The commands `status`, `retry`, `verify`, `manifest` and `export`, which work on an output folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from sdcore.cli import PATH, Output

if TYPE_CHECKING:
    from ..export.planning import ClassBalance
    from ..export.run import ExportResult


@click.command(epilog="Example: sdclient status output")
@click.argument("output", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(output: Path, as_json: bool) -> None:
    """Show how far OUTPUT is, by class, and why images were given up; also while a run is at work."""
    from ..manifest.progress import STATUSES
    from ..output.upkeep import read_status

    found = read_status(output)
    out = Output(json=as_json)
    totals = {name: found.total(name) for name in STATUSES}
    failures = [{"class": name, "reason": why, "images": n} for (name, why), n in sorted(found.failures.items())]
    out.document({"classes": found.by_class, "all": totals, "failures": failures, "complete": found.is_complete})
    out.table(
        ("class 类别", "done 完成", "running 进行中", "planned 待生成", "failed 失败"),
        [(name, *(str(counts[one]) for one in STATUSES)) for name, counts in found.by_class.items()],
        totals=[("all 全部", *map(str, totals.values()))],
    )
    for (name, why), images in sorted(found.failures.items()):
        out.line(f"failed: {name}: {images} x {why}")
    if found.failures:
        out.line(f"'sdclient retry {output}' plans the failed ones again")


@click.command(epilog="Example: sdclient retry output, then the same command as before again")
@click.argument("output", type=PATH)
def retry(output: Path) -> None:
    """Plan the images of OUTPUT that were given up once more."""
    from ..output.upkeep import retry_failed

    out = Output()
    images = retry_failed(output)
    if images:
        out.line(f"{images} failed images are planned again; run the command that made OUTPUT again to make them")
    else:
        out.line("no image has failed; nothing to do")


@click.command(epilog="Example: sdclient verify output --repair")
@click.argument("output", type=PATH)
@click.option("--repair", is_flag=True, help="Plan damaged images again and move files without a row to .orphans.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(output: Path, repair: bool, as_json: bool) -> None:
    """Check every file of OUTPUT against its manifest: bytes, size, infotext; exit code 1 if one does not match."""
    from sdcore.progress import progress_bar

    from ..output.upkeep import verify as verify_output

    found = verify_output(output, repair=repair, track=progress_bar)
    out = Output(json=as_json)
    out.document(lambda: {**asdict(found), "sound": found.is_sound})
    for finding in (*found.damaged, *found.orphans):
        out.line(f"{finding.file}: {finding.problem}")
    out.line(f"{found.images} images read: {len(found.damaged)} damaged, {len(found.orphans)} files without a row")
    if repair and not found.is_sound:
        out.line("repaired; run the command that made OUTPUT again to make what is missing")
    if not found.is_sound and not repair:
        raise click.exceptions.Exit(1)


@click.command(epilog="Example: sdclient manifest output --csv -o images.csv")
@click.argument("output", type=PATH)
@click.option("--csv", "kind", flag_value="csv", help="A table that opens in a spreadsheet.")
@click.option("--jsonl", "kind", flag_value="jsonl", default="jsonl", help="One JSON object a line (the default).")
@click.option(
    "-o", "target", type=click.Path(path_type=Path, dir_okay=False), help="File to write; default the screen."
)
def manifest(output: Path, kind: str, target: Path | None) -> None:
    """Export the record of every image of OUTPUT that is done."""
    from sdcore.files import open_atomically

    from ..manifest.tables import export_csv, export_jsonl

    export = export_csv if kind == "csv" else export_jsonl
    out = Output()
    if target is None:
        with out.rows() as stream:
            export(output, stream)
        return
    with open_atomically(target, encoding="utf-8-sig" if kind == "csv" else "utf-8") as stream:
        count = export(output, stream)
    out.line(f"{count} images written to {target}")


_SHOWN = 3

_EXPORT_EPILOG = """\b
Examples:
  sdclient export output data/train --dry-run
  sdclient export output data/train
  sdclient export output detection --labels yolo"""


@click.command(epilog=_EXPORT_EPILOG)
@click.argument("output", type=PATH)
@click.argument("destination", metavar="DATASET/train", type=PATH)
@click.option("--uncurated", is_flag=True, help="Take every image: rejected ones and those nobody judged, too.")
@click.option("--keep", is_flag=True, help="Remove nothing, also what was exported and is not accepted any more.")
@click.option(
    "--labels",
    type=click.Choice(["yolo", "voc"]),
    help="For a detector: images and boxes into a data set of its own, given in place of DATASET/train.",
)
@click.option(
    "--unlabelled",
    type=click.Choice(["error", "skip"]),
    help="With --labels, an image whose mask is not known: stop, or leave it out.  [default: error]",
)
@click.option("--normal", help="With --labels, the class without defects; its images have no box.  [default: Normal]")
@click.option(
    "--min-change",
    type=click.IntRange(1, 255),
    help="With --labels, levels from which on a pixel inside the mask counts as changed.  [default: 1]",
)
@click.option(
    "--source-masks",
    type=PATH,
    help="With --labels, the folder of 'sdclient mask': what it marks on a source and was not repainted has a box too.",
)
@click.option(
    "--classes", type=PATH, help="With --labels yolo, a classes.txt with the numbers that your own boxes have."
)
@click.option("--dry-run", is_flag=True, help="Check all and show what would be done; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export(
    output: Path,
    destination: Path,
    uncurated: bool,
    keep: bool,
    labels: Literal["yolo", "voc"] | None,
    dry_run: bool,
    as_json: bool,
    **of_labels: Any,
) -> None:
    """Copy the accepted images of OUTPUT into DATASET/train/<class>, beside the real ones.

    The table DATASET/train/exported.csv records where each comes from; 'trainer' reads it. A repeat copies what is new,
    removes what it put there itself and is not accepted any more, and leaves alone what somebody changed. Validation
    and test folders are refused, and so are images that were made from an image in one.
    """
    given = {name: value for name, value in of_labels.items() if value is not None}
    if labels is None and given:
        raise click.UsageError(f"--{next(iter(given)).replace('_', '-')} belongs to --labels")
    if labels == "voc" and "classes" in given:
        raise click.UsageError("--classes belongs to --labels yolo; VOC boxes name their class")
    from sdcore.progress import progress_bar

    from ..export.layouts import Labels
    from ..export.run import export as export_images

    result = export_images(
        output,
        destination,
        labels=Labels(labels, **given) if labels is not None else None,
        uncurated=uncurated,
        keep=keep,
        dry_run=dry_run,
        track=progress_bar,
    )
    out = Output(json=as_json)
    out.document(lambda: _export_as_json(result))
    _show_export(out, result)


def _export_as_json(result: ExportResult) -> dict[str, Any]:
    plain = ("dry_run", "curated", "recorded", "taken", "rejected", "undecided")
    lists = ("copied", "unchanged", "relabelled", "removed", "kept", "edited", "left_out")
    return {
        "output": result.output.as_posix(),
        "destination": result.destination.as_posix(),
        **{name: getattr(result, name) for name in plain},
        **{name: list(getattr(result, name)) for name in lists},
        "balance": {row.class_name: _balance_as_json(row) for row in result.balance},
    }


def _balance_as_json(row: ClassBalance) -> dict[str, Any]:
    counts = ("real", "generated_before", "generated_after", "total_before", "total_after", "generated_share")
    return {name: getattr(row, name) for name in counts}


def _show_export(out: Output, result: ExportResult) -> None:
    from ..export.planning import sum_of

    heads = ("real 真实", "generated 生成\nbefore 导出前", "generated 生成\nafter 导出后", "total 合计\nafter 导出后")
    rows = []
    for row in (*result.balance, sum_of(result.balance)):
        share = "–" if row.generated_share is None else f"{100 * row.generated_share:.2f} %"
        counts = (row.real, row.generated_before, row.generated_after, row.total_after)
        rows.append((row.class_name or "all 合计", *map(str, counts), share))
    out.table(
        ("class 类别", *heads, "share 占比\ngenerated 生成"),
        rows[:-1],
        totals=rows[-1:],
        title=f"{result.destination}: images 图像",
    )
    which = "accepted" if result.curated else "all, whatever was judged"
    out.line(
        f"{result.taken} of {result.recorded} images taken ({which}; {result.rejected} rejected, "
        f"{result.undecided} undecided)"
    )
    for why, files in (
        ("left out", result.left_out),
        ("changed by somebody since it was exported, left alone", result.edited),
        ("not accepted any more, left there", result.kept),
    ):
        for file in files[:_SHOWN]:
            out.note(f"{why}: {file}", always=False)
        if len(files) > _SHOWN:
            out.note(f"{why}: {len(files) - _SHOWN} more", always=False)
    done = "would be " if result.dry_run else ""
    parts = [f"{len(result.copied)} {done}copied", f"{len(result.unchanged)} there already"]
    parts += [f"{len(result.relabelled)} {done}given other boxes"] if result.relabelled else []
    parts += [f"{len(result.removed)} {done}removed, not accepted any more"] if result.removed else []
    out.line(", ".join(parts))
