"""`sdclient export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from sdcore.cli import Output

if TYPE_CHECKING:
    from ..export import ClassBalance, ExportResult

_PATH = click.Path(path_type=Path)
_SHOWN = 3

EPILOG = """\b
Examples:
  sdclient export output data/train --dry-run
  sdclient export output data/train
  sdclient export output detection --labels yolo"""


@click.command(epilog=EPILOG)
@click.argument("output", type=_PATH)
@click.argument("destination", metavar="DATASET/train", type=_PATH)
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
    type=_PATH,
    help="With --labels, the folder of 'sdclient mask': what it marks on a source and was not repainted has a box too.",
)
@click.option(
    "--classes", type=_PATH, help="With --labels yolo, a classes.txt with the numbers that your own boxes have."
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

    The table DATASET/train/exported.csv tells where each comes from; 'trainer' reads it. A repeat copies what is new,
    removes what it put there itself and is not accepted any more, and leaves alone what somebody changed. Refused are
    validation and test folders, and images that were made from a picture in one.
    """
    given = {name: value for name, value in of_labels.items() if value is not None}
    if labels is None and given:
        raise click.UsageError(f"--{next(iter(given)).replace('_', '-')} belongs to --labels")
    if labels == "voc" and "classes" in given:
        raise click.UsageError("--classes belongs to --labels yolo; VOC boxes name their class")
    from sdcore.progress import progress_bar

    from ..export import Labels
    from ..export import export as export_images

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
    out.document(lambda: _as_json(result))
    _show(out, result)


def _as_json(result: ExportResult) -> dict[str, Any]:
    names = ("copied", "unchanged", "relabelled", "removed", "kept", "edited", "left_out")
    return {
        "output": result.output.as_posix(),
        "destination": result.destination.as_posix(),
        "dry_run": result.dry_run,
        "curated": result.curated,
        "recorded": result.recorded,
        "taken": result.taken,
        "rejected": result.rejected,
        "undecided": result.undecided,
        **{name: list(getattr(result, name)) for name in names},
        "balance": {row.class_name: _row_as_json(row) for row in result.balance},
    }


def _row_as_json(row: ClassBalance) -> dict[str, Any]:
    return {
        "real": row.real,
        "generated_before": row.generated_before,
        "generated_after": row.generated_after,
        "total_before": row.total_before,
        "total_after": row.total_after,
        "generated_share": row.generated_share,
    }


def _show(out: Output, result: ExportResult) -> None:
    from ..export.balance import sum_of

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
    for words, files in (
        ("left out", result.left_out),
        ("changed by somebody since it was exported, left alone", result.edited),
        ("not accepted any more, left there", result.kept),
    ):
        for file in files[:_SHOWN]:
            out.note(f"{words}: {file}", always=False)
        if len(files) > _SHOWN:
            out.note(f"{words}: {len(files) - _SHOWN} more", always=False)
    done = "would be " if result.dry_run else ""
    told = [f"{len(result.copied)} {done}copied", f"{len(result.unchanged)} there already"]
    told += [f"{len(result.relabelled)} {done}given other boxes"] if result.relabelled else []
    told += [f"{len(result.removed)} {done}removed, not accepted any more"] if result.removed else []
    out.line(", ".join(told))
